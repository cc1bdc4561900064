"""Buckets of a window: reads the summaries of series, and makes the figures common to all kinds.

A reading holds until the next one. If the next reading is further away than `silence`, nothing is known of
the time between: it is not covered, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.history.columns import Column, KindFigures, Numbers, Wanted
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE, silence_rule
from joulebook.telemetry.readings import MICROSECONDS, MINUTE
from joulebook.telemetry.rollups.reader import SeriesRange, SummaryReader
from joulebook.telemetry.rollups.state import RollupState
from joulebook.telemetry.rollups.summaries import Summaries

# The columns for means and coverage; the others are read only for a kind that needs them.
_LEVEL_COLUMNS = ("count", "sum", "min", "max", "first_at", "last_at", "longest_gap")


@dataclass(frozen=True)
class Integrals:
    """By bucket: value times seconds over the covered time, and the covered time in seconds."""

    integral: Numbers
    covered: Numbers


def integrate(rows: Summaries, edges: NDArray[np.int64], *, silence: int) -> Integrals:
    """Return the integral and the covered time of one level in each bucket [edges[i], edges[i + 1]).

    `rows` are summaries in the order of time, none of them on both sides of an edge, and none with a
    `longest_gap` above `silence` (microseconds). Rows before the first and after the
    last edge give the values at these edges.
    """
    length = len(edges) - 1
    if not len(rows):
        return Integrals(np.zeros(length), np.zeros(length))
    gap = np.append(rows["first_at"][1:] - rows["last_at"][:-1], 0)
    held = np.where(gap <= silence, gap, 0)
    # Both up to the last reading of each row.
    known = np.cumsum(rows["last_at"] - rows["first_at"]) + np.append(0, np.cumsum(held[:-1]))
    total = np.cumsum(rows["integral"]) + np.append(0, np.cumsum((rows["last"] * (held / MICROSECONDS))[:-1]))
    # Until each edge, the value of the last row before it has held for some more time.
    row = np.searchsorted(rows["first_at"], edges, side="left") - 1
    is_before_all = row < 0
    row = np.maximum(row, 0)
    more = np.clip(edges - rows["last_at"][row], 0, held[row])
    known_at = np.where(is_before_all, 0, known[row] + more)
    total_at = np.where(is_before_all, 0.0, total[row] + rows["last"][row] * (more / MICROSECONDS))
    return Integrals(np.diff(total_at), np.diff(known_at) / MICROSECONDS)


def usual_distance(rows: Summaries) -> int:
    """Return the usual distance between neighbouring readings of one series in microseconds, 0 if unknown.

    The median over all distances; those inside a summary count as their mean.
    """
    inner = rows["count"] - 1
    mean = np.divide(rows["last_at"] - rows["first_at"], inner, where=inner > 0, out=np.zeros(len(rows)))
    distance = np.concatenate([mean, rows["first_at"][1:] - rows["last_at"][:-1]])
    weight = np.concatenate([inner, np.ones(max(len(rows) - 1, 0), np.int64)])
    half = weight.sum() / 2
    if not half:
        return 0
    # Most often nearly all are alike, and nothing needs to be sorted.
    likely = distance[np.argmax(weight)]
    shorter = weight[distance < likely].sum()
    if shorter < half <= shorter + weight[distance == likely].sum():
        return int(likely)
    order = np.argsort(distance)
    middle = np.searchsorted(np.cumsum(weight[order]), half)
    return int(distance[order][middle])


@dataclass(frozen=True)
class Window:
    """The requested time [start, end) and the edges of its buckets, in microseconds since 1970 UTC.

    `silence` is the device's silence limit, None if its owner has set none.
    """

    start: int
    end: int
    edges: NDArray[np.int64]
    silence: timedelta | None

    def clipped(self) -> NDArray[np.int64]:
        """Return the edges with the first and the last moved to the requested time's begin and end."""
        edges = self.edges.copy()
        edges[0], edges[-1] = max(edges[0], self.start), min(edges[-1], self.end)
        return edges


@dataclass(frozen=True)
class SeriesSummaries:
    """The summaries of one series, and the series' silence limit in microseconds (see `silence_rule`)."""

    rows: Summaries
    silence: int
    reader: SummaryReader

    def read_apart(self, which: NDArray[np.bool_]) -> SeriesSummaries:
        """Return them with the summaries of `which` read again, reading by reading."""
        return replace(self, rows=self.reader.one_by_one(self.rows, which))

    def without_silences(self) -> SeriesSummaries:
        """Return them with the summaries holding a silence read again in shorter pieces, free of silences."""
        has_silence = self.rows["longest_gap"] > self.silence
        if self.silence >= MINUTE:
            return replace(self, rows=self.reader.minute_by_minute(self.rows, has_silence))
        return self.read_apart(has_silence)


class BucketReader:
    """Reads series in a window; belongs inside `one_snapshot`, with the state of that snapshot."""

    def __init__(self, conn: Connection, window: Window, state: RollupState) -> None:
        self.window = window
        self.conn = conn
        self.state = state
        self._levels = SummaryReader(conn, window.edges, state, columns=_LEVEL_COLUMNS)
        self._by_tolerance: dict[float, SummaryReader] = {}
        self._others: list[SummaryReader] = []

    @property
    def source(self) -> str:
        """The coarsest table read so far."""
        readers = (self._levels, *self._by_tolerance.values(), *self._others)
        return max(readers, key=lambda reader: reader.coarsest).source

    def summary_reader(self, tolerance: float, edges: NDArray[np.int64]) -> SummaryReader:
        """Return a reader of summaries that do not cross `edges`, for a kind with edges of its own."""
        self._others.append(SummaryReader(self.conn, edges, self.state, tolerance=tolerance))
        return self._others[-1]

    def read_levels(self, wanted: Sequence[Wanted]) -> dict[int, SeriesSummaries]:
        """Read many series at once, inside the window only, with the columns for means and coverage.

        Return the summaries by series id.
        """
        window = self.window
        rows = self._levels.read([(each.series_id, window.start, window.end) for each in wanted])
        found = {}
        for each in wanted:
            begin, end = np.searchsorted(rows["series_id"], [each.series_id, each.series_id + 1])
            found[each.series_id] = self._series_summaries(rows[begin:end], self._levels)
        return found

    def read_series(
        self, series_id: int, *, tolerance: float = DIP_TOLERANCE, apart: Sequence[int] = ()
    ) -> SeriesSummaries:
        """Read all columns of a series in the window, and its readings next before and after the window.

        The minutes of the instants `apart` are read reading by reading.
        """
        if tolerance not in self._by_tolerance:
            self._by_tolerance[tolerance] = SummaryReader(
                self.conn, self.window.edges, self.state, tolerance=tolerance
            )
        reader, start, end = self._by_tolerance[tolerance], self.window.start, self.window.end
        ranges: list[SeriesRange] = [(series_id, start, end)]
        before, after = reader.last_before(series_id, start), reader.first_from(series_id, end)
        if before is not None:
            ranges.insert(0, (series_id, before, start))
        if after is not None:
            ranges.append((series_id, after, after + 1))
        return self._series_summaries(reader.read(ranges, apart=apart), reader)

    def integrals(self, summaries: SeriesSummaries) -> Integrals:
        """Return the integral of a level and the covered time of each bucket; no summary holds a silence."""
        return integrate(summaries.rows, self.window.clipped(), silence=summaries.silence)

    def column(
        self, wanted: Wanted, rows: Summaries, covered: Numbers, *, more: KindFigures | None = None
    ) -> Column:
        """Return the figures of every kind: mean, min, max, count and coverage.

        `covered` is the covered time of each bucket in seconds.
        """
        window = self.window
        begin, end = np.searchsorted(rows["first_at"], [window.start, window.end])
        rows = rows[begin:end]
        length = len(window.edges) - 1
        mean, low, high = (np.full(length, np.nan) for _ in range(3))
        count = np.zeros(length, np.int64)
        if len(rows):
            bucket = np.searchsorted(window.edges, rows["first_at"], side="right") - 1
            begin = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
            filled = bucket[begin]
            count[filled] = np.add.reduceat(rows["count"], begin)
            mean[filled] = np.add.reduceat(rows["sum"], begin) / count[filled]
            low[filled] = np.minimum.reduceat(rows["min"], begin)
            high[filled] = np.maximum.reduceat(rows["max"], begin)
        requested = np.diff(window.clipped()) / MICROSECONDS
        coverage = np.minimum(covered / requested, 1.0)
        return Column(wanted, mean=mean, min=low, max=high, count=count, coverage=coverage, more=more)

    def _series_summaries(self, rows: Summaries, reader: SummaryReader) -> SeriesSummaries:
        own = self.window.silence
        usual = timedelta(microseconds=usual_distance(rows) if own is None else 0)
        return SeriesSummaries(rows, silence_rule(own, usual=usual) // timedelta(microseconds=1), reader)
