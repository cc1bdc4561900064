"""The figures of a counter: its rises by bucket, across resets, glitches and replaced meters.

`registers.py` has the rule. Here the rows are read that it needs: those of the window, as many before and
after it as the rule looks back and ahead, and single readings in place of the rows near a far fall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, LiteralString, cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries
from joulebook.telemetry.history.columns import Column, Numbers, Wanted
from joulebook.telemetry.history.gaps import unknown_gaps
from joulebook.telemetry.history.levels import EnergyBuckets, LevelFigures
from joulebook.telemetry.history.registers import (
    HOURS,
    MOST_BETWEEN,
    Ints,
    Mask,
    RegisterChange,
    RegisterRule,
    Steps,
    are_unclear,
    steps_of,
)
from joulebook.telemetry.history.resolutions import Resolution, bucket_edges
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE, MetricSettings
from joulebook.telemetry.readings import DAY, HOUR, MINUTE, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.reader import SummaryReader
from joulebook.telemetry.rollups.state import READINGS_TABLE
from joulebook.telemetry.rollups.summaries import Summaries, summarise_each
from joulebook.telemetry.rollups.tables import fitting_widths
from joulebook.time_zones import ZoneInfo

# The highest reading of a run is looked for in `HOURS` hours before a reading's own; whether readings there
# are good depends on up to four readings before them.
_HOURS_BEFORE = HOURS + MOST_BETWEEN + 2
# A spread rise needs the next good reading after the window, and that one the readings that show it is good.
_READINGS_AFTER = 3 * (MOST_BETWEEN + 1)
# Rows near far falls are read again reading by reading: those of a year of a metric that is no counter would
# not fit in memory.
_MOST_READ_AGAIN = 3_000_000
_DAYS = Resolution("1d", days=1)

# The begin of the last hours with readings before an instant. PostgreSQL plans a year's statement for all of
# its chunks, so a recent stretch is read first.
_LAST_HOURS: LiteralString = """
WITH RECURSIVE found (time, number) AS (
    (
        SELECT time, 1 FROM readings
        WHERE series_id = %(series)s AND time < %(instant)s AND time >= %(since)s AND value <> 'NaN'
        ORDER BY time DESC LIMIT 1
    )
    UNION ALL
    SELECT earlier.time, found.number + 1
    FROM found CROSS JOIN LATERAL (
        SELECT time FROM readings
        WHERE series_id = %(series)s AND time < date_trunc('hour', found.time, 'UTC') AND time >= %(since)s
          AND value <> 'NaN'
        ORDER BY time DESC LIMIT 1
    ) AS earlier
    WHERE found.number < %(hours)s
)
SELECT min(time), count(*) FROM found
"""
_LAST_SUMMED_HOURS: LiteralString = """
SELECT min(bucket), count(*) FROM (
    SELECT bucket FROM readings_1h WHERE series_id = %(series)s AND bucket < %(instant)s
    ORDER BY bucket DESC LIMIT %(hours)s
) AS hours
"""
_NEXT: LiteralString = """
SELECT time, value FROM readings
WHERE series_id = %(series)s AND time >= %(instant)s AND time < %(until)s AND value <> 'NaN'
ORDER BY time LIMIT %(readings)s
"""
_NEXT_SUMMED_HOURS: LiteralString = """
SELECT max(bucket), count(*) FROM (
    SELECT bucket FROM readings_1h WHERE series_id = %(series)s AND bucket >= %(instant)s
    ORDER BY bucket LIMIT %(readings)s
) AS hours
"""
_RECENT = (14 * DAY, None)


@dataclass(frozen=True)
class Rises:
    """By bucket: the rise of the counter, its unallocated rise, its resets and glitches.

    `decrease` is there if the register runs both ways; then `unallocated` is up less down. `spread` is the
    part of the rise that is spread evenly over a time without readings, if the owner wants that. A bucket
    without readings rose by zero and has a count of zero.
    """

    increase: Numbers
    unallocated: Numbers
    resets: NDArray[np.int64]
    glitches: NDArray[np.int64]
    decrease: Numbers | None = None
    spread: Numbers | None = None

    @property
    def numbers(self) -> int:
        """How many numbers they are."""
        return len(self.answer()) * len(self.increase)

    def scaled(self, factor: float, offset: float) -> Rises:  # noqa: ARG002 - rises are differences
        """Return the rises of a counter with values multiplied by `factor`."""
        return replace(
            self,
            increase=self.increase * factor,
            unallocated=self.unallocated * factor,
            decrease=None if self.decrease is None else self.decrease * factor,
            spread=None if self.spread is None else self.spread * factor,
        )

    def table(self) -> Sequence[tuple[str, NDArray[Any]]]:
        """Return the figures as columns of a table, each with its name."""
        return list(self.answer().items())

    def answer(self) -> Mapping[str, NDArray[Any]]:
        """Return the figures by their names in an answer."""
        found = {
            "increase": self.increase,
            "decrease": self.decrease,
            "unallocated": self.unallocated,
            "spread": self.spread,
            "resets": self.resets,
            "glitches": self.glitches,
        }
        return {name: figures for name, figures in found.items() if figures is not None}


class CounterFigures(LevelFigures):
    """A counter's rises are exact across the edges of buckets, resets, glitches and replaced meters."""

    is_read_at_once = False
    least_numbers = LevelFigures.least_numbers + 4
    most_numbers = least_numbers + 2

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets with the rises."""
        rises, summaries = _rises(reader, wanted)
        return reader.column(wanted, summaries.rows, reader.integrals(summaries).covered, more=rises)

    def with_raw_figures(self, reader: BucketReader, column: Column) -> Column:
        """Return raw values with the rise since the reading before each."""
        assert column.value is not None  # noqa: S101 - a raw column has values
        is_there = ~np.isnan(column.value)
        time, value = reader.window.edges[:-1][is_there], column.value[is_there]
        rows = summarise_each(np.full(len(time), column.wanted.series_id, np.int32), time, value)
        rises, _summaries = _rises(reader, column.wanted, inside=rows)
        return replace(column, more=rises)

    def energy(self, reader: BucketReader, wanted: Wanted, *, factor: float) -> EnergyBuckets:
        """Return the rises times `factor`."""
        rises, summaries = _rises(reader, wanted)
        covered = reader.integrals(summaries).covered
        energy_in, energy_out = rises.increase * factor, rises.decrease
        spread = None if rises.spread is None else rises.spread * factor
        if energy_out is None:
            return EnergyBuckets(energy_in, rises.unallocated * factor, covered, spread=spread)
        energy_out = energy_out * factor
        return EnergyBuckets(
            energy_in - energy_out,
            rises.unallocated * factor,
            covered,
            energy_in=energy_in,
            energy_out=energy_out,
            spread=spread,
        )


def _rises(
    reader: BucketReader, wanted: Wanted, *, inside: Summaries | None = None
) -> tuple[Rises, SeriesSummaries]:
    """Return the rises by bucket and the summaries behind them; `inside` are the window's, if read."""
    register = read_register(reader, wanted, inside=inside)
    summaries = reader.known_time_of(register.rows, wanted, register.reader)
    unknown = unknown_gaps(summaries.rows, summaries.known)
    rises = rises_by_bucket(register.steps(), reader.window.clipped(), unknown, register.rule)
    return rises, summaries


def rises_by_bucket(steps: Steps, edges: Ints, unknown: tuple[Ints, Ints], rule: RegisterRule) -> Rises:
    """Return the rises in each bucket [edges[i], edges[i + 1]), exact also across the edges.

    A rise belongs to the bucket of the higher reading. If some of its time is not known, and an edge lies in
    it, the rise may have been on either side of the edge: it is unallocated, and listed with the bucket of
    the higher reading, or it is spread evenly over its time. `unknown` are the begins and ends of the times
    not known.
    """
    length = len(edges) - 1
    is_counted = ~steps.is_disbelieved
    up, down = (np.where(is_counted, entry, 0.0) for entry in (steps.entry, steps.entry_down))
    bucket = np.searchsorted(edges, steps.until, side="right") - 1
    came_from = np.searchsorted(edges, steps.since, side="right") - 1
    begins, ends = unknown
    is_known = np.searchsorted(begins, steps.until, side="left") <= np.searchsorted(
        ends, steps.since, side="right"
    )
    is_lost = ~is_known & (came_from != bucket)
    is_inside = (bucket >= 0) & (bucket < length)

    def by_bucket(amounts: Numbers | Ints, where: Mask) -> Numbers:
        where = where & is_inside
        return np.bincount(bucket[where], amounts[where], length).astype(np.float64)

    increase = by_bucket(steps.inner, is_inside) + by_bucket(up, ~is_lost)
    decrease = by_bucket(steps.inner_down, is_inside) + by_bucket(down, ~is_lost)
    unallocated = np.zeros(length)
    spread = None
    if rule.spreads:
        spread = _spread(steps, up, edges, is_lost)
        spread_down = _spread(steps, down, edges, is_lost)
        increase, decrease = increase + spread, decrease + spread_down
        spread = spread - spread_down
    else:
        unallocated = by_bucket(up - down, is_lost)
    at = np.searchsorted(edges, steps.glitches["first_at"], side="right") - 1
    return Rises(
        increase=increase,
        unallocated=unallocated,
        resets=by_bucket(steps.resets, is_inside).astype(np.int64),
        glitches=np.bincount(at[(at >= 0) & (at < length)], minlength=length).astype(np.int64),
        decrease=decrease if rule.runs_both_ways else None,
        spread=spread,
    )


def _spread(steps: Steps, amounts: Numbers, edges: Ints, which: Mask) -> Numbers:
    """Return by bucket the amounts of `which`, each spread evenly over its time."""
    length = len(edges) - 1
    which = which & (amounts > 0) & (steps.until > edges[0]) & (steps.since < edges[-1])
    since, until, amounts = steps.since[which], steps.until[which], amounts[which]
    first = np.maximum(np.searchsorted(edges, since, side="right") - 1, 0)
    last = np.minimum(np.searchsorted(edges, until, side="left") - 1, length - 1)
    number = last - first + 1
    step = np.repeat(np.arange(len(since)), number)
    bucket = first[step] + np.arange(len(step)) - np.repeat(np.cumsum(number) - number, number)
    part = np.minimum(until[step], edges[bucket + 1]) - np.maximum(since[step], edges[bucket])
    share = part / (until - since)[step]
    return np.bincount(bucket, amounts[step] * share, length).astype(np.float64)


@dataclass(frozen=True)
class Register:
    """The rows of a register in a window and around it, with its rule.

    `is_whole`: all rows near far falls were read reading by reading. `has_newest`: the last row holds the
    newest reading of the series.
    """

    rows: Summaries
    rule: RegisterRule
    reader: SummaryReader
    has_newest: bool
    is_whole: bool

    def steps(self) -> Steps:
        """Return the register's steps."""
        return steps_of(self.rows, self.rule, has_newest=self.has_newest)


def read_register(reader: BucketReader, wanted: Wanted, *, inside: Summaries | None = None) -> Register:
    """Read a counter's rows in the window, and those that decide about them.

    `inside` are the readings of the window, one by one, if they are read already.
    """
    window, series = reader.window, wanted.series_id
    start, end = window.start, window.end
    after, has_newest = _rows_after(reader, series, end)
    until = max(end, int(after["last_at"].max(initial=end)) + 1)
    # Most series have readings in each of the hours before; the begin of others' last hours is looked up.
    recent = start // HOUR * HOUR - _HOURS_BEFORE * HOUR
    rule = register_rule(wanted.settings, recent, until)
    around, within = _readers(reader, rule, until)
    apart = [each.time for each in rule.replacements]
    if inside is None and around is within:
        rows = within.read([(series, recent, start), (series, start, end)], apart=apart)
    else:
        rows = around.read([(series, recent, start)], apart=apart)
        found = within.read([(series, start, end)], apart=apart) if inside is None else inside
        rows = np.concatenate([rows, found])
    hours = np.unique(rows["first_at"][rows["first_at"] < recent + _HOURS_BEFORE * HOUR] // HOUR)
    if len(hours) < _HOURS_BEFORE:
        begin = _begin_of_context(reader, series, recent)
        rule = register_rule(wanted.settings, begin, until)
        earlier, _ = _readers(reader, rule, until)
        rows = np.concatenate([earlier.read([(series, begin, recent)], apart=apart), rows])
    rows = np.concatenate([rows, after])
    # Beside a minute that is read apart, the rows of an hour may have its begin as their bucket.
    rows = rows[np.argsort(rows["first_at"], kind="stable")]
    rows, is_whole = _with_single_readings(within, rows, rule, has_newest=has_newest)
    return Register(rows, rule, within, has_newest=has_newest, is_whole=is_whole)


def _readers(reader: BucketReader, rule: RegisterRule, until: int) -> tuple[SummaryReader, SummaryReader]:
    """Return the readers of the rows around the window and within it; often they are one."""
    edges = np.unique(np.concatenate([reader.window.edges, rule.midnights]))
    if fitting_widths(edges):
        both = reader.summary_reader(rule.tolerance, edges)
        return both, both
    # Rows between edges that are far apart must not be longer than an hour.
    hours = np.arange(reader.window.start // HOUR, until // HOUR + 1) * HOUR
    within = reader.summary_reader(rule.tolerance, np.unique(np.concatenate([edges, hours])))
    return reader.summary_reader(rule.tolerance, rule.midnights), within


def register_rule(settings: MetricSettings, begin: int, end: int) -> RegisterRule:
    """Return the rule of a counter by its settings, with midnights from `begin` to `end`."""
    # Registers are entered as shown; readings are stored as sent.
    factor = settings.factor or 1.0
    midnights = np.empty(0, np.int64)
    if settings.resets_daily and begin < end:
        zone = ZoneInfo(settings.time_zone)
        midnights = bucket_edges(from_microseconds(begin), from_microseconds(end), _DAYS, zone)
    decided = {
        is_ignored: np.array(
            [to_microseconds(each.time) for each in settings.decisions if each.is_ignored == is_ignored],
            np.int64,
        )
        for is_ignored in (True, False)
    }
    return RegisterRule(
        tolerance=settings.dip_tolerance,
        midnights=midnights,
        rolls_over_at=None if settings.rolls_over_at is None else settings.rolls_over_at / factor,
        runs_both_ways=settings.runs_both_ways,
        greatest_rise=None if settings.greatest_rise is None else settings.greatest_rise / factor,
        spreads=settings.spreads,
        ignored=decided[True],
        confirmed=decided[False],
        replacements=[
            RegisterChange(
                to_microseconds(each.replaced_at),
                None if each.final_register is None else each.final_register / factor,
                None if each.start_register is None else each.start_register / factor,
            )
            for each in settings.replacements
        ],
    )


def _begin_of_context(reader: BucketReader, series: int, recent: int) -> int:
    """Return where to read from: the begin of the last hours with readings, at most `recent`."""
    begin, number = recent, 0
    limits: dict[str, object] = {"series": series, "hours": _HOURS_BEFORE}
    for reach in _RECENT:
        limits["instant"] = from_microseconds(recent)
        limits["since"] = "-infinity" if reach is None else from_microseconds(recent - reach)
        time, number = _found(reader, _LAST_HOURS, limits)
        begin = begin if time is None else time // HOUR * HOUR
        if number >= _HOURS_BEFORE:
            return begin
    if reader.state.retained_from[READINGS_TABLE] > 0:
        limits |= {"instant": from_microseconds(begin), "hours": _HOURS_BEFORE - number}
        time, _ = _found(reader, _LAST_SUMMED_HOURS, limits)
        begin = begin if time is None else time
    return begin


def _found(
    reader: BucketReader, statement: LiteralString, limits: dict[str, object]
) -> tuple[int | None, int]:
    """Return the outermost instant found by a statement, and the number of those found."""
    ((time, number),) = reader.conn.execute(statement, limits).fetchall()
    return None if time is None else to_microseconds(cast("datetime", time)), cast("int", number)


def _rows_after(reader: BucketReader, series: int, end: int) -> tuple[Summaries, bool]:
    """Return the rows after the window, and whether with those before them the newest reading is there.

    They are single readings, or the sums of hours where readings are past retention.
    """
    limits: dict[str, object] = {"series": series, "readings": _READINGS_AFTER}
    retained_from = reader.state.retained_from[READINGS_TABLE]
    if end < retained_from:
        limits["instant"] = from_microseconds(end)
        time, _ = _found(reader, _NEXT_SUMMED_HOURS, limits)
        if time is not None:
            summed = reader.summary_reader(DIP_TOLERANCE, np.empty(0, np.int64))
            return summed.read([(series, end, time + HOUR)]), False
    begin = max(end, retained_from)
    limits["instant"] = from_microseconds(begin)
    # There are no chunks to plan for beyond the present.
    is_recent = begin + DAY >= reader.state.closed_until
    found: list[tuple[datetime, float]] = []
    for until in ["infinity"] if is_recent else [from_microseconds(begin + DAY), "infinity"]:
        rows = reader.conn.execute(_NEXT, limits | {"until": until}).fetchall()
        found = cast("list[tuple[datetime, float]]", rows)
        if len(found) >= _READINGS_AFTER:
            break
    after = summarise_each(
        np.full(len(found), series, np.int32),
        np.array([to_microseconds(each[0]) for each in found], np.int64),
        np.array([each[1] for each in found], np.float64),
    )
    return after, len(found) < _READINGS_AFTER


def _with_single_readings(
    reader: SummaryReader, rows: Summaries, rule: RegisterRule, *, has_newest: bool
) -> tuple[Summaries, bool]:
    """Return the rows with single readings in place of those that cannot be judged whole.

    Return also whether that was possible: too many readings stay as they are.
    """
    unclear = are_unclear(rows, rule, has_newest=has_newest)
    if not unclear.any():
        return rows, True
    long = unclear & (rows["last_at"] - rows["first_at"] > MINUTE)
    minutes = (rows["last_at"] - rows["first_at"])[long].sum() // MINUTE
    if min(minutes, rows["count"][long].sum()) > _MOST_READ_AGAIN:
        return rows, False
    rows = reader.minute_by_minute(rows, long)
    rows = rows[np.argsort(rows["first_at"], kind="stable")]
    unclear = are_unclear(rows, rule, has_newest=has_newest)
    if rows["count"][unclear].sum() > _MOST_READ_AGAIN:
        return rows, False
    rows = reader.one_by_one(rows, unclear)
    return rows[np.argsort(rows["first_at"], kind="stable")], True
