"""A home battery: it stores what the roof has left over and gives it back, within its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulebook.simulator.noise import Floats

MINUTE = 60


@dataclass(frozen=True)
class Battery:
    """What the battery can do. Energy in Wh, power in W at its terminals, shares from 0 to 1."""

    capacity: float = 10_000.0
    charge_limit: float = 5_000.0
    discharge_limit: float = 4_600.0
    reserve: float = 0.08
    one_way_efficiency: float = 0.958

    def run(self, wanted: Floats, stored: float, *, floor: Floats) -> tuple[Floats, Floats]:
        """Follow `wanted` second by second as far as the limits allow.

        `wanted`: W, one a second, a multiple of 60 of them; positive gives power to the home, negative
        takes it. `floor`: one share of the capacity a minute below which nothing is given. `stored`: Wh
        at the start. Returns the power that flows (same shape) and the Wh stored after each second.

        The limits of a minute follow from what is stored at its start, so that a whole minute at the
        limit never leaves the range from empty to full.
        """
        minutes = wanted.reshape(-1, MINUTE)
        power = np.empty_like(minutes)
        level = np.empty_like(minutes)
        for row, (target, lowest) in enumerate(zip(minutes, floor.tolist(), strict=True)):
            low, high = self._limits(stored, lowest)
            flow = np.round(np.clip(target, -low, high), 1, out=power[row])
            change = np.where(flow < 0.0, -flow * self.one_way_efficiency, -flow / self.one_way_efficiency)
            np.cumsum(change / 3600.0, out=level[row])
            level[row] += stored
            stored = float(level[row, -1])
        return power.reshape(-1), level.reshape(-1)

    def _limits(self, stored: float, floor: float) -> tuple[float, float]:
        """Return (most W to take, most W to give) during the next minute.

        Above nine tenths charging tapers off, as it does in a lithium battery. The tenth of a watt keeps
        the rounding of the power from reaching over the edge.
        """
        share = stored / self.capacity
        taper = min(1.0, max(0.04, (1.0 - share) / 0.1))
        room = (self.capacity - stored) * MINUTE / self.one_way_efficiency - 0.1
        left = (stored - max(floor, self.reserve) * self.capacity) * MINUTE * self.one_way_efficiency - 0.1
        return max(0.0, min(self.charge_limit * taper, room)), max(0.0, min(self.discharge_limit, left))

    def voltage(self, share: Floats, power: Floats) -> Floats:
        """Return the voltage of sixteen lithium iron phosphate cells at this state of charge and power."""
        rest = 51.6 + 1.9 * (share - 0.5) - 2.6 * np.exp(-share / 0.05) + 1.1 * np.exp((share - 1.0) / 0.04)
        return rest - power * 0.00024
