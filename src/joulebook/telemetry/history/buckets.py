"""Buckets of a window: reads the summaries of series, and makes the figures common to all kinds.

A reading holds until the next one, if the time between them is known (`gaps.py`). Other time is not covered,
and counts for nothing. Sums run within a bucket: an absurd value in one leaves the others exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.history.columns import Column, KindFigures, Numbers, Wanted
from joulebook.telemetry.history.gaps import (
    KnownTime,
    Pieces,
    cut_into_pieces,
    find_known_time,
    limit_known_time,
)
from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, TEXTS
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.telemetry.rollups.reader import SummaryReader, in_order
from joulebook.telemetry.rollups.state import RollupState
from joulebook.telemetry.rollups.summaries import Summaries
from joulebook.telemetry.texts import read_texts

# The columns for means and coverage; the others are read only for a kind that needs them.
_LEVEL_COLUMNS = ("count", "sum", "min", "max", "first_at", "last_at", "longest_gap")


@dataclass(frozen=True)
class Integrals:
    """By bucket: value times seconds of covered time, the same of positive values, and covered seconds."""

    integral: Numbers
    positive: Numbers
    covered: Numbers


def integrate(pieces: Pieces, *, buckets: int) -> Integrals:
    """Return the sums of pieces of known time by bucket."""

    def total(values: NDArray[np.float64] | NDArray[np.int64]) -> Numbers:
        return np.bincount(pieces.bucket, values, buckets).astype(np.float64)

    return Integrals(total(pieces.integral), total(pieces.positive), total(pieces.length) / MICROSECONDS)


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
    """The summaries of one series, from some readings before the window to some after it.

    `limit` is the owner's silence limit in microseconds, None without one.
    """

    rows: Summaries
    known: KnownTime
    limit: int | None
    reader: SummaryReader

    @classmethod
    def of(cls, rows: Summaries, *, limit: int | None, reader: SummaryReader) -> SeriesSummaries:
        """Return them with their known time."""
        if limit is not None:
            rows, known = limit_known_time(reader, rows, limit=limit)
        else:
            known = find_known_time(reader, rows)
        return cls(rows, known, limit, reader)

    def read_apart(self, which: NDArray[np.bool_]) -> SeriesSummaries:
        """Return them with the summaries of `which` read again, reading by reading."""
        if not which.any():
            return self
        rows = self.reader.one_by_one(self.rows, which)
        return self.of(rows, limit=self.limit, reader=self.reader)


class BucketReader:
    """Reads series in a window; belongs inside `one_snapshot`, with the state of that snapshot."""

    def __init__(self, conn: Connection, window: Window, state: RollupState) -> None:
        self.window = window
        self.conn = conn
        self.state = state
        self._levels = SummaryReader(conn, window.edges, state, columns=_LEVEL_COLUMNS)
        self._series = SummaryReader(conn, window.edges, state)
        self._others: list[SummaryReader] = []

    @property
    def source(self) -> str:
        """The coarsest table read so far."""
        readers = (self._levels, self._series, *self._others)
        return max(readers, key=lambda reader: reader.coarsest).source

    def summary_reader(self, tolerance: float, edges: NDArray[np.int64]) -> SummaryReader:
        """Return a reader of summaries that do not cross `edges`, for a kind with edges of its own."""
        self._others.append(SummaryReader(self.conn, edges, self.state, tolerance=tolerance))
        return self._others[-1]

    def read_levels(self, wanted: Sequence[Wanted]) -> dict[int, SeriesSummaries]:
        """Read many series at once, with the columns for means and coverage.

        Return the summaries by series id.
        """
        window, reader = self.window, self._levels
        if not wanted:
            return {}
        rows = reader.read([(each.series_id, window.start, window.end) for each in wanted])
        near = reader.neighbours([each.series_id for each in wanted], window.start, window.end)
        rows = _with_neighbours(rows, near, window.start)
        known = find_known_time(reader, rows)
        found = {}
        for each in wanted:
            mine = slice(*np.searchsorted(rows["series_id"], [each.series_id, each.series_id + 1]))
            limit = self._limit(each)
            if limit is None:
                found[each.series_id] = SeriesSummaries(rows[mine], known.take(mine), None, reader)
            else:
                found[each.series_id] = SeriesSummaries.of(rows[mine], limit=limit, reader=reader)
        return found

    def read_series(self, wanted: Wanted) -> SeriesSummaries:
        """Read all columns of a series."""
        reader, start, end = self._series, self.window.start, self.window.end
        rows = reader.read([(wanted.series_id, start, end)])
        near = reader.neighbours([wanted.series_id], start, end)
        return self.known_time_of(_with_neighbours(rows, near, start), wanted, reader)

    def known_time_of(self, rows: Summaries, wanted: Wanted, reader: SummaryReader) -> SeriesSummaries:
        """Return summaries of a series with their known time; `reader` has read them."""
        return SeriesSummaries.of(rows, limit=self._limit(wanted), reader=reader)

    def texts(self, wanted: Wanted) -> dict[float, str]:
        """Return the texts of a series by stored value; none if its values are no texts."""
        if wanted.settings.form not in {TEXTS, LISTS_OF_TEXTS}:
            return {}
        found = read_texts(self.conn, [wanted.series_id]).get(wanted.series_id, {})
        return {float(code): text for code, text in found.items()}

    def pieces(self, summaries: SeriesSummaries) -> Pieces:
        """Return the known time of a series, cut into pieces inside the buckets."""
        return cut_into_pieces(summaries.rows, summaries.known, self.window.clipped())

    def integrals(self, summaries: SeriesSummaries) -> Integrals:
        """Return the integrals of a level and the covered time of each bucket."""
        return integrate(self.pieces(summaries), buckets=len(self.window.edges) - 1)

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

    def _limit(self, wanted: Wanted) -> int | None:
        """Return the owner's silence limit of a metric, else of its device, in microseconds."""
        own = wanted.settings.silence_limit or self.window.silence
        return None if own is None else own // timedelta(microseconds=1)


def _with_neighbours(rows: Summaries, near: Summaries, start: int) -> Summaries:
    """Return summaries of a window and those beside it in order; those of one series need no sorting."""
    if not len(near):
        return rows
    is_before = near["first_at"] < start
    return in_order(np.concatenate([near[is_before], rows, near[~is_before]]))
