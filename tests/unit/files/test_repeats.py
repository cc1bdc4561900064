"""The same instant again with another value, in one series and one file: found, counted, shown and asked about."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.repeats import RepeatWatch
from joulebook.telemetry.files.table import ParsedBlock

reading = st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 2))
blocks = st.lists(st.lists(reading, max_size=12), max_size=6)


def block_of(readings: list[tuple[int, int, int]], first_line: int) -> ParsedBlock:
    """Return a block of readings (column, time, value), one a line, ordered by column as a parser's."""
    ordered = sorted(
        ((column, time, value, first_line + at) for at, (column, time, value) in enumerate(readings)),
        key=lambda one: (one[0], one[3]),
    )
    column, time, value, line = (list(each) for each in zip(*ordered, strict=True)) if ordered else ([],) * 4
    return ParsedBlock(
        np.array(column, np.int32), np.array(time, np.int64), np.array(value, float),
        np.array(line, np.int64), len(readings), Counter(), 0, (0, 0), [], [],
    )  # fmt: skip


def repeats_of(parts: list[ParsedBlock], watch: RepeatWatch) -> set[tuple[int, int, int, float]]:
    """Return column, line, first line and first value of each repeat."""
    return {
        (int(part.column[row]), int(part.line[row]), int(line), float(value))
        for part in parts
        for repeats in [watch.find(part)]
        for row, line, value in zip(
            repeats.rows.tolist(), repeats.first_line.tolist(), repeats.first_value.tolist(), strict=True
        )
    }


@settings(deadline=None)
@given(blocks)
def test_each_repeat_is_found_with_the_first_of_its_instant(parts: list[list[tuple[int, int, int]]]) -> None:
    first: dict[tuple[int, int], tuple[int, int]] = {}
    expected = set()
    line = 2
    made = []
    for readings in parts:
        made.append(block_of(readings, line))
        for column, time, value in readings:
            first_line, first_value = first.setdefault((column, time), (line, value))
            if value != first_value:
                expected.add((column, line, first_line, float(first_value)))
            line += 1
    assert repeats_of(made, RepeatWatch()) == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.booleans(), st.integers(1, 7))
def test_times_in_order_are_compared_exactly_however_little_is_remembered(
    steps: list[int], is_falling: bool, size: int
) -> None:
    times = (-1 if is_falling else 1) * np.cumsum(steps)
    readings = [(column, int(time), 0) for time in times for column in (0, 1)]
    parts = [block_of(readings[at : at + size], at) for at in range(0, len(readings), size)]
    assert repeats_of(parts, RepeatWatch(most=1)) == set()


def test_beyond_what_is_remembered_a_repeat_is_not_found() -> None:
    rising = [(0, time, 0) for time in range(20)]
    parts = [block_of(rising[at : at + 5], at) for at in range(0, 20, 5)]
    again = block_of([(0, 2, 1), (0, 17, 1)], 20)
    assert {line for _, line, _, _ in repeats_of([*parts, again], RepeatWatch(most=5))} == {21}
    assert {line for _, line, _, _ in repeats_of([*parts, again], RepeatWatch(most=20))} == {20, 21}
