"""A home battery: it stores the roof's surplus and gives it back, within its limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulebook.simulator.noise import Floats

MINUTE = 60  # seconds; telemetry.readings counts microseconds
_MARGIN = 1.0  # Wh kept free at either end: a minute of ripple moves less
_NUDGE = 5.0  # W that bring the charge out of the margin again
_LARGEST_RIPPLE = 10.0  # W, either way; a nudge of this size stops any change beyond the limit itself


@dataclass(frozen=True)
class Battery:
    """The battery's limits. Energy in Wh, power in W at its terminals, shares from 0 to 1."""

    capacity: float = 10_000.0
    charge_limit: float = 5_000.0
    discharge_limit: float = 4_600.0
    reserve: float = 0.08
    one_way_efficiency: float = 0.958

    def run(self, wanted: Floats, stored: float, *, floor: Floats, ripple: Floats) -> tuple[Floats, Floats]:
        """Follow `wanted` second by second as far as the limits allow.

        `wanted`: W, one a second, a multiple of 60 of them; positive gives power to the home, negative
        takes it. `floor`: one share of the capacity a minute; below it the battery gives nothing. `ripple`:
        W, one a second, at most 10 either way: an inverter's ripple at rest. `stored`: Wh at the start.
        Returns the power (same shape) and the Wh stored after each second.

        The limits of a minute follow from the charge at its start: a whole minute at the limit never leaves
        the range from empty to full.
        """
        minutes, ripples = wanted.reshape(-1, MINUTE), ripple.reshape(-1, MINUTE)
        power = np.empty_like(minutes)
        level = np.empty_like(minutes)
        for row, lowest in enumerate(floor.tolist()):
            low, high = self._limits(stored, lowest)
            flow = np.round(np.clip(minutes[row], -low, high) + ripples[row], 1, out=power[row])
            change = np.where(flow < 0.0, -flow * self.one_way_efficiency, -flow / self.one_way_efficiency)
            np.cumsum(change / 3600.0, out=level[row])
            level[row] += stored
            stored = float(level[row, -1])
        return power.reshape(-1), level.reshape(-1)

    def _limits(self, stored: float, floor: float) -> tuple[float, float]:
        """Return (most W to take, most W to give) during the next minute.

        Above nine tenths charging tapers off, as it does in a lithium battery. The ripple may use up the
        last watt-hour at either end; a limit below 0 brings it back. Past the end itself the limit is as
        large as the ripple: a ripple always in the same direction would otherwise drain or overfill the
        battery.
        """
        share = stored / self.capacity
        taper = min(1.0, max(0.04, (1.0 - share) / 0.1))
        room = self.capacity - _MARGIN - stored
        left = stored - max(floor, self.reserve) * self.capacity - _MARGIN
        take = min(self.charge_limit * taper, room * MINUTE / self.one_way_efficiency)
        give = min(self.discharge_limit, left * MINUTE * self.one_way_efficiency)
        is_overfull, is_drained = stored > self.capacity, stored < self.reserve * self.capacity
        return (
            max(-_LARGEST_RIPPLE if is_overfull else -_NUDGE, take),
            max(-_LARGEST_RIPPLE if is_drained else -_NUDGE, give),
        )

    def voltage(self, share: Floats, power: Floats) -> Floats:
        """Return the voltage of sixteen lithium iron phosphate cells at this state of charge and power."""
        rest = 51.6 + 1.9 * (share - 0.5) - 2.6 * np.exp(-share / 0.05) + 1.1 * np.exp((share - 1.0) / 0.04)
        return rest - power * 0.00024
