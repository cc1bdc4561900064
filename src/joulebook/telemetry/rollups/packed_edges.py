"""The edges of summaries as the bytes of one column, as short as a row's other columns allow.

Distances that are all the same follow from the row's times, and values that are all the same from its least
one. The rest is words of eight bytes, big-endian: first the distances of the used slots, then their values.
Each part is there or not; the row's other columns say which. So most rows need no byte.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.rollups.gaps import SLOTS, Edges, is_long, slot_mask
from joulebook.telemetry.rollups.summaries import Summaries


def pack_edges(rows: Summaries, edges: Edges) -> Iterator[tuple[NDArray[np.intp], NDArray[np.int64]]]:
    """Yield the summaries' indices in groups of edges of the same length, with their words by row."""
    for number, has_gaps, has_values, index in _layouts(rows, np.zeros(len(rows), np.bool_)):
        parts = [np.empty((len(index), 0), np.int64)]
        if has_gaps:
            parts.append(edges.gaps[index, :number])
        if has_values:
            parts.append(np.ascontiguousarray(edges.values[index, :number]).view(np.int64))
        yield index, np.concatenate(parts, axis=1)


def unpack_edges(
    rows: Summaries, packed: bytes, size: NDArray[np.int32], *, is_legacy: NDArray[np.bool_]
) -> Edges:
    """Return the edges of the summaries from the bytes of all of them; `size` is by row.

    Legacy summaries were stored without edges: their distances are taken to be all the same. Edges that do
    not fit the other columns are wrong, and come back as zeros.
    """
    inner, is_used = rows["count"] - 1, slot_mask(rows["count"] - 1)
    usual = np.where(is_legacy, rows["first_usual"], rows["longest_gap"])
    edges = Edges(np.where(is_used, usual[:, np.newaxis], 0), np.zeros((len(rows), SLOTS)))
    same = np.where(inner == 1, rows["first"], rows["min"])
    is_short = ~is_long(rows)
    edges.values[is_short] = np.where(is_used[is_short], same[is_short, np.newaxis], 0.0)
    words = np.frombuffer(packed, ">i8")
    number_of_words = size // words.itemsize
    begin = np.cumsum(number_of_words) - number_of_words
    for number, has_gaps, has_values, index in _layouts(rows, is_legacy):
        is_right = number_of_words[index] == number * (has_gaps + has_values)
        edges.gaps[index[~is_right]], edges.values[index[~is_right]] = 0, 0.0
        right = index[is_right]
        at = begin[right, np.newaxis] + np.arange(number)
        if has_gaps:
            edges.gaps[right, :number] = words[at]
        if has_values:
            edges.values[right, :number] = words.view(">f8")[at + number * has_gaps]
    return edges


def _layouts(
    rows: Summaries, is_legacy: NDArray[np.bool_]
) -> Iterator[tuple[int, bool, bool, NDArray[np.intp]]]:
    """Yield the number of slots, whether there are distances and values, and the indices of such rows."""
    inner = rows["count"] - 1
    is_even = rows["last_at"] - rows["first_at"] == rows["longest_gap"] * inner
    is_flat = rows["min"] == rows["max"]
    has_gaps = (inner > 1) & ~is_even & ~is_legacy
    has_values = (inner > 1) & np.where(is_long(rows), rows["pending"] != 0, ~is_flat) & ~is_legacy
    layout = np.minimum(inner, SLOTS) * 4 + has_gaps * 2 + has_values
    for each in np.unique(layout).tolist():
        yield each // 4, bool(each & 2), bool(each & 1), np.flatnonzero(layout == each)
