"""Buckets of time as Django expressions: TimescaleDB's own, and those of a calendar.

bucketed = Reading.objects.annotate(bucket=TimeBucket("5 minutes", "time"))
bucketed.values("bucket").annotate(Avg("value"))
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, DurationField, F, Field, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from joulebook.telemetry.history.resolutions import LADDER, bucket_edges
from joulebook.telemetry.readings import from_microseconds
from joulebook.time_zones import ZoneInfo

_CALENDAR = {each.name: each for each in LADDER if each.days or each.months}


class TimeBucket(Func):
    """The start of an instant's bucket: `time_bucket(width, time)`.

    `width` is a `timedelta` or PostgreSQL's words for an interval, such as `"5 minutes"` or
    `"1 month"`. Buckets are aligned to Monday 2000-01-03 UTC (months and longer: to 2000-01-01), or to
    `origin`. The answer is an aware datetime. For days and longer of a time zone use `CalendarBucket`.
    """

    function = "time_bucket"
    output_field = DateTimeField()

    def __init__(
        self,
        width: timedelta | str,
        expression: Combinable | str,
        *,
        origin: datetime | None = None,
        **extra: Any,
    ) -> None:
        step = (
            Value(width, DurationField()) if isinstance(width, timedelta) else Cast(Value(width), _Interval())
        )
        named = [] if origin is None else [Func(Value(origin), template="origin => %(expressions)s")]
        super().__init__(step, _expression(expression), *named, **extra)


class CalendarBucket(Func):
    """The start of an instant's local day, week, month or year.

    `step` is one of the history API's: `1d`, `1w` (from Monday), `1mo`, `3mo`, `1y`, `10y`, `100y`.
    [start, end) is the range that the query filters by; earlier instants have no bucket (NULL), later
    ones the last. The midnights come from Joulebook's own rules, as on the pages and in the API:
    PostgreSQL has rules of its own, often years older, and is not asked for them.
    """

    function = "width_bucket"
    template = "(%(edges)s)[NULLIF(%(function)s(%(expressions)s), 0)]"
    output_field = DateTimeField()

    def __init__(
        self,
        step: str,
        expression: Combinable | str,
        *,
        start: datetime,
        end: datetime,
        time_zone: str,
        **extra: Any,
    ) -> None:
        if step not in _CALENDAR:
            raise ValueError(f"{step!r} is not one of {', '.join(_CALENDAR)}; below a day use TimeBucket")
        edges = bucket_edges(start, end, _CALENDAR[step], ZoneInfo(time_zone))
        begins = Cast(Value([from_microseconds(edge) for edge in edges[:-1].tolist()]), _Instants())
        super().__init__(_expression(expression), begins, **extra)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> Any:
        """Return the statement's part: the edge before the instant, found by binary search."""
        edges, parameters = compiler.compile(self.source_expressions[1])
        sql, others = super().as_sql(compiler, connection, *args, edges=edges, **extra)
        return sql, (*parameters, *others)


def _expression(named: Combinable | str) -> Combinable:
    return F(named) if isinstance(named, str) else named


class _Interval(DurationField[Any, Any]):
    """PostgreSQL's interval, spelt as text: Django's own parser knows neither weeks nor months."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: ARG002
        return value


class _Instants(Field[Any, Any]):
    """PostgreSQL's array of instants."""

    def db_type(self, connection: Any) -> str:  # noqa: ARG002
        return "timestamptz[]"
