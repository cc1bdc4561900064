"""Chunks of UTF-8 text to blocks of whole lines that know their line number; memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

MAX_LINE_BYTES = 128 * 1024
"""A line longer than this is damage, and is rejected; the standard library's `csv` has the same limit."""

MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""Where lines are long, a block ends here (give or take a chunk) before it has its number of lines."""


@dataclass(frozen=True)
class Block:
    """Whole lines of UTF-8 text, ended by LF; only the last line of a file may lack its end.

    `first_line` is the physical number of the first of them, from 1. A line that is longer than
    `MAX_LINE_BYTES` may have lost its end, but remains longer than that.
    """

    data: bytes
    first_line: int
    is_last: bool = False


def cut_blocks(
    chunks: Iterable[bytes], *, max_lines: int, start_line: int = 1, max_bytes: int = MAX_BLOCK_BYTES
) -> Iterator[Block]:
    """Yield the lines from `start_line` on in blocks of at most `max_lines`; the last one is marked.

    A file without lines from there on yields one empty last block.
    """
    held: Block | None = None
    for block in _skip_lines(_cut(_trim_lines(chunks), max_lines=max_lines, max_bytes=max_bytes), start_line):
        if held is not None:
            yield held
        held = block
    if held is None:
        yield Block(b"", start_line, is_last=True)
    else:
        yield Block(held.data, held.first_line, is_last=True)


def line_ends(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return for each line of `data` the index just behind its LF (or behind the data, where LF lacks)."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    return ends


def _trim_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Drop what a line has beyond the limit where it spans chunks, so that it never has to be held."""
    open_bytes = 0
    for chunk in chunks:
        end = chunk.find(b"\n")
        length = len(chunk) if end < 0 else end
        room = max(MAX_LINE_BYTES + 1 - open_bytes, 0)
        kept = chunk if length <= room else chunk[:room] + chunk[length:]
        if end < 0:
            open_bytes += len(kept)
        else:
            open_bytes = len(chunk) - chunk.rfind(b"\n") - 1
        if kept:
            yield kept


def _cut(chunks: Iterable[bytes], *, max_lines: int, max_bytes: int) -> Iterator[Block]:
    first_line = 1
    pieces: list[bytes] = []
    lines = size = 0
    for chunk in chunks:
        ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10) + 1
        begin = used = 0
        while True:
            wanted = max_lines - lines
            if len(ends) - used < wanted:
                # Not enough lines: the block is full only if it is large, and ends with its last whole line.
                if used == len(ends) or size + int(ends[-1]) - begin < max_bytes:
                    break
                wanted = len(ends) - used
            used += wanted
            stop = int(ends[used - 1])
            yield Block(b"".join([*pieces, chunk[begin:stop]]), first_line)
            first_line += lines + wanted
            pieces, lines, size, begin = [], 0, 0, stop
        if begin < len(chunk):
            pieces.append(chunk[begin:])
            lines += len(ends) - used
            size += len(chunk) - begin
    if pieces:
        yield Block(b"".join(pieces), first_line)


def _skip_lines(blocks: Iterable[Block], start_line: int) -> Iterator[Block]:
    for block in blocks:
        skipped = start_line - block.first_line
        if skipped <= 0:
            yield block
            continue
        ends = line_ends(block.data)
        if len(ends) > skipped:
            yield Block(block.data[int(ends[skipped - 1]) :], start_line)
