"""Counts the rows in the streams that COPY gives, without a database.

See "Binary Format" in PostgreSQL's documentation of COPY. Rows of one layout in a row, as those of readings
are, are counted by NumPy; only what differs is walked through.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from joulebook.backup.errors import DamagedBackup

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_COUNT = struct.Struct(">h")
_LENGTH = struct.Struct(">i")


def count_rows(blocks: Iterable[bytes], *, is_binary: bool) -> int:
    """Return how many rows a whole stream has. Raises `DamagedBackup` where it is not one."""
    if not is_binary:
        return sum(block.count(b"\n") for block in blocks)
    rest, rows, has_begun = b"", 0, False
    for block in blocks:
        rest += block
        if not has_begun:
            if len(rest) < len(_HEADER):
                continue
            if not rest.startswith(_HEADER):
                raise DamagedBackup("a part does not begin as rows do")
            rest, has_begun = rest[len(_HEADER) :], True
        found, used = _whole_rows(rest)
        rows += found
        rest = rest[used:]
    if not has_begun or rest != _TRAILER:
        raise DamagedBackup("a part does not end as rows do")
    return rows


def _whole_rows(data: bytes) -> tuple[int, int]:
    """Return how many whole rows data begin with, and how many bytes these are."""
    rows = at = 0
    while (found := _layout(data, at)) is not None:
        end, marks = found
        width = end - at
        alike = np.frombuffer(data, np.uint8, offset=at)[: (len(data) - at) // width * width]
        table = alike.reshape(-1, width)[:, marks]
        differs = np.flatnonzero((table != table[0]).any(axis=1))
        count = int(differs[0]) if len(differs) else len(table)
        rows += count
        at += count * width
    return rows, at


def _layout(data: bytes, begin: int) -> tuple[int, list[int]] | None:
    """Return where the row at `begin` ends, and which of its bytes give its layout; None: it is not whole."""
    if len(data) < begin + _COUNT.size:
        return None
    (fields,) = _COUNT.unpack_from(data, begin)
    if fields < 0:
        return None
    at = begin + _COUNT.size
    marks = [0, 1]
    for _ in range(fields):
        if len(data) < at + _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(data, at)
        marks += range(at - begin, at - begin + _LENGTH.size)
        at += _LENGTH.size + max(0, length)
    return (at, marks) if at <= len(data) else None
