"""TimescaleDB's functions as Django expressions.

bucketed = Reading.objects.annotate(bucket=TimeBucket("5 minutes", "time"))
bucketed.values("bucket").annotate(Avg("value"))
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, DurationField, F, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast


class TimeBucket(Func):
    """The start of the bucket that an instant falls into: `time_bucket(width, time)`.

    `width` is a `timedelta` or PostgreSQL's words for an interval, such as `"5 minutes"` or
    `"1 month"`. Buckets are aligned to Monday 2000-01-03 UTC (months and longer: to 2000-01-01), or to
    midnights of `time_zone` where one is named, or to `origin`. The answer is an aware datetime.

    In a time zone TimescaleDB buckets the local clock, so the two passes of the doubled hour in
    autumn share a bucket: name a zone for buckets of a day and longer, and leave it out below.
    """

    function = "time_bucket"
    output_field = DateTimeField()

    def __init__(
        self,
        width: timedelta | str,
        expression: Combinable | str,
        *,
        time_zone: str | None = None,
        origin: datetime | None = None,
        **extra: Any,
    ) -> None:
        step = (
            Value(width, DurationField()) if isinstance(width, timedelta) else Cast(Value(width), _Interval())
        )
        time = F(expression) if isinstance(expression, str) else expression
        named: list[Combinable] = []
        if time_zone is not None:
            named.append(Func(Value(time_zone), template="timezone => %(expressions)s"))
        if origin is not None:
            named.append(Func(Value(origin), template="origin => %(expressions)s"))
        super().__init__(step, time, *named, **extra)


class _Interval(DurationField[Any, Any]):
    """PostgreSQL's interval, spelt as text: Django's own parser knows neither weeks nor months."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: ARG002
        return value
