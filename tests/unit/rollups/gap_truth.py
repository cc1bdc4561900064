"""Which time between readings is known, from the rule's words, one distance after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median


def known_gaps(times: Sequence[int], *, limit: int | None = None) -> list[bool]:
    """Return for each pair of neighbours whether the time between them is known; `limit` is the owner's."""
    distances = [after - before for before, after in pairwise(times)]
    found = []
    for place, distance in enumerate(distances):
        if limit is not None:
            found.append(distance <= limit)
            continue
        sides = [distances[max(place - 5, 0) : place], distances[place + 1 : place + 6]]
        medians = [median(side) for side in sides if side]
        found.append(not medians or distance <= 3 * max(medians))
    return found
