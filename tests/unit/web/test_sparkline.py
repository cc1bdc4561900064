"""The small drawing of a metric's last hour."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from joulebook.web.devices.templatetags.readings import HEIGHT, WIDTH, sparkline


def runs(values):
    """Return the path's unbroken runs, as lists of (x, y)."""
    path = re.search(r'<path d="([^"]*)"', sparkline(values, colour="load", label="x"))
    if path is None:
        return []
    return [
        [tuple(map(float, point.split())) for point in re.split("h0L|h0|L", run) if point]
        for run in path[1].split("M")[1:]
    ]


def test_values_without_a_silence_are_one_line():
    assert [len(run) for run in runs([1.0, 2.0, 3.0, 2.0])] == [4]


def test_a_silence_breaks_the_line():
    assert [len(run) for run in runs([1.0] * 10 + [None] * 4 + [1.0] * 5)] == [10, 5]


def test_a_slow_meter_is_one_line_all_the_same():
    assert [len(run) for run in runs(([5.0] + [None] * 14) * 4)] == [4]


def test_nothing_is_a_dotted_line():
    assert "spark-empty" in sparkline([None] * 60, colour="load", label="x")


def test_the_greatest_value_is_on_top():
    ((first, second),) = runs([1.0, 2.0])
    assert second[1] < first[1]


@given(st.lists(st.none() | st.floats(-1e12, 1e12), min_size=1, max_size=80))
def test_every_value_is_drawn_within_the_frame(values):
    points = [point for run in runs(values) for point in run]
    assert len(points) == sum(value is not None for value in values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_labels_are_text():
    assert "<script" not in sparkline([1.0], colour="load", label='"><script>')
