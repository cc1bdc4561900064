"""Rows are counted in COPY's formats wherever the stream is cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.backup.check import count_rows
from joulebook.backup.errors import DamagedBackup

HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"

fields = st.one_of(st.none(), st.binary(min_size=8, max_size=8), st.binary(max_size=20))
streams = st.lists(st.lists(fields, min_size=1, max_size=4), max_size=30)
steady = st.lists(st.lists(st.binary(min_size=8, max_size=8), min_size=3, max_size=3), max_size=200)


def stream(rows: list[list[bytes | None]]) -> bytes:
    """Return rows as PostgreSQL sends them."""
    body = b"".join(
        struct.pack(">h", len(row))
        + b"".join(struct.pack(">i", -1) if f is None else struct.pack(">i", len(f)) + f for f in row)
        for row in rows
    )
    return HEADER + body + TRAILER


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(st.one_of(streams, steady), st.integers(1, 300))
def test_rows_are_counted_however_the_stream_is_cut(rows: list[list[bytes | None]], size: int) -> None:
    assert count_rows(cut(stream(rows), size), is_binary=True) == len(rows)


@pytest.mark.parametrize(
    "data",
    [b"", HEADER, stream([[b"12345678"]])[:-2], stream([[b"12345678"]])[:-5], b"X" + stream([[b"1"]])],
    ids=["nothing", "no end", "cut before the end", "cut in a row", "another beginning"],
)
def test_what_is_no_whole_stream_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedBackup):
        count_rows(cut(data, 7), is_binary=True)


def test_rows_of_text_are_lines() -> None:
    assert count_rows([b"1\ta\\nb\n2", b"\tc\n"], is_binary=False) == 2
