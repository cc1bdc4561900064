"""The kinds of metrics: gauge, counter, amount and state, one object each.

A kind is the meaning of a metric's values, for people and for programs: forms, the API and guesses all read
`KINDS`. The figures of each kind are made from readings in `joulebook.telemetry.history.by_kind`: that needs
NumPy, and the web's models do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joulebook.telemetry.kinds.units import energy_unit


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of metric.

    `name` is its word in the database, the API and the pages' scripts; `meaning` explains it to people.
    A metric's name containing one of `words` is probably of this kind. `unit_of_energy` returns the unit of
    a metric's energy by the metric's own unit, or None if there is no energy.
    """

    name: str
    meaning: str
    words: frozenset[str]
    unit_of_energy: Callable[[str], str | None] = energy_unit
    is_register: bool = False
    """Whether values are the register of a meter: it only grows, and the meter can be replaced."""
    settings: tuple[str, ...] = ()
    """The settings that this kind alone has, by their names in `MetricSettings`."""

    def __str__(self) -> str:
        return self.name


# The word of a level decides for any quantity: `energy_price` is no register.
GAUGE = Kind(
    "gauge",
    "a level, such as power or temperature",
    _words("""
        average avg available capacity density factor flow level limit max mean min percent price quality rate
        ratio remaining setpoint speed stored target temperature temp humidity pressure power voltage volt
        current amp amps frequency soc soh irradiance strength signal rssi
        w kw mw va kva var kvar mv ma hz degc celsius bar hpa pct ppm lux lx
    """),
    settings=("holds_until_next",),
)
COUNTER = Kind(
    "counter",
    "a register that only grows, such as energy",
    _words("""
        energy wh kwh mwh varh kvarh vah kvah register counter count pulses impulses water gas volume m3 m³
        yield runtime uptime
    """),
    unit_of_energy=lambda unit: unit or None,
    is_register=True,
    settings=(
        "dip_tolerance",
        "resets_daily",
        "rolls_over_at",
        "runs_both_ways",
        "greatest_rise",
        "spreads",
    ),
)
AMOUNT = Kind(
    "amount",
    "what flowed in an interval, such as kWh per quarter hour",
    _words(""),
    unit_of_energy=lambda unit: unit or None,
    settings=("covers_before",),
)
STATE = Kind(
    "state",
    "on or off, or a code",
    _words("""
        state status relay door window contact open closed switch alarm fault error enabled mode
        online connected motion presence occupied
    """),
    settings=("words",),
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (GAUGE, COUNTER, AMOUNT, STATE)}
"""All kinds by name, in the order of forms."""


def kind_choices() -> list[tuple[str, str]]:
    """Return each kind's name with its words for people, for a form."""
    return [(kind.name, f"{kind.name}: {kind.meaning}") for kind in KINDS.values()]
