"""How far a compressed file may swell: enough for any logger, not for a bomb."""

from __future__ import annotations

from collections.abc import Iterator

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge

FREE_BYTES = 64 << 20
"""What any file may swell to, however small it is."""

MOST_TIMES = 300
"""Beyond that a file may swell to so many times its size; readings with times hardly reach 50."""


def guarded(chunks: Iterator[bytes], *, stored: int, name: str) -> Iterator[bytes]:
    """Yield the inflated chunks of `stored` bytes; raises `FileTooLarge` before they become too many."""
    limit = max(FREE_BYTES, MOST_TIMES * stored)
    inflated = 0
    for chunk in chunks:
        check_budget()
        inflated += len(chunk)
        if inflated > limit:
            raise FileTooLarge(
                f"{name} swells to more than {limit >> 20} MB from {stored:,} bytes, which no file of "
                "readings does; unpack it, look what it holds, and import that"
            )
        yield chunk
