"""Reads every reading of a device in a range, in the order of time, in blocks of bounded size.

Instants are microseconds since 1970 UTC, ranges half-open.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString, cast, get_args

import numpy as np
import psycopg
from numpy.typing import NDArray

from joulebook.telemetry.binary import PACKED_TIMES, PACKED_VALUES, times_from, values_from
from joulebook.telemetry.connection import Connection, one_snapshot, translated_errors
from joulebook.telemetry.readings import MICROSECONDS, OLDEST, from_microseconds, to_microseconds
from joulebook.telemetry.texts import read_texts

BLOCK_READINGS = 200_000
"""Approximate largest number of readings in memory."""

NO_END = 7_258_118_400 * MICROSECONDS
"""2200-01-01T00:00:00Z, later than every reading."""

Corrected = Literal["with", "without", "original"]
"""Readings as corrected; only those never corrected; or all as they were sent."""

CORRECTED: tuple[Corrected, ...] = get_args(Corrected)

_SOURCES: dict[Corrected, LiteralString] = {
    "with": "(SELECT series_id, time, value FROM readings WHERE value <> 'NaN') AS source",
    "without": "(SELECT series_id, time, value FROM readings WHERE import_id >= 0) AS source",
    "original": """(
        SELECT series_id, time, value FROM readings WHERE import_id >= 0
        UNION ALL SELECT series_id, time, value FROM corrected_readings WHERE import_id >= 0) AS source""",
}

_EXTENT: LiteralString = """
SELECT min(oldest.time), max(newest.time)
FROM unnest(%(series)s::int4[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT time FROM {source} WHERE series_id = asked.id AND time >= %(begin)s AND time < %(end)s
    ORDER BY time LIMIT 1
) AS oldest
CROSS JOIN LATERAL (
    SELECT time FROM {source} WHERE series_id = asked.id AND time >= %(begin)s AND time < %(end)s
    ORDER BY time DESC LIMIT 1
) AS newest
"""
# Times and values of a series come as two columns of bytes: no Python runs per reading.
_BLOCK: LiteralString = f"""
SELECT asked.number, packed.time, packed.value
FROM unnest(%(series)s::int4[], %(most)s::int8[]) WITH ORDINALITY AS asked (id, most, number)
CROSS JOIN LATERAL (
    SELECT {PACKED_TIMES} AS time, {PACKED_VALUES} AS value
    FROM (
        SELECT time, value FROM {{source}}
        WHERE series_id = asked.id AND time >= %(begin)s AND time < %(end)s
        ORDER BY time LIMIT asked.most
    ) AS ordered
) AS packed
WHERE packed.time IS NOT NULL
"""  # noqa: S608 - our own text
_FIRST_SPAN = 86_400 * MICROSECONDS
_LEAST_A_SERIES = 100
# A slice is planned to fill this share of a block: then it is seldom cut short.
_FILLED = 0.8
_GROWTH = 8


@dataclass(frozen=True)
class Block:
    """Readings in the order of time, then of metrics; `until` is the beginning of the next block.

    `metric` holds indexes into the mapping of series passed to `read_blocks`.
    """

    time: NDArray[np.int64]
    metric: NDArray[np.int32]
    value: NDArray[np.float64]
    until: int

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class _Packed:
    """The first readings of a series in a slice; `is_cut` means there may be more."""

    number: int
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    is_cut: bool


def extent(
    conn: Connection, series: Sequence[int], begin: int, end: int, *, corrected: Corrected = "with"
) -> tuple[int, int]:
    """Return the half-open range from the first to just after the last reading of [begin, end).

    Returns (begin, begin) if there is no reading. Raises `DatabaseUnavailable`.
    """
    limits = {"series": list(series), "begin": from_microseconds(begin), "end": from_microseconds(end)}
    with translated_errors():
        ((oldest, newest),) = conn.execute(_EXTENT.format(source=_SOURCES[corrected]), limits).fetchall()
    if oldest is None:
        return begin, begin
    return to_microseconds(cast("datetime", oldest)), to_microseconds(cast("datetime", newest)) + 1


def read_metric_texts(conn: Connection, series: Mapping[str, int]) -> dict[int, dict[int, str]]:
    """Return the texts of the series that hold text, by the series' index and by code.

    Read them in the snapshot of the blocks: then every code has its text. Raises `DatabaseUnavailable`.
    """
    found = read_texts(conn, series.values())
    return {at: found[each] for at, each in enumerate(series.values()) if each in found}


def read_blocks(
    conn: Connection,
    series: Mapping[str, int],
    *,
    begin: int = OLDEST,
    end: int = NO_END,
    block_readings: int = BLOCK_READINGS,
    corrected: Corrected = "with",
) -> Generator[Block]:
    """Yield the readings of the series in [begin, end) from one snapshot of the database.

    Each block is one statement: a statement timeout bounds a block, not the whole. The snapshot lasts
    until the iterator is exhausted or closed. Raises `DatabaseUnavailable`.
    """
    if not series:
        return
    with one_snapshot(conn):
        begin, end = extent(conn, list(series.values()), begin, end, corrected=corrected)
        pace = _Pace(len(series), block_readings)
        while begin < end:
            stop = min(begin + pace.span, end)
            packed = _read_slice(conn, list(series.values()), begin, stop, pace.most, corrected)
            block = _merged(packed, stop)
            pace.learn(block, begin)
            begin = block.until
            if len(block):
                yield block


class _Pace:
    """Length of the next slice and most readings of each series in it, estimated from the slice before."""

    def __init__(self, series: int, block_readings: int) -> None:
        self._block = block_readings
        self.span = _FIRST_SPAN
        self.most = np.full(series, max(block_readings // series, _LEAST_A_SERIES), np.int64)

    def learn(self, block: Block, begin: int) -> None:
        """Adapt to the readings of a slice beginning at `begin`."""
        covered = block.until - begin
        if not len(block):
            self.span *= _GROWTH
            return
        wanted = int(covered * _FILLED * self._block / len(block))
        self.span = max(min(wanted, self.span * _GROWTH), MICROSECONDS)
        # A silent series may resume: each may have some more than its share.
        share = np.bincount(block.metric, minlength=len(self.most)) / len(block)
        self.most = np.maximum((share * self._block).astype(np.int64), _LEAST_A_SERIES)


def _read_slice(
    conn: Connection,
    series: list[int],
    begin: int,
    end: int,
    most: NDArray[np.int64],
    corrected: Corrected,
) -> list[_Packed]:
    limits = {
        "series": series,
        "most": most.tolist(),
        "begin": from_microseconds(begin),
        "end": from_microseconds(end),
    }
    with translated_errors(), psycopg.Cursor(conn) as cursor:
        cursor.execute(_BLOCK.format(source=_SOURCES[corrected]), limits, binary=True, prepare=False)
        rows = cast("list[tuple[int, bytes, bytes]]", cursor.fetchall())
    return [
        _Packed(
            number - 1,
            times_from(time),
            values_from(value),
            is_cut=len(time) // 8 >= most[number - 1],
        )
        for number, time, value in rows
    ]


def _merged(packed: Sequence[_Packed], stop: int) -> Block:
    """Merge series in the order of time, up to the time known of all of them."""
    until = min([int(part.time[-1]) + 1 for part in packed if part.is_cut], default=stop)
    kept = [int(np.searchsorted(part.time, until)) for part in packed]
    time = np.concatenate([np.empty(0, np.int64), *(p.time[:n] for p, n in zip(packed, kept, strict=True))])
    value = np.concatenate([np.empty(0), *(p.value[:n] for p, n in zip(packed, kept, strict=True))])
    metric = np.repeat(np.array([part.number for part in packed], np.int32), kept)
    # The rows of the statement have no promised order; within a series they are in the order of time.
    order = np.lexsort((metric, time)) if len(packed) > 1 else slice(None)
    return Block(time[order], metric[order], value[order], until)
