"""Chunks of UTF-8 text to blocks of whole lines with their line numbers, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from joulebook.telemetry.files.errors import FileError

MAX_LINE_BYTES = 128 * 1024
"""A longer line is damage, and is rejected; the standard library's `csv` has the same limit."""

MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""A block of long lines ends at this size (give or take a chunk), before its number of lines."""


@dataclass(frozen=True)
class Block:
    """Whole lines of UTF-8 text, ended by LF; only the last line of a file may lack its end.

    `first_line` is the physical number of the first line, from 1. A line longer than `MAX_LINE_BYTES` may
    have lost its end, but remains longer than that. `offset` is the block's first byte in the text.
    """

    data: bytes
    first_line: int
    is_last: bool = False
    offset: int = 0


def cut_blocks(
    chunks: Iterable[bytes], *, max_lines: int, start_line: int = 1, max_bytes: int = MAX_BLOCK_BYTES
) -> Iterator[Block]:
    """Yield the lines from `start_line` on in blocks of at most `max_lines`; the last one is marked.

    A file without lines from there on yields one empty last block. If `chunks` raises `FileError`, the
    whole lines before it are yielded first, none of them marked as last.
    """
    held: Block | None = None
    cut = _cut(_TrimmedLines(chunks), max_lines=max_lines, max_bytes=max_bytes)
    try:
        for block in _skip_lines(cut, start_line):
            if held is not None:
                yield held
            held = block
    except FileError:
        if held is not None:
            yield held
        raise
    if held is None:
        yield Block(b"", start_line, is_last=True)
    else:
        yield replace(held, is_last=True)


def line_ends(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return for each line of `data` the index just behind its LF (or behind the data, where LF lacks)."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    return ends


def is_utf8(data: bytes) -> bool:
    """Return whether bytes are valid UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class _TrimmedLines:
    """Drops the bytes of a line beyond the limit where it spans chunks: memory never holds them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.dropped = 0
        """Bytes dropped so far, all of lines ending at or after the last chunk's first LF."""

    def __iter__(self) -> Iterator[bytes]:
        open_bytes = 0
        for chunk in self._chunks:
            end = chunk.find(b"\n")
            length = len(chunk) if end < 0 else end
            room = max(MAX_LINE_BYTES + 1 - open_bytes, 0)
            kept = chunk if length <= room else chunk[:room] + chunk[length:]
            self.dropped += len(chunk) - len(kept)
            if end < 0:
                open_bytes += len(kept)
            else:
                open_bytes = len(chunk) - chunk.rfind(b"\n") - 1
            if kept:
                yield kept


class _Readable:
    """Ends at damage of the bytes, and keeps the error."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.failure: FileError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._chunks
        except FileError as exc:
            self.failure = exc


def _cut(trimmed: _TrimmedLines, *, max_lines: int, max_bytes: int) -> Iterator[Block]:
    first_line = 1
    pieces: list[bytes] = []
    lines = size = 0
    offset = passed = 0
    chunks = _Readable(trimmed)
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
            yield Block(b"".join([*pieces, chunk[begin:stop]]), first_line, offset=offset)
            first_line += lines + wanted
            offset = passed + stop + trimmed.dropped
            pieces, lines, size, begin = [], 0, 0, stop
        if begin < len(chunk):
            pieces.append(chunk[begin:])
            lines += len(ends) - used
            size += len(chunk) - begin
        passed += len(chunk)
    rest = b"".join(pieces)
    if chunks.failure is not None:
        # A line cut off may still look like a number, but not the one written.
        rest = rest[: rest.rfind(b"\n") + 1]
    if rest:
        yield Block(rest, first_line, offset=offset)
    if chunks.failure is not None:
        raise chunks.failure


def _skip_lines(blocks: Iterable[Block], start_line: int) -> Iterator[Block]:
    for block in blocks:
        skipped = start_line - block.first_line
        if skipped <= 0:
            yield block
            continue
        ends = line_ends(block.data)
        if len(ends) > skipped:
            begin = int(ends[skipped - 1])
            yield Block(block.data[begin:], start_line, offset=block.offset + begin)
