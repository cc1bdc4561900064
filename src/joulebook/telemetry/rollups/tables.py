"""Reads the tables of readings and rollups in columns by spans of time, and writes the rollups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import LiteralString, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from joulebook.telemetry.binary import (
    POSTGRES_EPOCH,
    copy_bytes,
    empty_rows,
    packed,
    row_type,
    times_from,
    values_from,
)
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.readings import MICROSECONDS, MINUTE, from_microseconds
from joulebook.telemetry.rollups.gaps import TIMES, Edges
from joulebook.telemetry.rollups.packed_edges import pack_edges, unpack_edges
from joulebook.telemetry.rollups.summaries import SUMMARY, Summaries, join_summaries

WIDTHS: dict[int, LiteralString] = {
    60 * MICROSECONDS: "readings_1m",
    300 * MICROSECONDS: "readings_5m",
    3600 * MICROSECONDS: "readings_1h",
}
"""The tables of rollups by the width of their buckets, from fine to coarse."""


def fitting_widths(edges: NDArray[np.int64]) -> list[int]:
    """Return the widths, from fine to coarse, of buckets that do not cross an edge."""
    return [width for width in WIDTHS if not (edges % width).any()]


@dataclass(frozen=True)
class Spans:
    """Spans of time, each of one series: [begin, end) in microseconds since 1970 UTC."""

    series_id: NDArray[np.int32]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.series_id)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> Spans:
        """Return the spans of these triples of series, begin and end."""
        table = np.array(list(rows), np.int64).reshape(-1, 3)
        return cls(table[:, 0].astype(np.int32), table[:, 1], table[:, 2])

    @classmethod
    def same_for(cls, series_id: NDArray[np.int32], begin: int, end: int) -> Spans:
        """Return the span [begin, end) for each of the series."""
        return cls(series_id, np.full(len(series_id), begin), np.full(len(series_id), end))

    def cut(self, start: int) -> Spans:
        """Return the parts of the spans from `start` on."""
        keep = self.end > start
        return Spans(self.series_id[keep], np.maximum(self.begin[keep], start), self.end[keep])

    def widened(self, width: int, *, until: int) -> Spans:
        """Return the spans extended to whole buckets of `width` (microseconds), and joined.

        Buckets that would end after `until` are left out.
        """
        begin = self.begin // width * width
        end = np.minimum(-(-self.end // width) * width, until // width * width)
        keep = begin < end
        return Spans(self.series_id[keep], begin[keep], end[keep]).joined()

    def joined(self) -> Spans:
        """Return the same time in as few spans as possible, in the order of series and time."""
        if not len(self):
            return self
        order = np.lexsort((self.end, self.begin, self.series_id))
        series_id, begin, end = self.series_id[order], self.begin[order], self.end[order]
        new_series = np.append(True, series_id[1:] != series_id[:-1])
        # The furthest end so far within a series, by rank: all ranks of a series are above those before.
        ends, rank = np.unique(end, return_inverse=True)
        above = (np.cumsum(new_series) - 1) * len(ends)
        furthest = ends[np.maximum.accumulate(rank + above) - above]
        leads = new_series | np.append(True, begin[1:] > furthest[:-1])
        trails = np.append(leads[1:], True)
        return Spans(series_id[leads], begin[leads], furthest[trails])


# The bounds of all spans together let the planner exclude chunks; the rows of each span are found by key.
# Selecting the columns in the innermost query spares the server a projection step.
_READ: LiteralString = """
SELECT span.series_id, span.begins, {shown}
FROM unnest(%(series_id)s::int4[], %(begin)s::int8[], %(end)s::int8[]) AS span (series_id, begins, ends)
CROSS JOIN LATERAL (
    SELECT {packed} FROM (
        SELECT {columns} FROM {table}
        WHERE series_id = span.series_id
          AND {time} >= TIMESTAMPTZ 'epoch' + span.begins * INTERVAL '1 microsecond'
          AND {time} < TIMESTAMPTZ 'epoch' + span.ends * INTERVAL '1 microsecond'
          AND {time} >= %(oldest)s AND {time} < %(newest)s
        ORDER BY {time}
    ) AS ordered
) AS packed
WHERE packed.{first} IS NOT NULL
"""
_DELETE: LiteralString = """
DELETE FROM {table} AS stored
USING unnest(%(series_id)s::int4[], %(begin)s::int8[], %(end)s::int8[]) AS span (series_id, begins, ends)
WHERE stored.series_id = span.series_id
  AND stored.bucket >= TIMESTAMPTZ 'epoch' + span.begins * INTERVAL '1 microsecond'
  AND stored.bucket < TIMESTAMPTZ 'epoch' + span.ends * INTERVAL '1 microsecond'
  AND stored.bucket >= %(oldest)s AND stored.bucket < %(newest)s
"""
_TYPES = {np.dtype(np.float64): "float8", np.dtype(np.int64): "int8", np.dtype(np.int32): "int4"}
_SENT = {name: SUMMARY[name].newbyteorder(">") for name in SUMMARY.names or ()}
_INSTANTS = {"time", "bucket", "first_at", "last_at"}
SUMMARY_COLUMNS = tuple(name for name in SUMMARY.names or () if name not in {"series_id", "width"})
"""The stored columns of a bucket beside its series and its edges."""
_STORED = ("series_id", *SUMMARY_COLUMNS)
# The bytes of each row's edges, computed when they are read.
_SIZE: LiteralString = "edges_size"

# Spans to fetch together; only more than these need a cursor on the server.
_SPANS_AT_ONCE = 64
_READINGS_AT_ONCE = 500_000
_SUMMARIES_WITH_EDGES_AT_ONCE = 200_000

# The silence that was allowed in any case before rollups knew their gaps.
_LEGACY_SILENCE = 5 * MINUTE


@dataclass(frozen=True)
class ReadingsOfSpans:
    """Readings in columns, in the order of their spans and then of time.

    `begin` is for each reading the instant at which its span begins.
    """

    series_id: NDArray[np.int32]
    begin: NDArray[np.int64]
    time: NDArray[np.int64]
    value: NDArray[np.float64]


def read_readings(conn: Connection, spans: Spans) -> Iterator[ReadingsOfSpans]:
    """Yield the readings in the spans, whole spans at a time, in the spans' order.

    Deleted ones are left out: their row has the value NaN, so that their key stays taken. Must run inside a
    transaction. Memory is bounded by the fullest spans, not by their number.
    """
    statement = _read_statement("readings", "time", ("time", "value"))
    parts: list[ReadingsOfSpans] = []
    collected = 0
    for series_id, begin, *(time, value) in _rows(conn, statement, spans):
        times, values = times_from(time), values_from(value)
        is_kept = ~np.isnan(values)
        if not is_kept.all():
            times, values = times[is_kept], values[is_kept]
        parts.append(
            ReadingsOfSpans(
                np.full(len(times), series_id, np.int32), np.full(len(times), begin, np.int64), times, values
            )
        )
        collected += len(parts[-1].time)
        if collected >= _READINGS_AT_ONCE:
            yield _concatenated(parts)
            parts, collected = [], 0
    if parts:
        yield _concatenated(parts)


def _concatenated(parts: list[ReadingsOfSpans]) -> ReadingsOfSpans:
    return ReadingsOfSpans(
        np.concatenate([part.series_id for part in parts]),
        np.concatenate([part.begin for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def read_summaries(
    conn: Connection, width: int, spans: Spans, *, columns: tuple[str, ...] = SUMMARY_COLUMNS
) -> Iterator[Summaries]:
    """Yield the stored summaries of this width in the spans, whole spans at a time, in their order.

    Only `columns` are read; all others are zero. If `bucket` is not among them, it is computed from
    `first_at`. Without `count` the known time is as it is stored: see `without_legacy`. Must run inside a
    transaction.
    """
    statement = _read_statement(WIDTHS[width], "bucket", columns)
    parts: list[Summaries] = []
    collected = 0
    for series_id, _begin, *sent in _rows(conn, statement, spans):
        parts.append(_summaries(series_id, width, columns, sent))
        collected += len(parts[-1])
        if collected >= _READINGS_AT_ONCE:
            yield _finished(join_summaries(parts), columns)
            parts, collected = [], 0
    if parts:
        yield _finished(join_summaries(parts), columns)


def read_summaries_and_edges(conn: Connection, width: int, spans: Spans) -> Iterator[tuple[Summaries, Edges]]:
    """Yield the stored summaries of this width in the spans with their edges, as `read_summaries` does."""
    statement = _read_statement(WIDTHS[width], "bucket", (*SUMMARY_COLUMNS, _SIZE, "edges"))
    parts: list[Summaries] = []
    packed: list[tuple[bytes, bytes]] = []
    collected = 0
    for series_id, _begin, *sent in _rows(conn, statement, spans):
        parts.append(_summaries(series_id, width, SUMMARY_COLUMNS, sent[:-2]))
        packed.append((sent[-2], sent[-1]))
        collected += len(parts[-1])
        if collected >= _SUMMARIES_WITH_EDGES_AT_ONCE:
            yield _with_edges(join_summaries(parts), packed)
            parts, packed, collected = [], [], 0
    if parts:
        yield _with_edges(join_summaries(parts), packed)


def _summaries(series_id: int, width: int, columns: Sequence[str], sent: Sequence[bytes]) -> Summaries:
    """Return one span's summaries from its packed columns."""
    rows = np.zeros(len(sent[0]) // SUMMARY[columns[0]].itemsize, SUMMARY)
    rows["series_id"], rows["width"] = series_id, width
    for name, column in zip(columns, sent, strict=True):
        rows[name] = times_from(column) if name in _INSTANTS else np.frombuffer(column, _SENT[name])
    if "bucket" not in columns:
        rows["bucket"] = rows["first_at"] // width * width
    return rows


def _with_edges(rows: Summaries, packed: Sequence[tuple[bytes, bytes]]) -> tuple[Summaries, Edges]:
    """Return the summaries with their edges, from the packed sizes and bytes of some spans."""
    is_legacy = rows["known"] < 0
    rows = without_legacy(rows)
    size = np.frombuffer(b"".join(size for size, _ in packed), ">i4").astype(np.int32)
    return rows, unpack_edges(rows, b"".join(each for _, each in packed), size, is_legacy=is_legacy)


def _finished(rows: Summaries, columns: Sequence[str]) -> Summaries:
    return without_legacy(rows) if "count" in columns else rows


def without_legacy(rows: Summaries) -> Summaries:
    """Return the summaries with the known time of those stored before rollups had it.

    The distances of such a summary are taken to be all the same. All of its time is known if its longest
    distance is at most five minutes or three times their mean, else none of it.
    """
    legacy = np.flatnonzero(rows["known"] < 0)
    if not len(legacy):
        return rows
    old = rows[legacy]
    inner, whole = np.maximum(old["count"] - 1, 1), old["last_at"] - old["first_at"]
    is_pair = old["count"] == 2
    is_known = ~is_pair & (old["longest_gap"] <= np.maximum(_LEGACY_SILENCE, TIMES * whole // inner))
    old["pending"] = is_pair
    old["first_usual"] = old["last_usual"] = whole // inner
    one_way = np.where(old["min"] >= 0, old["integral"], 0.0)
    old["integral_in"] = np.where(
        (old["min"] < 0) & (old["max"] > 0), np.maximum(old["integral"], 0.0), one_way
    )
    old["rises"] = old["increase"]
    old["known"] = np.where(is_known, whole, 0)
    for name, of_all in (("known_integral", "integral"), ("known_in", "integral_in")):
        old[name] = np.where(is_known, old[of_all], 0.0)
    rows[legacy] = old
    return rows


def delete_summaries(conn: Connection, width: int, spans: Spans) -> None:
    """Remove the stored summaries of this width in the spans."""
    if len(spans):
        conn.execute(
            sql.SQL(_DELETE).format(table=sql.Identifier(WIDTHS[width])), _limits(spans), prepare=False
        )


def insert_summaries(conn: Connection, width: int, rows: Summaries, edges: Edges) -> None:
    """Store new summaries of this width with their edges."""
    parts = []
    for index, words in pack_edges(rows, edges):
        packed = empty_rows(_summary_row(words.shape[1]), len(index))
        for name in _STORED:
            column = rows[name][index]
            packed[name] = column - POSTGRES_EPOCH if name in _INSTANTS else column
        packed["edges"] = words
        parts.append(packed)
    statement = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(
        table=sql.Identifier(WIDTHS[width]),
        columns=sql.SQL(", ").join(map(sql.Identifier, (*_STORED, "edges"))),
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(copy_bytes(*parts))


@cache
def _summary_row(words: int) -> np.dtype[np.void]:
    """Return the type of a row with edges of so many words."""
    columns = [(name, _SENT[name].str) for name in _STORED]
    return row_type([*columns, ("edges", f"({words},)>i8")])


@cache
def _read_statement(table: LiteralString, time: LiteralString, columns: tuple[LiteralString, ...]) -> bytes:
    types = {"value": "float8", **{name: _TYPES[SUMMARY[name]] for name in SUMMARY_COLUMNS}}
    types |= dict.fromkeys(_INSTANTS, "timestamptz")
    types["edges"] = "bytea"
    stored = [column for column in columns if column != _SIZE]
    sent = [
        sql.SQL(
            (packed("octet_length(edges)", "int4") if column == _SIZE else packed(column, types[column]))
            + " AS "
            + column
        )
        for column in columns
    ]
    return (
        sql.SQL(_READ)
        .format(
            table=sql.Identifier(table),
            time=sql.Identifier(time),
            first=sql.Identifier(columns[0]),
            columns=sql.SQL(", ").join(map(sql.Identifier, stored)),
            packed=sql.SQL(", ").join(sent),
            shown=sql.SQL(", ").join(sql.Identifier("packed", column) for column in columns),
        )
        .as_bytes()
    )


def _rows(conn: Connection, statement: bytes, spans: Spans) -> Iterator[tuple[int, int, *tuple[bytes, ...]]]:
    """Yield the rows of a statement about spans, one for each span, holding only a few of them at a time."""
    if not len(spans):
        return
    if len(spans) <= _SPANS_AT_ONCE:
        with psycopg.Cursor(conn) as cursor:
            cursor.execute(statement, _limits(spans), binary=True, prepare=False)
            yield from cast("list[tuple[int, int, *tuple[bytes, ...]]]", cursor.fetchall())
        return
    with psycopg.ServerCursor(conn, "spans") as cursor:
        cursor.itersize = _SPANS_AT_ONCE
        cursor.execute(statement, _limits(spans), binary=True)
        for row in cursor:
            yield cast("tuple[int, int, *tuple[bytes, ...]]", row)


def _limits(spans: Spans) -> dict[str, object]:
    return {
        "series_id": spans.series_id.tolist(),
        "begin": spans.begin.tolist(),
        "end": spans.end.tolist(),
        "oldest": from_microseconds(int(spans.begin.min())),
        "newest": from_microseconds(int(spans.end.max())),
    }
