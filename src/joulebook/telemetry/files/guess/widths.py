"""Guesses the widths of fixed columns: where blanks stand one below the other, a column ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_FEWEST_LINES = 5
_LONGEST_LINE = 5000


def guess_widths(lines: Sequence[str]) -> tuple[int, ...]:
    """Return the widths of the columns of the sample's lines, or nothing where they do not line up."""
    table = [line.rstrip() for line in lines if line.strip() and any(char.isdigit() for char in line)]
    if (
        len(table) < _FEWEST_LINES
        or max(map(len, table)) > _LONGEST_LINE
        or any("\t" in line for line in table)
    ):
        return ()
    width = int(np.median([len(line) for line in table]))
    alike = [line.ljust(width)[:width] for line in table if abs(len(line) - width) <= width // 2]
    if len(alike) < max(_FEWEST_LINES, len(table) * 0.8):
        return ()
    filled = np.array([[char != " " for char in line] for line in alike])
    is_gap = filled.mean(axis=0) <= 0.01
    # A column begins where something stands behind a gap.
    begins = [at for at in range(1, width) if is_gap[at - 1] and not is_gap[at]]
    if len(begins) < 1:
        return ()
    # Numbers stand to the right in their column: it ends with the last character before the next gap.
    ends = [at for at in range(1, width) if is_gap[at] and not is_gap[at - 1]] + [width]
    ends = [end for end in ends if end > 0]
    edges = [0, *ends]
    widths = tuple(int(end - begin) for begin, end in pairwise(edges))
    return (*widths[:-1], max(widths[-1], max(map(len, table)) - edges[-2]))
