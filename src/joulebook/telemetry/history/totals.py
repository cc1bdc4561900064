"""Rounds the rows of a table so that they add up to its total, and the total is the exact sum rounded.

Rounding each row for itself would do neither: 365 errors of half a digit add up. So the total is rounded, and
the few rows nearest to the other side of a half are rounded to it, until the rows add up. No row differs from
its exact value by a whole last digit.

Energy is rounded in one unit of its quantity and then converted exactly, so a table has the same digits in
Wh, kWh and MWh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from joulebook.telemetry.kinds.units import UnitProblem, convert_factor_offset, parse_unit, quantity_of

_DIGITS = 9
"""Decimals of a row in the unit of account: a millionth of a watt-hour."""

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
"""Enough digits for the largest values of readings and their sums."""


class Account:
    """Rounds energy for a table in `unit`; `factor` turns values in `own_unit` into the unit of account."""

    def __init__(self, own_unit: str, unit: str) -> None:
        """Prepare for values in `own_unit`, shown in `unit`. Raises `UnitProblem` unless one converts."""
        convert_factor_offset(own_unit, unit)
        self._to_unit = Fraction(1)
        accounted = unit
        try:
            accounted = _ACCOUNTS.get(quantity_of(unit) or "", unit)
            ratio = parse_unit(accounted).factor / parse_unit(unit).factor
        except UnitProblem:
            ratio = Fraction(1)
        if _is_decimal(ratio):
            self._to_unit = ratio
            self._digits = _DIGITS
        else:
            # BTU, gallons: no power of ten leads to the unit of account. As fine as that, or finer.
            accounted = unit
            self._digits = _DIGITS + max(0, len(str(int(1 / ratio))) if ratio < 1 else 0)
        self.factor = convert_factor_offset(own_unit, accounted).factor

    def rows(self, values: Sequence[Iterable[float]]) -> list[Decimal]:
        """Return the rows of a table; each is the sum of the values of its days in the unit of account."""
        with localcontext(_EXACT):
            sums = [sum(map(Decimal, days), Decimal(0)) for days in values]
            ratio = Decimal(self._to_unit.numerator) / Decimal(self._to_unit.denominator)
            return [row * ratio for row in round_rows(sums, self._digits)]


def round_rows(values: Sequence[Decimal], digits: int) -> list[Decimal]:
    """Return the values rounded to `digits` decimals, so that their sum is the rounded sum of the values."""
    with localcontext(_EXACT):
        step = Decimal(1).scaleb(-digits)
        rows = [value.quantize(step) + 0 for value in values]  # adding turns -0 into 0
        missing = int((sum(values, Decimal(0)).quantize(step) - sum(rows, Decimal(0))) / step)
        if missing:
            sign = 1 if missing > 0 else -1
            left = [sign * (value - row) for value, row in zip(values, rows, strict=True)]
            nearest = sorted(range(len(rows)), key=lambda place: -left[place])
            for place in nearest[: abs(missing)]:
                rows[place] += sign * step
        return rows


def total_of(rows: Iterable[Decimal]) -> Decimal:
    """Return the sum of rows to their last digit, however large they are."""
    with localcontext(_EXACT):
        return sum(rows, Decimal(0))


def decimals_for(values: Iterable[Decimal], *, least: int) -> int:
    """Return the decimals with which people read values: `least`, or four digits of the largest value."""
    largest = max(map(abs, values), default=Decimal(0))
    return max(least, 3 - largest.adjusted()) if largest else least


def _is_decimal(ratio: Fraction) -> bool:
    """Return whether the ratio has finitely many decimals."""
    below = ratio.denominator
    for prime in (2, 5):
        while below % prime == 0:
            below //= prime
    return below == 1
