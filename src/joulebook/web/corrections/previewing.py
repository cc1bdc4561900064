"""The preview of a correction: the readings that would change, and what the energy of days would become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from joulebook.telemetry.connection import Connection, one_snapshot
from joulebook.telemetry.corrections.preview import EditPreview, SeriesPreview, edited, preview_edit
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import EnergyTable, energy_of, whole_periods
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.kinds.units import comparable_units
from joulebook.telemetry.readings import from_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.corrections.models import Correction
from joulebook.web.devices.queries import own_silence_limit

USUAL_UNIT = "kWh"

MOST_DAYS = 400
"""Days of one preview."""

_TOO_MANY = "too many readings would change for their days to be summed beforehand"
_TOO_LONG = f"the changes span more than {MOST_DAYS} days, too many to be summed beforehand"


@dataclass(frozen=True)
class DayChange:
    """The energy of a local day before and after."""

    begin: datetime
    before: Decimal
    after: Decimal


@dataclass(frozen=True)
class EnergyChange:
    """The days of a metric whose energy would change, and the sums over all looked at."""

    metric: str
    unit: str
    days: Sequence[DayChange]
    before: Decimal
    after: Decimal


@dataclass(frozen=True)
class CorrectionPreview:
    """What a correction would change, by metric; `no_energy` is the reason if days were not summed."""

    metrics: Mapping[str, SeriesPreview]
    energy: Sequence[EnergyChange]
    no_energy: str = ""


def preview_correction(
    conn: Connection,
    correction: Correction,
    series: Mapping[str, int],
    settings: Mapping[str, MetricSettings],
    *,
    now: datetime,
) -> CorrectionPreview:
    """Return what the planned correction would change. `series` are those of its metrics; `conn` may read."""
    edit = correction.edit(series)
    with one_snapshot(conn):
        found = preview_edit(conn, edit)
        metrics = {edit.series[number].metric: part for number, part in found.series.items()}
        if not found.is_whole:
            return CorrectionPreview(metrics, [], _TOO_MANY)
        begin, end = found.extent()
        if not found.changed:
            return CorrectionPreview(metrics, [])
        zone = ZoneInfo(correction.device.time_zone)
        first, last = whole_periods(from_microseconds(begin), from_microseconds(end), zone, per="day")
        # What a changed reading means for the time until its neighbours may reach into the next days.
        first, last = whole_periods(first - timedelta(hours=1), last + timedelta(hours=1), zone, per="day")
        if last - first > timedelta(days=MOST_DAYS):
            return CorrectionPreview(metrics, [], _TOO_LONG)
        wanted = [
            Wanted(number, settings[name], _energy_unit(own))
            for name, number in series.items()
            if (own := settings[name].kind.unit_of_energy(settings[name].unit)) is not None
        ]
        return CorrectionPreview(
            metrics, _energy(conn, correction, found, wanted, (first, last), zone, now=now)
        )


def _energy_unit(own: str) -> str:
    return USUAL_UNIT if USUAL_UNIT in comparable_units(own) else own


def _energy(
    conn: Connection,
    correction: Correction,
    found: EditPreview,
    wanted: list[Wanted],
    span: tuple[datetime, datetime],
    zone: ZoneInfo,
    *,
    now: datetime,
) -> list[EnergyChange]:
    def table() -> EnergyTable:
        silence = own_silence_limit(correction.device)
        return energy_of(conn, wanted, *span, zone, per="day", now=now, silence=silence)

    if not wanted:
        return []
    before = table()
    with edited(conn, found):
        after = table()
    changes = []
    for old, new in zip(before.columns, after.columns, strict=True):
        days = zip(before.time.tolist(), old.energy, new.energy, strict=True)
        changes.append(
            EnergyChange(
                metric=old.metric,
                unit=old.unit,
                days=[DayChange(from_microseconds(day), was, is_) for day, was, is_ in days if was != is_],
                before=old.total,
                after=new.total,
            )
        )
    return changes
