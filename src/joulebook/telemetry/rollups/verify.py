"""Compares rollups with the summed-up readings, some spans at a time.

Each step reads closed time, marks, readings and rollups in one snapshot. Not compared are unfinished and
marked buckets, and buckets without retained readings. All three widths are recomputed from the readings
themselves, not from one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection, one_snapshot, translated_errors
from joulebook.telemetry.readings import DAY, HOUR, MICROSECONDS, MINUTE, from_microseconds
from joulebook.telemetry.rollups.gaps import Edges
from joulebook.telemetry.rollups.marks import read_marks
from joulebook.telemetry.rollups.state import READINGS_TABLE, RollupState, read_state
from joulebook.telemetry.rollups.summaries import Summaries, edges_of, join_summaries, summarise
from joulebook.telemetry.rollups.tables import WIDTHS, Spans, read_readings, read_summaries_and_edges
from joulebook.telemetry.timescale import Range, read_chunks

MOST_NAMED = 10
"""The most differences of a verification with their details; all differences are counted."""

Progress = Callable[[float], None]
"""Called with the finished share of the work, 0 to 1."""

_ALL_SERIES = "SELECT id FROM series ORDER BY id"
_HAS_DATA = """
SELECT id FROM unnest(%(series)s::int[]) WITH ORDINALITY AS asked (id, place)
WHERE EXISTS (SELECT FROM readings WHERE series_id = id AND time >= %(begin)s AND time < %(end)s)
   OR EXISTS (SELECT FROM readings_1h WHERE series_id = id AND bucket = %(begin)s)
ORDER BY place LIMIT 1
"""
# Series of one step: few enough to need no cursor on the server.
_SERIES_AT_ONCE = 64
_FEW, _MANY = 300_000, 3_000_000
_LONGEST = 28 * DAY
_TRIES = 5
_EXACT = ("count", "min", "max", "first", "last", "first_at", "last_at", "first_peak", "last_peak", "resets",
          "longest_gap", "known", "first_usual", "last_usual", "pending")  # fmt: skip
_ROUNDED = ("sum", "increase", "rises", "integral", "integral_in", "known_integral", "known_in")


@dataclass(frozen=True)
class Difference:
    """A wrong bucket, and the problem with it."""

    table: str
    series_id: int
    bucket: datetime
    what: str


@dataclass
class Verification:
    """The comparison so far: the numbers of buckets of all three tables, readings, and differences."""

    buckets: int = 0
    readings: int = 0
    differing: int = 0
    first: list[Difference] = field(default_factory=list)


def verify_all(
    conn: Connection, start: int, end: int, *, progress: Progress = lambda _: None
) -> Verification:
    """Compare every bucket in [start, end), given in microseconds since 1970 UTC.

    `conn` is in autocommit and may read. Memory is bounded by a month of a few series. Raises
    `DatabaseUnavailable`.
    """
    with translated_errors():
        series = _all_series(conn)
        covered = _hours_of_chunks(conn, start, end)
        total = sum(until - begin for begin, until in covered)
        verifier = _Verifier(conn)
        done = 0
        for begin, until in covered:
            at = begin
            while at < until:
                stop = min(until, at + verifier.reach)
                for first in range(0, len(series), _SERIES_AT_ONCE):
                    group = np.array(series[first : first + _SERIES_AT_ONCE], np.int32)
                    verifier.compare(Spans.same_for(group, at, stop))
                    share = min(1.0, (first + len(group)) / len(series))
                    progress((done + (stop - at) * share) / total)
                done += stop - at
                at = stop
        progress(1.0)
        return verifier.found


def verify_sample(
    conn: Connection,
    start: int,
    end: int,
    *,
    hours: int,
    random: Random,
    progress: Progress = lambda _: None,
) -> Verification:
    """Compare the buckets of `hours` random hours of random series, spread over [start, end).

    Otherwise as `verify_all`. Fewer hours are compared where fewer hold data.
    """
    with translated_errors():
        verifier = _Verifier(conn)
        spans: list[tuple[int, int, int]] = []
        for number, span in enumerate(_random_hours(conn, start, end, hours=hours, random=random)):
            if span is not None:
                spans.append(span)
            if len(spans) == _SERIES_AT_ONCE:
                verifier.compare(Spans.of(sorted(spans)).joined())
                spans = []
            progress((number + 1) / hours)
        if spans:
            verifier.compare(Spans.of(sorted(spans)).joined())
        return verifier.found


def _all_series(conn: Connection) -> list[int]:
    return [cast("int", row[0]) for row in conn.execute(_ALL_SERIES).fetchall()]


def _hours_of_chunks(
    conn: Connection, start: int, end: int, tables: Sequence[str] = (READINGS_TABLE, *WIDTHS.values())
) -> list[Range]:
    """Return the hours of [start, end) with chunks in the tables and retained readings."""
    start = max(start, read_state(conn).retained_from[READINGS_TABLE])
    ranges = sorted(chunk for chunks in read_chunks(conn, tables).values() for chunk in chunks)
    covered: list[Range] = []
    for begin, until in ranges:
        begin = max(begin, start, covered[-1][1] if covered else start) // HOUR * HOUR
        until = -(-min(until, end) // HOUR) * HOUR
        if begin < until:
            covered.append((begin, until))
    return covered


def _random_hours(
    conn: Connection, start: int, end: int, *, hours: int, random: Random
) -> Iterator[tuple[int, int, int] | None]:
    """Yield for each of `hours` equal parts of the time with readings one hour of one series with data."""
    series = _all_series(conn)
    until = read_state(conn).closed_until
    covered = _hours_of_chunks(conn, start, min(end, until), (READINGS_TABLE,))
    starts = [begin + HOUR * number for begin, stop in covered for number in range((stop - begin) // HOUR)]
    if not starts or not series:
        return
    for part in range(hours):
        low = part * len(starts) // hours
        high = max(low + 1, (part + 1) * len(starts) // hours)
        for _ in range(_TRIES):
            hour = starts[random.randrange(low, high)]
            parameters = {
                "series": random.sample(series, min(len(series), _SERIES_AT_ONCE)),
                "begin": from_microseconds(hour),
                "end": from_microseconds(hour + HOUR),
            }
            found = conn.execute(_HAS_DATA, parameters, prepare=False).fetchone()
            if found is not None:
                yield cast("int", found[0]), hour, hour + HOUR
                break
        else:
            yield None


class _Verifier:
    """Compares spans, and counts buckets, readings and differences."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.found = Verification()
        self.reach = DAY
        """The best length of spans: a step reads neither few readings nor too many."""

    def compare(self, spans: Spans) -> None:
        """Compare the buckets in spans beginning and ending with an hour."""
        begin, end = int(spans.begin.min()), int(spans.end.max())
        with one_snapshot(self._conn):
            state = read_state(self._conn)
            marked = read_marks(self._conn, np.unique(spans.series_id).tolist(), begin, end)
            parts: dict[int, list[_Rows]] = {width: [] for width in WIDTHS}
            readings = 0
            for found in read_readings(self._conn, spans):
                readings += len(found.time)
                for width in WIDTHS:
                    bucket = found.time // width * width
                    rows = summarise(found.series_id, found.time, found.value, bucket)
                    parts[width].append(_Rows.of(rows, edges_of(rows, found.time, found.value)))
            expected = {width: _Rows.join(rows) for width, rows in parts.items()}
            stored = {
                width: _Rows.join(
                    [_Rows.of(*found) for found in read_summaries_and_edges(self._conn, width, spans)]
                )
                for width in WIDTHS
            }
        self.found.readings += readings
        if readings > _MANY:
            self.reach = max(HOUR, self.reach // 2)
        elif readings < _FEW:
            self.reach = min(_LONGEST, self.reach * 2)
        for width, table in WIDTHS.items():
            comparable = _Comparable(state, marked, width)
            rows = stored[width].summaries
            ahead = rows["bucket"] + width > state.closed_until
            self._note(table, rows[ahead], "is stored before its time is closed")
            self._compare_rows(table, comparable.of(expected[width]), comparable.of(stored[width]))

    def _compare_rows(self, table: str, expected_rows: _Rows, stored_rows: _Rows) -> None:
        expected, stored = expected_rows.summaries, stored_rows.summaries
        key, stored_key = _keys(expected), _keys(stored)
        _, here, there = np.intersect1d(key, stored_key, assume_unique=True, return_indices=True)
        self.found.buckets += len(key) + len(stored_key) - len(here)
        self._note(table, expected[np.isin(key, stored_key, invert=True)], "is missing")
        self._note(table, stored[np.isin(stored_key, key, invert=True)], "has no readings")
        wrong = _differing_columns(expected[here], stored[there])
        wrong["edges"] = expected_rows.edges[here] != stored_rows.edges[there]
        for index in np.flatnonzero(np.logical_or.reduce(list(wrong.values()))):
            row, found = expected[here[index]], stored[there[index]]
            names = [name for name in wrong if wrong[name][index] and name != "edges"]
            details = [f"{name} is {found[name]!s}, should be {row[name]!s}" for name in names]
            detail = ", ".join(details + ["edges differ"] * bool(wrong["edges"][index]))
            self._note(table, stored[there[index]][np.newaxis], detail)

    def _note(self, table: str, rows: Summaries, what: str) -> None:
        self.found.differing += len(rows)
        for row in rows[: MOST_NAMED - len(self.found.first)]:
            bucket = from_microseconds(int(row["bucket"]))
            self.found.first.append(Difference(table, int(row["series_id"]), bucket, what))


@dataclass(frozen=True)
class _Rows:
    """Summaries, and by summary a digest of its edges, which would take too much memory themselves."""

    summaries: Summaries
    edges: NDArray[np.int64]

    @classmethod
    def of(cls, summaries: Summaries, edges: Edges) -> _Rows:
        return cls(summaries, edges.digest())

    @classmethod
    def join(cls, parts: Sequence[_Rows]) -> _Rows:
        return cls(
            join_summaries([part.summaries for part in parts]),
            np.concatenate([np.empty(0, np.int64), *(part.edges for part in parts)]),
        )


@dataclass(frozen=True)
class _Comparable:
    """Selects the comparable buckets of a width: closed, not marked, with all readings retained."""

    state: RollupState
    marked: dict[int | None, list[Range]]
    width: int

    def of(self, of_table: _Rows) -> _Rows:
        """Return the comparable ones of the rows."""
        rows = of_table.summaries
        starts = self.state.retained_from
        start = max(starts[READINGS_TABLE], starts[WIDTHS[self.width]])
        is_chosen = (rows["bucket"] >= start) & (rows["bucket"] + self.width <= self.state.closed_until)
        for series_id, ranges in self.marked.items():
            mine = np.True_ if series_id is None else rows["series_id"] == series_id
            for begin, end in ranges:
                is_chosen &= ~(mine & (rows["bucket"] < end) & (rows["bucket"] + self.width > begin))
        return _Rows(rows[is_chosen], of_table.edges[is_chosen])


def _keys(rows: Summaries) -> NDArray[np.int64]:
    """Return one number for each series and bucket."""
    series: NDArray[np.int64] = rows["series_id"].astype(np.int64)
    minute: NDArray[np.int64] = rows["bucket"] // MINUTE
    return (series << 32) + minute


def _differing_columns(expected: Summaries, stored: Summaries) -> dict[str, NDArray[np.bool_]]:
    """Return by column a mask of differing pairs: sums may differ by the order of additions."""
    wrong = {name: expected[name] != stored[name] for name in _EXACT}
    largest = np.maximum(np.abs(expected["min"]), np.abs(expected["max"]))
    seconds = (expected["last_at"] - expected["first_at"]) / MICROSECONDS
    # n additions are off by at most n times the precision of the sum of the absolute values.
    precision = 4 * np.finfo(np.float64).eps * (expected["count"] + 16)
    added = dict.fromkeys(_ROUNDED, seconds * largest)
    added["sum"] = expected["count"] * largest
    added["increase"] = added["rises"] = 2 * expected["count"] * largest
    for name in _ROUNDED:
        wrong[name] = ~(np.abs(expected[name] - stored[name]) <= precision * added[name])
    return wrong
