"""What a level comes to over time, and how much of the time it is known: energy of power, shares of states.

A reading holds until the next one. Where the next is further away than `silence` nothing is known of the
time between: it is not covered, and counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.readings import MICROSECONDS
from joulebook.telemetry.rollups.summaries import Summaries

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Integrals:
    """By bucket: value times seconds over the covered time, and the covered time in seconds."""

    integral: Numbers
    covered: Numbers


def integrals_of(rows: Summaries, edges: NDArray[np.int64], *, silence: int) -> Integrals:
    """Return what one level comes to in each bucket [edges[i], edges[i + 1]).

    `rows` are summaries in the order of time, none of them on both sides of an edge, and none with a
    `longest_gap` above `silence` (microseconds): see `has_silence`. Rows before the first and after the
    last edge say what held at the borders.
    """
    length = len(edges) - 1
    if not len(rows):
        return Integrals(np.zeros(length), np.zeros(length))
    gap = np.append(rows["first_at"][1:] - rows["last_at"][:-1], 0)
    held = np.where(gap <= silence, gap, 0)
    # Both as they stand when the last reading of each row begins to hold.
    known = np.cumsum(rows["last_at"] - rows["first_at"]) + np.append(0, np.cumsum(held[:-1]))
    total = np.cumsum(rows["integral"]) + np.append(0, np.cumsum((rows["last"] * (held / MICROSECONDS))[:-1]))
    # Until each edge, the last row that begins before it has held for some time more.
    row = np.searchsorted(rows["first_at"], edges, side="left") - 1
    is_before_all = row < 0
    row = np.maximum(row, 0)
    more = np.clip(edges - rows["last_at"][row], 0, held[row])
    known_at = np.where(is_before_all, 0, known[row] + more)
    total_at = np.where(is_before_all, 0.0, total[row] + rows["last"][row] * (more / MICROSECONDS))
    return Integrals(np.diff(total_at), np.diff(known_at) / MICROSECONDS)


def has_silence(rows: Summaries, *, silence: int) -> NDArray[np.bool_]:
    """Tell which summaries hold a silence and so have to be read reading by reading."""
    return rows["longest_gap"] > silence


def usual_distance(rows: Summaries) -> int:
    """Return the usual distance between neighbouring readings of one series in microseconds, 0 if unknown.

    The median over all distances; those inside a summary count as their mean.
    """
    inner = rows["count"] - 1
    mean = np.divide(rows["last_at"] - rows["first_at"], inner, where=inner > 0, out=np.zeros(len(rows)))
    distance = np.concatenate([mean, rows["first_at"][1:] - rows["last_at"][:-1]])
    weight = np.concatenate([inner, np.ones(max(len(rows) - 1, 0), np.int64)])
    half = weight.sum() / 2
    if not half:
        return 0
    # Most often nearly all are alike, and nothing needs to be sorted.
    likely = distance[np.argmax(weight)]
    shorter = weight[distance < likely].sum()
    if shorter < half <= shorter + weight[distance == likely].sum():
        return int(likely)
    order = np.argsort(distance)
    middle = np.searchsorted(np.cumsum(weight[order]), half)
    return int(distance[order][middle])
