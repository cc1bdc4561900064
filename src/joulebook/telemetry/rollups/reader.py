"""Reads the summaries of an answer: from rollups if they are up to date, else from readings.

Closed time, marks, rollups and readings are all read in one snapshot. So an answer is right at the moment of
its first statement, even if readings are written or rolled up meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise, zip_longest
from typing import LiteralString, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from joulebook.telemetry.batch import are_in_order
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE
from joulebook.telemetry.readings import DAY, HOUR, MINUTE, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.gaps import SIDE, SLOTS, Edges
from joulebook.telemetry.rollups.marks import read_marks
from joulebook.telemetry.rollups.state import READINGS_TABLE, RollupState
from joulebook.telemetry.rollups.summaries import (
    SUMMARY,
    Summaries,
    edges_of,
    join_summaries,
    summarise,
    summarise_each,
)
from joulebook.telemetry.rollups.tables import (
    SUMMARY_COLUMNS,
    WIDTHS,
    Spans,
    fitting_widths,
    read_readings,
    read_summaries,
    read_summaries_and_edges,
    without_legacy,
)
from joulebook.telemetry.timescale import Range

READINGS = 0
"""The table of readings, among the widths of the rollups."""


def plan_range(
    start: int, end: int, *, closed_until: int, blocked: Sequence[Range], widths: Sequence[int]
) -> dict[int, list[Range]]:
    """Return the ranges to read from each table, by its width or `READINGS`; together they are [start, end).

    The widest buckets are preferred. `blocked` ranges are not read from rollups. `widths` are the allowed
    ones, each a multiple of the one before. All are in microseconds.
    """
    plan: dict[int, list[Range]] = {}
    remaining = [(start, end)] if start < end else []
    for width in sorted(widths, reverse=True):
        # The whole buckets inside each range, up to the end of closed time.
        inner = [(-(-a // width) * width, min(b, closed_until) // width * width) for a, b in remaining]
        served = _without([(a, b) for a, b in inner if a < b], _outward(blocked, width))
        if served:
            plan[width] = served
            remaining = _without(remaining, served)
    if remaining:
        plan[READINGS] = remaining
    return plan


def _outward(ranges: Sequence[Range], width: int) -> list[Range]:
    """Return the whole buckets touched by the ranges, in order and joined."""
    joined: list[Range] = []
    for begin, end in sorted((begin // width * width, -(-end // width) * width) for begin, end in ranges):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _without(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """Return the ranges without `taken`; both are in order and do not overlap."""
    left: list[Range] = []
    position = 0
    for begin, end in ranges:
        while position < len(taken) and taken[position][1] <= begin:
            position += 1
        holes = []
        for hole in taken[position:]:
            if hole[0] >= end:
                break
            holes.append(hole)
        borders = [begin, *(border for hole in holes for border in hole), end]
        left += [(a, b) for a, b in list(pairwise(borders))[::2] if a < b]
    return left


def by_stretch(spans: Spans) -> Iterator[Spans]:
    """Yield the spans beginning in each stretch of some weeks, in order.

    Each span is looked up in all chunks of its statement: they are to be few.
    """
    stretch = spans.begin // _STRETCH
    for each in np.unique(stretch).tolist():
        mine = stretch == each
        yield Spans(spans.series_id[mine], spans.begin[mine], spans.end[mine])


def split(ranges: Sequence[Range], length: int) -> list[Range]:
    """Return the ranges cut at every multiple of `length`."""
    parts = []
    for begin, end in ranges:
        cuts = range(begin // length * length + length, end, length)
        parts += list(pairwise([begin, *cuts, end]))
    return parts


NEAR = SIDE + 1
"""The readings before and after a window that decide about the time known inside it."""

# The last readings of series in one span, and the first in another: one statement for both sides of a window.
_NEXT: LiteralString = """
SELECT asked.id, near.time, near.value FROM unnest(%(before)s::int[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT time, value FROM readings
    WHERE series_id = asked.id AND time >= %(before_begin)s AND time < %(before_end)s AND value <> 'NaN'
    ORDER BY time DESC LIMIT %(number)s
) AS near
UNION ALL
SELECT asked.id, near.time, near.value FROM unnest(%(after)s::int[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT time, value FROM readings
    WHERE series_id = asked.id AND time >= %(after_begin)s AND time < %(after_end)s AND value <> 'NaN'
    ORDER BY time LIMIT %(number)s
) AS near
"""
_NEXT_BUCKETS: LiteralString = """
SELECT asked.id, near.bucket FROM unnest(%(series)s::int[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT bucket FROM {table} WHERE series_id = asked.id AND bucket >= %(begin)s AND bucket < %(end)s
    ORDER BY bucket {order} LIMIT %(number)s
) AS near
"""
# Most series have readings near by; PostgreSQL plans a statement for all chunks of its range.
_REACH = 6 * HOUR
_EVER = to_microseconds(datetime(9999, 1, 1, tzinfo=UTC))
_KNOWN_COLUMNS = ("known", "first_usual", "last_usual", "pending")
# The longest part of a range to read at once, so that it fits in memory: the length of a chunk.
_PART = 7 * DAY
_STRETCH = 28 * DAY

SeriesRange = tuple[int, int, int]
"""A series, and the half-open time [begin, end) in microseconds since 1970 UTC."""


@dataclass
class SummaryReader:
    """Reads summaries of series; no summary crosses one of `edges`.

    Use it inside `one_snapshot`, with the `state` of that snapshot. Summaries from rollups have only
    `columns` and `bucket` filled; `first_at` or `bucket` must be among `columns`. With another `tolerance`
    than the rollups', everything is read from readings, slowly. `coarsest` is the longest width read so far,
    `READINGS` at first. Time without retained readings is always read from rollups.
    """

    conn: Connection
    edges: NDArray[np.int64]
    state: RollupState
    columns: tuple[str, ...] = SUMMARY_COLUMNS
    tolerance: float = DIP_TOLERANCE
    _widths: list[int] = field(init=False)
    coarsest: int = READINGS

    def __post_init__(self) -> None:
        self._widths = fitting_widths(self.edges)

    @property
    def source(self) -> str:
        """The coarsest table read so far."""
        return WIDTHS.get(self.coarsest, "readings")

    def read(
        self, ranges: Sequence[SeriesRange], *, apart: Sequence[int] = (), widest: int = HOUR
    ) -> Summaries:
        """Return the summaries of the readings in the ranges, in the order of series and time.

        Each reading in the minutes of the instants `apart` has a summary of its own. Rollups with buckets
        longer than `widest` are not used.
        """
        if not ranges:
            return np.empty(0, SUMMARY)
        widths = [width for width in self._widths if width <= widest]
        begin, end = min(begin for _, begin, _ in ranges), max(end for _, _, end in ranges)
        marked = read_marks(self.conn, [series for series, _, _ in ranges], begin, end)
        apart_ranges = [
            (instant // MINUTE * MINUTE, instant // MINUTE * MINUTE + MINUTE) for instant in apart
        ]
        spans: dict[int, list[SeriesRange]] = defaultdict(list)
        for series, begin, end in ranges:
            blocked = [*marked[None], *marked[series], *apart_ranges]
            if self.tolerance != DIP_TOLERANCE:
                blocked = [(begin, end)]
            retained_from = self.state.retained_from[READINGS_TABLE]
            blocked = [(max(a, retained_from), b) for a, b in blocked if b > retained_from]
            closed_until = self.state.closed_until
            plan = plan_range(begin, end, closed_until=closed_until, blocked=blocked, widths=widths)
            for width, parts in plan.items():
                cut = split(parts, _PART) if width == READINGS else parts
                spans[width] += [(series, *part) for part in cut]
        from_readings = spans.pop(READINGS, [])
        found = []
        for width, wanted in spans.items():
            for rows in read_summaries(self.conn, width, Spans.of(wanted), columns=self.columns):
                found.append(self._completed(rows))
                self.coarsest = max(self.coarsest, width)
        found += self._from_readings(
            Spans.of(from_readings), width=max(widths, default=0), apart=apart_ranges
        )
        return in_order(join_summaries(found))

    def one_by_one(self, rows: Summaries, which: NDArray[np.bool_]) -> Summaries:
        """Return the summaries, with one for each reading in place of those of the mask `which`.

        Summaries of time without retained readings stay.
        """
        which = which & (rows["bucket"] >= self.state.retained_from[READINGS_TABLE])
        if not which.any():
            return rows
        again = rows[which]
        spans = Spans(again["series_id"], again["first_at"], again["last_at"] + 1)
        found = [
            summarise_each(part.series_id, part.time, part.value)
            for stretch in by_stretch(spans)
            for part in read_readings(self.conn, stretch)
        ]
        return in_order(np.concatenate([rows[~which], *found]))

    def minute_by_minute(self, rows: Summaries, which: NDArray[np.bool_]) -> Summaries:
        """Return the summaries, with one for each minute in place of those of the mask `which`.

        Summaries of time without retained rollups by the minute stay.
        """
        which = which & (rows["bucket"] >= self.state.retained_from[WIDTHS[MINUTE]])
        if not which.any():
            return rows
        again = rows[which]
        begin = np.maximum(again["first_at"] // MINUTE * MINUTE, again["bucket"])
        # Where readings are dropped, only whole minutes are there.
        is_dropped = again["bucket"] < self.state.retained_from[READINGS_TABLE]
        end = np.where(is_dropped, -(-(again["last_at"] + 1) // MINUTE) * MINUTE, again["last_at"] + 1)
        ranges = list(zip(again["series_id"].tolist(), begin.tolist(), end.tolist(), strict=True))
        return in_order(np.concatenate([rows[~which], self.read(ranges, widest=MINUTE)]))

    def neighbours(self, series: Sequence[int], start: int, end: int) -> Summaries:
        """Return the readings of each series next before `start` and from `end` on, each as a summary.

        They are `NEAR` on each side, or fewer where there are no more. Where readings are past retention,
        summaries of the finest retained rollup take their place.
        """
        found: list[Summaries] = []
        lacking = {is_before: dict.fromkeys(series, NEAR) for is_before in (True, False)}
        sides = [
            [each for each in self._spans_beside(instant, is_before=is_before) if each[1][0] < each[1][1]]
            for instant, is_before in ((start, True), (end, False))
        ]
        for step in zip_longest(*sides):
            from_readings: dict[bool, tuple[list[int], Range]] = {}
            new = []
            for (is_before, number), table in zip(lacking.items(), step, strict=True):
                wanted = [each for each, count in number.items() if count > 0]
                if not wanted or table is None:
                    continue
                width, span = table
                if width:
                    new.append(self._next_summaries(wanted, width, span, is_before=is_before))
                else:
                    from_readings[is_before] = (wanted, span)
            if from_readings:
                new.append(self._next_readings(from_readings))
            for rows in new:
                for each, at in zip(rows["series_id"].tolist(), rows["first_at"].tolist(), strict=True):
                    lacking[at < start][each] -= 1
            found += new
        return in_order(join_summaries(found))

    def read_edges(self, rows: Summaries) -> Edges:
        """Return the edges of summaries of this reader, given in the order of series and time."""
        edges = Edges.none(len(rows))
        for width in np.unique(rows["width"]).tolist():
            index = np.flatnonzero(rows["width"] == width)
            mine = rows[index]
            if width:
                spans = Spans(mine["series_id"], mine["bucket"], mine["bucket"] + width).joined()
                parts = [part for _, part in read_summaries_and_edges(self.conn, width, spans)]
            else:
                order = np.argsort(mine["first_at"] // _STRETCH, kind="stable")
                index, mine = index[order], mine[order]
                spans = Spans(mine["series_id"], mine["first_at"], mine["last_at"] + 1)
                found = [each for part in by_stretch(spans) for each in read_readings(self.conn, part)]
                time = np.concatenate([part.time for part in found])
                parts = [edges_of(mine, time, np.concatenate([part.value for part in found]))]
            edges.gaps[index] = np.concatenate([part.gaps for part in parts])
            edges.values[index] = np.concatenate([part.values for part in parts])
        return edges

    def _completed(self, rows: Summaries) -> Summaries:
        """Return stored summaries of one width with their known time, if it was not read with them.

        Where all distances of a summary are the same, it follows from them; else it is read, too.
        """
        if "known" in self.columns or "longest_gap" not in self.columns or not len(rows):
            return rows
        inner, whole, longest = rows["count"] - 1, rows["last_at"] - rows["first_at"], rows["longest_gap"]
        is_short = inner <= SLOTS
        rows["known"] = np.where(is_short, 0, whole)
        rows["pending"] = np.where(is_short, (1 << np.minimum(inner, SLOTS)) - 1, 0)
        rows["first_usual"] = rows["last_usual"] = longest
        uneven = np.flatnonzero(whole != longest * inner)
        if len(uneven):
            again, width = rows[uneven], int(rows["width"][0])
            spans = Spans(again["series_id"], again["bucket"], again["bucket"] + width).joined()
            read = join_summaries(list(read_summaries(self.conn, width, spans, columns=_KNOWN_COLUMNS)))
            for name in _KNOWN_COLUMNS:
                again[name] = read[name]
            rows[uneven] = without_legacy(again)
        return rows

    def _spans_beside(self, instant: int, *, is_before: bool) -> Iterator[tuple[int, Range]]:
        """Yield the widths of the tables, with their spans before or after an instant, the nearest first."""
        retained_from = self.state.retained_from
        earliest = retained_from[READINGS_TABLE]
        if is_before:
            yield READINGS, (max(earliest, instant - _REACH), instant)
            yield READINGS, (earliest, instant - _REACH)
        finer = [READINGS_TABLE, *WIDTHS.values()]
        for (width, table), above in sorted(
            zip(WIDTHS.items(), finer, strict=False), key=lambda each: each[0], reverse=not is_before
        ):
            if is_before:
                yield width, (retained_from[table], min(instant // width * width, retained_from[above]))
            else:
                yield width, (max(-(-instant // width) * width, retained_from[table]), retained_from[above])
        if not is_before:
            begin = max(instant, earliest)
            yield READINGS, (begin, begin + _REACH)
            yield READINGS, (begin + _REACH, _EVER)

    def _next_summaries(
        self, series: Sequence[int], width: int, span: Range, *, is_before: bool
    ) -> Summaries:
        """Return of each series up to `NEAR` stored summaries, the last or the first in a span."""
        statement = sql.SQL(_NEXT_BUCKETS).format(
            table=sql.Identifier(WIDTHS[width]), order=sql.SQL("DESC" if is_before else "ASC")
        )
        begin, end = map(from_microseconds, span)
        parameters = {"series": list(series), "begin": begin, "end": end, "number": NEAR}
        rows = self.conn.execute(statement, parameters, prepare=False).fetchall()
        buckets = [(cast("int", row[0]), to_microseconds(cast("datetime", row[1]))) for row in rows]
        spans = Spans.of((each, bucket, bucket + width) for each, bucket in buckets).joined()
        parts = list(read_summaries(self.conn, width, spans, columns=self.columns))
        return self._completed(join_summaries(parts))

    def _next_readings(self, sides: Mapping[bool, tuple[list[int], Range]]) -> Summaries:
        """Return of each series up to `NEAR` readings as summaries.

        They are the last of a side's span if it `is_before` the window, else the first.
        """
        parameters: dict[str, object] = {"number": NEAR}
        for name, is_before in (("before", True), ("after", False)):
            series, span = sides.get(is_before, ([], (0, 0)))
            begin, end = map(from_microseconds, span)
            parameters |= {name: series, f"{name}_begin": begin, f"{name}_end": end}
        rows = self.conn.execute(_NEXT, parameters, prepare=False).fetchall()
        found = sorted(cast("list[tuple[int, datetime, float]]", rows))
        return summarise_each(
            np.array([each[0] for each in found], np.int32),
            np.array([to_microseconds(each[1]) for each in found], np.int64),
            np.array([each[2] for each in found], np.float64),
        )

    def _from_readings(self, spans: Spans, *, width: int, apart: Sequence[Range]) -> list[Summaries]:
        """Return summaries of the readings in the spans, by buckets of `width`, or with 0 by the edges.

        Each reading in the ranges `apart` has a summary of its own.
        """
        parts = []
        for found in (each for stretch in by_stretch(spans) for each in read_readings(self.conn, stretch)):
            if width:
                # Two spans of one bucket, with a rollup between them, are two summaries.
                bucket = np.maximum(found.time // width * width, found.begin)
            else:
                index = np.searchsorted(self.edges, found.time, side="right") - 1
                bucket = np.where(index < 0, found.time, np.maximum(self.edges[index], found.begin))
            for begin, end in apart:
                bucket = np.where((found.time >= begin) & (found.time < end), found.time, bucket)
                # What is behind them in the same bucket is a summary of its own, behind theirs.
                bucket = np.where(found.time >= end, np.maximum(bucket, end), bucket)
            parts.append(
                summarise(found.series_id, found.time, found.value, bucket, tolerance=self.tolerance)
            )
        return parts


def in_order(rows: Summaries) -> Summaries:
    """Return the summaries in the order of series and time."""
    series_id, bucket = rows["series_id"], rows["bucket"]
    # Rows from one table are in order already.
    if are_in_order(series_id, bucket, are_distinct=False):
        return rows
    ordered: Summaries = rows[np.lexsort((bucket, series_id))]
    return ordered
