"""What is suspicious about a counter, for the API and the metric's page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from django.utils import timezone
from ninja import Schema
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.points import earliest_time
from joulebook.telemetry.history.suspects import (
    MOST_SUSPECTS,
    Suspect,
    Suspects,
    TakenFor,
    Trap,
    TrapName,
    find_suspects,
    find_traps,
    has_reading,
    newest_values,
)
from joulebook.telemetry.series import SeriesRow
from joulebook.web.api.parameters import Instant, whole_number
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import metric_settings, own_silence_limit
from joulebook.web.telemetry import device_series, telemetry_connection

DEFAULT_SUSPECTS = 50
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


_Limit = Annotated[
    int,
    whole_number(MOST_SUSPECTS),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_SUSPECTS, "default": DEFAULT_SUSPECTS}),
]


class SuspectsQuery(BaseModel):
    """Which suspects of a counter."""

    start: Instant = Field(None, description="RFC 3339 with an offset; default: the first reading")
    end: Instant = Field(None, description="not included; default: now")
    limit: _Limit = Field(DEFAULT_SUSPECTS, description="the most suspects of an answer")

    def within(self) -> tuple[datetime, datetime]:
        """Return the beginning and the end."""
        return self.start or _EARLIEST, self.end or timezone.now()


class SuspectAnswer(Schema):
    """A suspicious reading of a counter, or the first of several that belong together."""

    time: datetime
    taken_for: TakenFor = Field(description="rise: above the greatest that is believed")
    readings: int = Field(description="number of readings that belong together")
    before: float = Field(description="the good reading before, in `unit`")
    value: float
    after: float | None = Field(description="the good reading after; null if there is none yet")
    effect: float = Field(description="the rise in question, in `unit`")
    counted: bool = Field(description="whether that rise counts now")
    decision: Literal["ignore", "confirm"] | None


class TrapAnswer(Schema):
    """A usual mistake about a metric."""

    name: TrapName
    advice: str


class SuspectsAnswer(Schema):
    """The suspects of a counter, the newest first."""

    device: str
    metric: str
    unit: str
    looks_like_amount: bool = Field(description="it falls in more than 1 % of its steps")
    whole: bool = Field(description="false: it falls too often for each fall to be looked at")
    traps: list[TrapAnswer]
    suspects: list[SuspectAnswer]
    next: datetime | None = Field(description="`end` of the request for earlier ones; null: there are none")


class SuspectDecision(BaseModel):
    """The owner's answer to a suspect."""

    model_config = ConfigDict(extra="forbid")

    decision: Literal["ignore", "confirm", "none"] = Field(
        description="its step counts for nothing; it is real; or no answer any more"
    )


def suspects_of(
    device: Device, metric: str, start: datetime, end: datetime, *, most: int = DEFAULT_SUSPECTS
) -> Suspects:
    """Return the newest suspects of a counter in [start, end), up to `most` of them."""
    with telemetry_connection() as conn:
        series = device_series(device.device_id)
        settings = metric_settings(device, series)[metric]
        first = earliest_time(conn, [series[metric].id]) if metric in series else None
        if first is None or max(first, start) >= end:
            return Suspects([], has_more=False, is_whole=True, looks_like_amount=False)
        wanted = Wanted(series[metric].id, settings, settings.unit)
        return find_suspects(
            conn, wanted, max(first, start), end, silence=own_silence_limit(device), most=most
        )


def traps_of(device: Device, metric: str) -> list[Trap]:
    """Return the usual mistakes about a counter among the metrics of its device."""
    series = device_series(device.device_id)
    with telemetry_connection() as conn:
        newest = newest_values(conn, {name: row.id for name, row in series.items()})
    return find_traps(metric, metric_settings(device, series), newest)


def read_time(text: str) -> datetime | None:
    """Return the instant of an address, None if it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def is_reading(series: SeriesRow, time: datetime) -> bool:
    """Return whether a metric has a reading at this instant."""
    with telemetry_connection() as conn:
        return has_reading(conn, series.id, time)


def suspects_answer(
    device: Device, metric: str, unit: str, found: Suspects, traps: Sequence[Trap]
) -> SuspectsAnswer:
    """Return the answer about the suspects of a counter."""
    return SuspectsAnswer(
        device=device.device_id,
        metric=metric,
        unit=unit,
        looks_like_amount=found.looks_like_amount,
        whole=found.is_whole,
        traps=[TrapAnswer(name=trap.name, advice=trap.advice) for trap in traps],
        suspects=[_suspect(each) for each in found.suspects],
        next=found.suspects[-1].time if found.has_more else None,
    )


def _suspect(suspect: Suspect) -> SuspectAnswer:
    decision: Literal["ignore", "confirm"] | None = None
    if suspect.is_ignored is not None:
        decision = "ignore" if suspect.is_ignored else "confirm"
    return SuspectAnswer(
        time=suspect.time,
        taken_for=suspect.taken_for,
        readings=suspect.readings,
        before=suspect.before,
        value=suspect.value,
        after=suspect.after,
        effect=suspect.effect,
        counted=suspect.is_counted,
        decision=decision,
    )
