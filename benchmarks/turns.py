"""Measures several ways of doing one thing in turns, so that what else the machine does meets them all."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.load import Load


@dataclass(frozen=True)
class Measured:
    """What the turns gave, by the way's name; all lists have one entry a turn."""

    rates: Mapping[str, list[float]]
    loads: Mapping[str, list[Load]]

    def rate(self, way: str) -> float:
        """Return a way's median rate."""
        return statistics.median(self.rates[way])

    def ratio(self, way: str, reference: str) -> float:
        """Return the median of the ratios that two ways had in the same turn."""
        pairs = zip(self.rates[way], self.rates[reference], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def percentile(self, way: str, percent: float) -> float:
        """Return the median over the turns of a percentile of the latency, in milliseconds."""
        return statistics.median(load.percentile(percent) for load in self.loads[way])


def in_turns(ways: Mapping[str, Callable[[], float | tuple[float, Load]]], turns: int) -> Measured:
    """Measure each way once a turn; a way returns its rate, or its rate and load.

    The order is turned around every other time: whoever comes first finds an emptier table.
    """
    rates: dict[str, list[float]] = defaultdict(list)
    loads: dict[str, list[Load]] = defaultdict(list)
    for turn in range(turns):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            found = ways[name]()
            if isinstance(found, tuple):
                found, load = found
                loads[name].append(load)
            rates[name].append(found)
    return Measured(rates, loads)
