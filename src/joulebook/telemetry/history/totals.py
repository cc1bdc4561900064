"""Rounds the energy of days so that tables add up: to the last digit, from every window, and in every unit.

The local day is accounted in whole steps of a thousandth of a watt-hour, in any asked unit. Weeks, months
and totals are the exact sums of such days. So the rows of a table add up to its total as shown, a month among
months is the total of its days, and a table in MWh has the digits of the one in Wh. A day is at most half a
step from its exact value, and a year at most 0.2 Wh.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from joulebook.telemetry.kinds.units import UnitProblem, convert_factor_offset, parse_unit, quantity_of

_DECIMALS = 6
"""Decimals of a day in the unit of account."""

# Units of account by quantity; any other quantity is accounted in the wanted unit.
_ACCOUNTS = {
    "energy": "kWh",
    "apparent energy": "kVAh",
    "reactive energy": "kvarh",
    "charge": "Ah",
    "volume": "m³",
    "irradiation": "kWh/m²",
}
_EXACT = Context(prec=500)
"""Digits enough for the largest values of readings and their sums."""


class Account:
    """Rounds energy that is asked for in `unit`: a value in `own_unit` times `factor` is in the account's."""

    def __init__(self, own_unit: str, unit: str) -> None:
        """Prepare for values in `own_unit`. Raises `UnitProblem` if it cannot be converted."""
        self._ratio, step, accounted = _account_of(unit)
        self._step = Decimal(1).scaleb(-step)
        self.factor = convert_factor_offset(own_unit, accounted).factor

    def days(self, values: Iterable[float]) -> list[Decimal]:
        """Return days in the asked unit, each of `values` in the unit of account rounded to a step."""
        with localcontext(_EXACT):
            # Adding turns -0 into 0.
            return [Decimal(repr(value)).quantize(self._step) * self._ratio + 0 for value in values]


def _account_of(unit: str) -> tuple[Decimal, int, str]:
    """Return the size of the unit of account in `unit`, the decimals of a day in it, and its name."""
    try:
        accounted = _ACCOUNTS.get(quantity_of(unit) or "", unit)
        ratio = parse_unit(accounted).factor / parse_unit(unit).factor
    except UnitProblem:
        return Decimal(1), _DECIMALS, unit
    if _is_decimal(ratio):
        with localcontext(_EXACT):
            return Decimal(ratio.numerator) / Decimal(ratio.denominator), _DECIMALS, accounted
    # BTU, gallons: no finite number of decimals leads to them. Their step is as fine, or finer.
    finer = 0
    while Fraction(10) ** finer * ratio < 1:
        finer += 1
    return Decimal(1), _DECIMALS + finer, unit


def _is_decimal(ratio: Fraction) -> bool:
    """Return whether a ratio has finitely many decimals."""
    below = ratio.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1


def total_of(days: Iterable[Decimal]) -> Decimal:
    """Return the sum of days to their last digit, however large they are."""
    with localcontext(_EXACT):
        return sum(days, Decimal(0))


def decimals_of(values: Iterable[Decimal], *, least: int) -> int:
    """Return how many decimals show all values exactly, and not fewer than `least`."""
    with localcontext(_EXACT):
        return max([least, *(-int(value.normalize().as_tuple().exponent) for value in values)])


def with_decimals(value: Decimal, decimals: int) -> Decimal:
    """Return a value rounded to a number of decimals."""
    with localcontext(_EXACT):
        return value.quantize(Decimal(1).scaleb(-decimals))
