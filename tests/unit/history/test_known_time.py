"""The known time of a bucket, whatever rows and whatever window it is read from, against the rule's own words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.history.buckets import Integrals, integrate
from joulebook.telemetry.history.gaps import cut_into_pieces, find_known_time, unknown_gaps
from joulebook.telemetry.rollups.gaps import Edges
from joulebook.telemetry.rollups.reader import NEAR
from joulebook.telemetry.rollups.summaries import Summaries, edges_of, summarise

from ..rollups.gap_truth import known_gaps

SECOND = 1_000_000
Reading = tuple[int, float]

# Stretches of readings: how many, how far apart in seconds, and by how much this varies.
STRETCHES = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 60), st.sampled_from([1, 2, 10]), st.just(0)),
        st.tuples(st.integers(1, 5), st.sampled_from([15, 40, 200, 900]), st.just(0)),
        st.tuples(st.integers(1, 25), st.integers(1, 12), st.integers(1, 25)),
    ),
    min_size=1, max_size=10,
)  # fmt: skip
VALUES = st.sampled_from([0.0, 600.0, -250.0, 1.5, 1e20, 3.4e38])


@st.composite
def histories(draw) -> list[Reading]:
    """Draw the readings of one series, of changing rates."""
    at, found = 0, []
    for number, distance, jitter in draw(STRETCHES):
        for _ in range(number):
            at += distance + (draw(st.integers(0, jitter)) if jitter else 0)
            found.append((at, draw(VALUES)))
    return found


@dataclass
class Stored:
    """Readings, as a reader of summaries would find them."""

    time: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, readings: list[Reading]) -> Stored:
        return cls(np.array([at * SECOND for at, _ in readings]), np.array([value for _, value in readings]))

    def rows(self, begin: int, end: int, width: int) -> Summaries:
        """Return the summaries of [begin, end) by buckets of a width, or each reading as one with 0."""
        first, last = np.searchsorted(self.time, [begin * SECOND, end * SECOND])
        time, value = self.time[first:last], self.value[first:last]
        bucket = time // (width * SECOND) * (width * SECOND) if width else time
        return summarise(np.ones(len(time), np.int32), time, value, bucket)

    def read_edges(self, rows: Summaries) -> Edges:
        """Return the edges of some summaries."""
        parts = []
        for row in rows:
            mine = slice(*np.searchsorted(self.time, [row["first_at"], row["last_at"] + 1]))
            parts.append(edges_of(row[np.newaxis], self.time[mine], self.value[mine]))
        return Edges(
            np.concatenate([part.gaps for part in parts]), np.concatenate([part.values for part in parts])
        )

    def window(self, start: int, end: int, widths: list[int]) -> Summaries:
        """Return the rows of a window, each hour by another width, with the readings next before and after it."""
        first, last = np.searchsorted(self.time, [start * SECOND, end * SECOND])
        parts = [self.each(max(first - NEAR, 0), first)]
        cuts = sorted({start, end, *range(start // 3600 * 3600 + 3600, end, 3600)})
        parts += [
            self.rows(begin, until, widths[begin // 3600 % len(widths)]) for begin, until in pairwise(cuts)
        ]
        parts.append(self.each(last, last + NEAR))
        return np.concatenate(parts)

    def each(self, first: int, last: int) -> Summaries:
        time, value = self.time[first:last], self.value[first:last]
        return summarise(np.ones(len(time), np.int32), time, value, time)


def expected(readings: list[Reading], borders: list[int]) -> list[tuple[float, float, float]]:
    """Return by bucket the integral, the integral of the positive level, and the covered seconds."""
    known = known_gaps([at for at, _ in readings])
    found = []
    for begin, end in pairwise(borders):
        held = []
        for ((at, value), (later, _)), is_known in zip(pairwise(readings), known, strict=True):
            seconds = min(later, end) - max(at, begin)
            if is_known and seconds > 0:
                held.append((value * seconds, seconds))
        integrals = [integral for integral, _ in held]
        found.append(
            (
                math.fsum(integrals),
                math.fsum(each for each in integrals if each > 0),
                float(sum(seconds for _, seconds in held)),
            )
        )
    return found


def integrals_of(stored: Stored, borders: list[int], widths: list[int]) -> Integrals:
    rows = stored.window(borders[0], borders[-1], widths)
    known = find_known_time(stored, rows)  # type: ignore[arg-type]
    pieces = cut_into_pieces(rows, known, np.array(borders) * SECOND)
    return integrate(pieces, buckets=len(borders) - 1)


@given(
    histories(),
    st.lists(st.sampled_from([0, 5, 60, 300, 3600]), min_size=1, max_size=4),
    st.integers(-1, 30),
    st.integers(1, 30),
    st.sampled_from([300, 900, 3600]),
)
def test_a_bucket_is_the_same_from_every_window_and_every_table(readings, widths, begin, length, step):
    borders = [step * place for place in range(begin, begin + length + 1)]
    widths = [width if width <= step else 0 for width in widths]
    found = integrals_of(Stored.of(readings), borders, widths)
    for place, (integral, positive, covered) in enumerate(expected(readings, borders)):
        scale = 1e-9 * max(abs(integral), positive, positive - integral)
        assert found.covered[place] == covered
        assert abs(found.integral[place] - integral) <= scale
        assert abs(found.positive[place] - positive) <= scale


def test_a_burst_does_not_take_the_days_before_away():
    """600 W every ten minutes for two days, then 600 readings a second apart."""
    readings = [(600 * place, 600.0) for place in range(288)]
    readings += [(172_800 + second, 600.0) for second in range(600)]
    days = [86_400 * day for day in range(4)]
    found = integrals_of(Stored.of(readings), days, [3600])
    assert (found.integral / 3.6e6).round(9).tolist() == [14.4, 14.4, round(600 * 599 / 3.6e6, 9)]
    assert (
        integrals_of(Stored.of(readings), days[:3], [3600]).integral.tolist() == found.integral[:2].tolist()
    )


def test_an_outage_among_fast_readings_is_not_known():
    """1 kW at 5 s for six hours, with forty minutes without a reading."""
    readings = [(second, 1000.0) for second in range(0, 21_600, 5) if not 7200 < second < 9600]
    found = integrals_of(Stored.of(readings), [0, 21_600], [3600])
    assert found.covered.tolist() == [21_595 - 2400]
    assert len(unknown_gaps(*rows_and_known(readings))[0]) == 1


def rows_and_known(readings: list[Reading]):
    stored = Stored.of(readings)
    rows = stored.window(0, 86_400, [60])
    return rows, find_known_time(stored, rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1e20, 3.4e38, 1e100])
def test_an_absurd_value_leaves_the_other_days_exact(value):
    readings = [(600 * place, value if place == 20 else 1000.0) for place in range(3 * 144)]
    found = integrals_of(Stored.of(readings), [0, 86_400, 172_800], [3600])
    assert found.integral[1] == 86_400_000
    assert found.integral[0] == pytest.approx(value * 600)


def test_a_lone_distance_is_known_and_so_is_a_change_of_rate():
    assert integrals_of(Stored.of([(0, 1.0), (5000, 2.0)]), [0, 7200], [3600]).covered.tolist() == [5000]
    readings = [(second, 1.0) for second in (*range(0, 3600, 900), *range(3600, 3700, 5))]
    assert integrals_of(Stored.of(readings), [0, 7200], [3600]).covered.tolist() == [3695]
