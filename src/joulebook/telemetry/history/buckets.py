"""Turns the summaries of a range into one column of buckets a metric, by the metric's kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.history.counters import Replacement, Rises, rises_of
from joulebook.telemetry.history.integrals import Integrals, has_silence, integrals_of, usual_distance
from joulebook.telemetry.history.points import MOST_STATES, Column, Numbers, StateShare, Wanted, check_numbers
from joulebook.telemetry.kinds.guesses import COUNTER, STATE
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE, silence_rule
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.rollups.marks import MINUTE
from joulebook.telemetry.rollups.reading import PieceReader, SeriesRange
from joulebook.telemetry.rollups.state import RollupState
from joulebook.telemetry.rollups.summaries import Summaries

# What means and coverage are made of; the rest is read where a kind needs it.
_GAUGE_COLUMNS = ("count", "sum", "min", "max", "first_at", "last_at", "longest_gap")
# Summaries in which a state changes are read reading by reading: a year of flicker would not fit.
_MOST_CHANGING = 3_000_000


class ChangesTooOften(Exception):
    """A state changes so often in the asked time that its shares cannot be told at once."""


@dataclass(frozen=True)
class Window:
    """The asked time [start, end) and the borders of its buckets, in microseconds since 1970 UTC.

    `silence` is the device's silence limit, None where its owner has set none.
    """

    start: int
    end: int
    edges: NDArray[np.int64]
    silence: timedelta | None

    def clipped(self) -> NDArray[np.int64]:
        """Return the edges with the first and the last moved to where the asked time begins and ends."""
        edges = self.edges.copy()
        edges[0], edges[-1] = max(edges[0], self.start), min(edges[-1], self.end)
        return edges

    def silence_of(self, rows: Summaries) -> int:
        """Return in microseconds for how long a series may be silent; see `silence_rule`."""
        usual = timedelta(microseconds=usual_distance(rows) if self.silence is None else 0)
        return silence_rule(self.silence, usual=usual) // timedelta(microseconds=1)


class ColumnReader:
    """Reads columns of buckets; belongs inside `one_snapshot`, with the state as that shows it."""

    def __init__(self, conn: Connection, window: Window, state: RollupState) -> None:
        self._conn = conn
        self._window = window
        self._rollup_state = state
        self._gauges = PieceReader(conn, window.edges, state, columns=_GAUGE_COLUMNS)
        self._by_tolerance: dict[float, PieceReader] = {}

    @property
    def source(self) -> str:
        """The coarsest table that was read so far."""
        return max((self._gauges, *self._by_tolerance.values()), key=lambda reader: reader.coarsest).source

    def read(self, wanted: list[Wanted]) -> list[Column]:
        """Return a column for each of the wanted series, unscaled. Raises `TooManyNumbers`."""
        plain = [each for each in wanted if each.settings.kind not in {COUNTER, STATE}]
        window = self._window
        rows = self._gauges.read([(each.series_id, window.start, window.end) for each in plain])
        columns: list[Column] = []
        numbers = 0
        points = len(window.edges) - 1
        for each in wanted:
            if each.settings.kind == COUNTER:
                columns.append(self._counter(each))
            elif each.settings.kind == STATE:
                columns.append(self._state(each))
            else:
                begin, end = np.searchsorted(rows["series_id"], [each.series_id, each.series_id + 1])
                mine = rows[begin:end]
                columns.append(self._column(each, mine, self._covered(self._gauges, mine)))
            # A state has as many numbers as values, which only reading it tells.
            numbers += columns[-1].numbers
            check_numbers(numbers, metrics=len(wanted), points=points)
        return columns

    def _column(self, wanted: Wanted, rows: Summaries, covered: Numbers, **more: Any) -> Column:
        """Return what every kind has: mean, min, max, count and coverage."""
        window = self._window
        begin, end = np.searchsorted(rows["first_at"], [window.start, window.end])
        rows = rows[begin:end]
        length = len(window.edges) - 1
        mean, low, high = (np.full(length, np.nan) for _ in range(3))
        count = np.zeros(length, np.int64)
        if len(rows):
            place = np.searchsorted(window.edges, rows["first_at"], side="right") - 1
            begin = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
            filled = place[begin]
            count[filled] = np.add.reduceat(rows["count"], begin)
            mean[filled] = np.add.reduceat(rows["sum"], begin) / count[filled]
            low[filled] = np.minimum.reduceat(rows["min"], begin)
            high[filled] = np.maximum.reduceat(rows["max"], begin)
        asked = np.diff(window.clipped()) / MICROSECONDS
        coverage = np.minimum(covered / asked, 1.0)
        return Column(wanted, mean=mean, min=low, max=high, count=count, coverage=coverage, **more)

    def _covered(self, reader: PieceReader, rows: Summaries) -> Numbers:
        silence = self._window.silence_of(rows)
        rows = without_silences(reader, rows, silence=silence)
        return integrals_of(rows, self._window.clipped(), silence=silence).covered

    def with_rises(self, column: Column) -> Column:
        """Return a counter's column with how far it rose in each bucket; any other as it is."""
        if column.wanted.settings.kind != COUNTER:
            return column
        rises, _rows, _silence = self.rises(column.wanted)
        return replace(column, increase=rises.increase, unallocated=rises.unallocated, resets=rises.resets)

    def rises(self, wanted: Wanted) -> tuple[Rises, Summaries, int]:
        """Return how far a counter rose by bucket, what that was read from, and its silence limit."""
        settings = wanted.settings
        reader = self._reader(settings.dip_tolerance)
        replacements = [
            Replacement(to_microseconds(each.replaced_at), each.final_register, each.start_register)
            for each in settings.replacements
        ]
        rows = reader.read(self._and_around(reader, wanted), apart=[each.time for each in replacements])
        silence = self._window.silence_of(rows)
        rises = rises_of(
            rows,
            self._window.clipped(),
            silence=silence,
            tolerance=settings.dip_tolerance,
            replacements=[_as_stored(each, settings.factor) for each in replacements],
        )
        return rises, without_silences(reader, rows, silence=silence), silence

    def integrals(self, wanted: Wanted) -> Integrals:
        """Return what a level comes to over the covered time of each bucket, in its own unit and seconds."""
        reader = self._reader(DIP_TOLERANCE)
        rows = reader.read(self._and_around(reader, wanted))
        silence = self._window.silence_of(rows)
        rows = without_silences(reader, rows, silence=silence)
        return integrals_of(rows, self._window.clipped(), silence=silence)

    def _counter(self, wanted: Wanted) -> Column:
        rises, rows, silence = self.rises(wanted)
        covered = integrals_of(rows, self._window.clipped(), silence=silence).covered
        return self._column(
            wanted,
            rows,
            covered,
            increase=rises.increase,
            unallocated=rises.unallocated,
            resets=rises.resets,
        )

    def _state(self, wanted: Wanted) -> Column:
        reader = self._reader(DIP_TOLERANCE)
        rows = reader.read(self._and_around(reader, wanted))
        silence = self._window.silence_of(rows)
        mixed = rows["min"] != rows["max"]
        if rows["count"][mixed].sum() > _MOST_CHANGING:
            raise ChangesTooOften(wanted.metric)
        rows = without_silences(reader, reader.one_by_one(rows, mixed), silence=silence)
        edges = self._window.clipped()
        known = integrals_of(rows, edges, silence=silence).covered
        states = []
        for value in _states_of(rows):
            alone = rows.copy()
            alone["last"] = rows["last"] == value
            alone["integral"] = (rows["last_at"] - rows["first_at"]) / MICROSECONDS * alone["last"]
            time = integrals_of(alone, edges, silence=silence).integral
            share = np.divide(time, known, where=known > 0, out=np.full(len(known), np.nan))
            states.append(StateShare(value, np.clip(share, 0.0, 1.0)))
        return self._column(wanted, rows, known, states=states)

    def _and_around(self, reader: PieceReader, wanted: Wanted) -> list[SeriesRange]:
        """Return what to read of a series: the window, and where it was heard last before and next after."""
        start, end, series_id = self._window.start, self._window.end, wanted.series_id
        ranges = [(series_id, start, end)]
        before, after = reader.heard_before(series_id, start), reader.heard_from(series_id, end)
        if before is not None:
            ranges.insert(0, (series_id, before, start))
        if after is not None:
            ranges.append((series_id, after, after + 1))
        return ranges

    def _reader(self, tolerance: float) -> PieceReader:
        """Return the reader of whole summaries with this tolerance."""
        if tolerance not in self._by_tolerance:
            self._by_tolerance[tolerance] = PieceReader(
                self._conn, self._window.edges, self._rollup_state, tolerance=tolerance
            )
        return self._by_tolerance[tolerance]


def without_silences(reader: PieceReader, rows: Summaries, *, silence: int) -> Summaries:
    """Return the summaries with those that hold a silence taken apart, so that none does."""
    if silence >= MINUTE:
        return reader.minute_by_minute(rows, has_silence(rows, silence=silence))
    return reader.one_by_one(rows, has_silence(rows, silence=silence))


def _as_stored(replacement: Replacement, factor: float) -> Replacement:
    """Return a replacement whose registers are as the device sends them, not as they are shown."""
    if factor in {0.0, 1.0}:
        return replacement
    final = None if replacement.final is None else replacement.final / factor
    start = None if replacement.start is None else replacement.start / factor
    return Replacement(replacement.time, final, start)


def _states_of(rows: Summaries) -> list[float]:
    """Return the values that a state takes, at most `MOST_STATES`: those heard most often, in order."""
    value, place = np.unique(rows["last"], return_inverse=True)
    heard = np.bincount(place, rows["count"], len(value))
    return sorted(value[np.argsort(-heard, kind="stable")[:MOST_STATES]].tolist())
