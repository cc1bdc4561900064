"""Rows and columns in PostgreSQL's binary formats, as NumPy arrays: no Python runs per value.

Rows of fixed width go in by COPY. Its format is "Binary Format" in PostgreSQL's documentation of COPY: a
header, then for each row the number of fields and each field as length and value, all big-endian, then a
trailer of -1.

Columns come out packed: the values of a group one after the other, as the type's `…send` function writes
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import LiteralString

import numpy as np
from numpy.typing import NDArray

POSTGRES_EPOCH = 946_684_800_000_000
"""PostgreSQL counts timestamptz from 2000-01-01T00:00:00Z: in microseconds since 1970."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"

_SEND: dict[str, LiteralString] = {
    "timestamptz": "timestamptz_send", "float8": "float8send", "int8": "int8send", "int4": "int4send",
}  # fmt: skip


def row_type(fields: Iterable[tuple[str, str]]) -> np.dtype[np.void]:
    """Return the packed row of these columns (name and big-endian type), for `empty_rows`."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in fields:
        layout += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(layout)


def empty_rows(layout: np.dtype[np.void], count: int) -> NDArray[np.void]:
    """Return `count` rows of a `row_type` with columns still to be filled."""
    rows = np.empty(count, layout)
    names = layout.names or ()
    rows["fields"] = len(names) // 2
    for name in names[2::2]:
        rows[f"{name}_length"] = layout[name].itemsize
    return rows


def copy_bytes(*parts: NDArray[np.void]) -> bytes:
    """Return filled rows as COPY … FROM STDIN (FORMAT BINARY) takes them; each part has a `row_type`."""
    return b"".join((_HEADER, *(rows.tobytes() for rows in parts), _TRAILER))


def packed(column: LiteralString, type_: str) -> LiteralString:
    """Return the SQL expression for a group's values of a column, packed; bytes are packed as they are."""
    sent = f"{_SEND[type_]}({column})" if type_ in _SEND else column
    return f"string_agg({sent}, ''::bytea)"


PACKED_TIMES = packed("time", "timestamptz")
PACKED_VALUES = packed("value", "float8")


def times_from(packed_times: bytes) -> NDArray[np.int64]:
    """Return packed timestamptz as microseconds since 1970 UTC."""
    return np.frombuffer(packed_times, ">i8").astype(np.int64) + POSTGRES_EPOCH


def values_from(packed_values: bytes) -> NDArray[np.float64]:
    """Return packed float8."""
    return np.frombuffer(packed_values, ">f8").astype(np.float64)
