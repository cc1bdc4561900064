"""Sums of series are exact, whatever the order of their readings."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.imports.totals import SeriesTotals

VALUES = st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=40)


def totals(values: list[float]) -> SeriesTotals:
    found = SeriesTotals()
    found.add(np.arange(len(values)), np.array(values))
    return found


@given(values=VALUES)
def test_a_sum_is_rounded_once(values: list[float]) -> None:
    assert totals(values).sum == math.fsum(values)


@given(values=VALUES, others=VALUES)
def test_blocks_in_any_order_have_the_same_sum(values: list[float], others: list[float]) -> None:
    one, other = totals(values), totals(others)
    one.merge(totals(others))
    other.merge(totals(values))
    assert (one.scaled_sum, one.count) == (other.scaled_sum, len(values) + len(others))


def test_a_difference_in_the_last_bit_shows() -> None:
    assert totals([1e16, 1.0]).scaled_sum != totals([1e16, 1.0 + 2**-52]).scaled_sum
