"""Blocks of whole lines: nothing lost, line numbers right, memory bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.blocks import MAX_LINE_BYTES, cut_blocks, line_ends
from joulebook.telemetry.files.errors import UnreadableFile

chunks_of_lines = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\r", b"\n")), max_size=20)


@settings(deadline=None)
@given(chunks_of_lines, st.integers(1, 7), st.integers(1, 60), st.integers(1, 12))
def test_blocks_are_the_files_lines_in_order_with_their_numbers(
    chunks: list[bytes], max_lines: int, max_bytes: int, start_line: int
) -> None:
    lines = b"".join(chunks).split(b"\n")
    lines = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    blocks = list(cut_blocks(chunks, max_lines=max_lines, max_bytes=max_bytes, start_line=start_line))
    assert b"".join(block.data for block in blocks) == b"".join(lines[start_line - 1 :])
    line = start_line
    for block in blocks:
        assert block.first_line == line
        assert len(line_ends(block.data)) <= max_lines
        line += len(line_ends(block.data))
    assert [block.is_last for block in blocks] == [False] * (len(blocks) - 1) + [True]
    assert all(block.data.endswith(b"\n") for block in blocks[:-1])


@settings(deadline=None)
@given(chunks_of_lines, st.integers(1, 7), st.integers(1, 60))
def test_whole_lines_before_damage_come_before_its_error(
    chunks: list[bytes], max_lines: int, max_bytes: int
) -> None:
    def damaged() -> Iterator[bytes]:
        yield from chunks
        raise UnreadableFile("cut off")

    blocks = []
    with pytest.raises(UnreadableFile, match="cut off"):
        for block in cut_blocks(damaged(), max_lines=max_lines, max_bytes=max_bytes):
            blocks.append(block)  # noqa: PERF402 - the loop is left by the error
    text = b"".join(chunks)
    assert b"".join(block.data for block in blocks) == text[: text.rfind(b"\n") + 1]
    assert not any(block.is_last for block in blocks)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_a_full_block_ends_as_soon_as_it_has_its_lines(lengths: list[int]) -> None:
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    blocks = list(cut_blocks([data[i : i + 5] for i in range(0, len(data), 5)], max_lines=10))
    assert [len(line_ends(block.data)) for block in blocks[:-1]] == [10] * (len(blocks) - 1)


def test_a_line_without_end_is_not_held_but_stays_too_long() -> None:
    def endless() -> Iterator[bytes]:
        yield b"time,value\n2024"
        for _ in range(300):
            yield b"0" * 65536
        yield b"0\nnext,1\n"

    blocks = list(cut_blocks(endless(), max_lines=10))
    data = b"".join(block.data for block in blocks)
    assert len(data) < 2 * MAX_LINE_BYTES
    first, long, last = data.splitlines()
    assert (first, last) == (b"time,value", b"next,1")
    assert len(long) > MAX_LINE_BYTES


def test_long_lines_end_a_block_before_it_has_its_number_of_lines() -> None:
    chunks = [b"x" * 1000 + b"\n"] * 100
    blocks = list(cut_blocks(chunks, max_lines=1000, max_bytes=10_000))
    assert max(len(block.data) for block in blocks) <= 11_011
