"""The three devices of a home, with each one's metrics and their steps."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.simulator.clock import SLOW_STEP
from joulebook.simulator.home import HomeBlock
from joulebook.simulator.noise import Floats


@dataclass(frozen=True)
class SimulatedMetric:
    """A metric of a simulated device: its name, unit and kind, and its values in a `HomeBlock`."""

    name: str
    unit: str
    kind: str
    column: str
    step: int = SLOW_STEP

    def values(self, block: HomeBlock) -> Floats:
        """Return the metric's values in `block`, one a second."""
        column: Floats = getattr(block, self.column)
        return column


@dataclass(frozen=True)
class DeviceKind:
    """One of the three devices of a home."""

    name: str
    metrics: tuple[SimulatedMetric, ...]


DEVICE_KINDS: tuple[DeviceKind, ...] = (
    DeviceKind(
        "Home battery",
        (
            SimulatedMetric("power", "W", "gauge", "battery", step=1),
            SimulatedMetric("battery.soc", "%", "gauge", "soc"),
            SimulatedMetric("battery.voltage", "V", "gauge", "battery_voltage"),
            SimulatedMetric("battery.state", "", "state", "battery_state"),
        ),
    ),
    DeviceKind(
        "Roof",
        (
            SimulatedMetric("power", "W", "gauge", "solar", step=1),
            SimulatedMetric("temperature", "°C", "gauge", "temperature"),
            SimulatedMetric("energy.produced", "kWh", "counter", "produced"),
        ),
    ),
    DeviceKind(
        "Grid meter",
        (
            SimulatedMetric("power", "W", "gauge", "grid", step=1),
            SimulatedMetric("voltage", "V", "gauge", "voltage"),
            SimulatedMetric("frequency", "Hz", "gauge", "frequency"),
            SimulatedMetric("energy.imported", "kWh", "counter", "imported"),
            SimulatedMetric("energy.exported", "kWh", "counter", "exported"),
        ),
    ),
)
