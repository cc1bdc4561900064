"""Energy by day, week or month: from power over the time covered by readings, and from counters.

The local day is the unit of account: weeks, months and totals are the sums of the shown days, to the last
digit (see `totals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection, one_snapshot
from joulebook.telemetry.history.buckets import BucketReader, Window
from joulebook.telemetry.history.by_kind import figures_of
from joulebook.telemetry.history.columns import Numbers, TooManyNumbers, Wanted
from joulebook.telemetry.history.resolutions import Resolution, bucket_edges
from joulebook.telemetry.history.totals import Account, total_of
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds
from joulebook.telemetry.rollups.state import read_state
from joulebook.time_zones import ZoneInfo

PERIODS = {
    "day": Resolution("1d", days=1),
    "week": Resolution("1w", days=7),
    "month": Resolution("1mo", months=1),
}
MOST_DAYS = 3700
MOST_DAYS_OF_ALL = 100_000
"""Days of all metrics of one table together: 27 metrics in ten years, or 274 in one."""


@dataclass(frozen=True)
class EnergyColumn:
    """One metric's energy by period, in `unit`.

    `energy` belongs to the period for certain; where energy may flow both ways it is `energy_in` less
    `energy_out`, else these are None. `unallocated` is the rise of a counter during silences across
    midnight; `coverage` is the known share of the period.
    """

    metric: str
    name: str
    kind: str
    unit: str
    energy: list[Decimal]
    unallocated: list[Decimal]
    coverage: list[float]
    energy_in: list[Decimal] | None = None
    energy_out: list[Decimal] | None = None
    spread: list[Decimal] | None = None
    """The part of `energy` that was spread evenly over a time without readings; None if nothing is spread."""

    @property
    def total(self) -> Decimal:
        """The sum of the shown periods."""
        return total_of(self.energy)

    @property
    def total_in(self) -> Decimal | None:
        """The sum of what flowed in."""
        return None if self.energy_in is None else total_of(self.energy_in)

    @property
    def total_out(self) -> Decimal | None:
        """The sum of what flowed out."""
        return None if self.energy_out is None else total_of(self.energy_out)

    @property
    def total_spread(self) -> Decimal | None:
        """The sum of the spread parts."""
        return None if self.spread is None else total_of(self.spread)

    @property
    def total_unallocated(self) -> Decimal:
        """The sum of the unallocated rises."""
        return total_of(self.unallocated)


@dataclass(frozen=True)
class EnergyTable:
    """Energy of a device in [start, end): `time` are the periods' beginnings, in microseconds since 1970."""

    start: datetime
    end: datetime
    time: NDArray[np.int64]
    columns: list[EnergyColumn]


def check_size(metrics: int, length: timedelta) -> None:
    """Raise `TooManyNumbers` if a table would take too long, or too much memory."""
    days = length // timedelta(days=1) + 1
    if metrics * days > MOST_DAYS_OF_ALL:
        most = MOST_DAYS_OF_ALL // metrics
        raise TooManyNumbers(
            f"{metrics:,} metrics in {days:,} days are too much for one table; "
            f"ask for fewer metrics, or for {most:,} days at most",
            parameter="metric",
        )


def whole_periods(start: datetime, end: datetime, zone: ZoneInfo, *, per: str) -> tuple[datetime, datetime]:
    """Return the range widened to whole local days, weeks or months."""
    edges = bucket_edges(start, end, PERIODS[per], zone)
    return from_microseconds(int(edges[0])), from_microseconds(int(edges[-1]))


def energy_of(
    conn: Connection,
    wanted: list[Wanted],
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    *,
    per: str,
    now: datetime,
    silence: timedelta | None,
) -> EnergyTable:
    """Return the energy of each wanted metric by period.

    `start` and `end` are borders of periods; an unfinished period has the energy until `now`. The unit of
    each metric's energy must be convertible into the wanted unit. Raises `UnitProblem`.
    """
    days = bucket_edges(start, end, PERIODS["day"], zone)
    periods = bucket_edges(start, end, PERIODS[per], zone)
    window = Window(int(days[0]), int(days[-1]), days, silence)
    period_of_day = np.searchsorted(periods, days[:-1], side="right") - 1
    begin = np.flatnonzero(np.append(True, np.diff(period_of_day)))
    with one_snapshot(conn):
        reader = BucketReader(conn, window, read_state(conn))
        columns = [_column(reader, each, window, begin, now=now) for each in wanted]
    return EnergyTable(start, end, periods[:-1], columns)


def _column(
    reader: BucketReader, wanted: Wanted, window: Window, begin: NDArray[np.intp], *, now: datetime
) -> EnergyColumn:
    settings = wanted.settings
    own_unit = settings.kind.unit_of_energy(settings.unit) or ""
    account = Account(own_unit, wanted.unit)
    found = figures_of(settings.kind).energy(reader, wanted, factor=settings.factor * account.factor)
    present = int(now.timestamp()) * MICROSECONDS
    passed = np.maximum(np.minimum(window.edges[1:], present) - window.edges[:-1], 0) / MICROSECONDS
    known, time = np.add.reduceat(found.covered, begin), np.add.reduceat(passed, begin)
    coverage = np.divide(known, time, where=time > 0, out=np.zeros(len(known)))
    energy = _sums_of_days(account, found.energy, begin)
    flows: list[list[Decimal]] = []
    if found.energy_in is not None and found.energy_out is not None:
        flows = [_sums_of_days(account, each, begin) for each in (found.energy_in, found.energy_out)]
        energy = [into - out for into, out in zip(*flows, strict=True)]
    return EnergyColumn(
        metric=wanted.metric,
        name=settings.display_name,
        kind=settings.kind.name,
        unit=wanted.unit,
        energy=energy,
        unallocated=_sums_of_days(account, found.unallocated, begin),
        coverage=np.minimum(coverage, 1.0).round(4).tolist(),
        energy_in=flows[0] if flows else None,
        energy_out=flows[1] if flows else None,
        spread=None if found.spread is None else _sums_of_days(account, found.spread, begin),
    )


def _sums_of_days(account: Account, days: Numbers, begin: NDArray[np.intp]) -> list[Decimal]:
    """Return each period's sum of its shown days."""
    shown = account.days(days.tolist())
    ends = [*begin[1:].tolist(), len(shown)]
    return [total_of(shown[first:last]) for first, last in zip(begin.tolist(), ends, strict=True)]
