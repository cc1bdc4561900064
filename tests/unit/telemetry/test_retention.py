"""From when on a table is kept, by its chunks and the limits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.config import Config, ConfigError
from joulebook.telemetry.retention import HOUR, retained_from

WEEK = 7 * 24 * HOUR
CHUNKS = [(number * WEEK, (number + 1) * WEEK) for number in (0, 1, 2, 5)]


@pytest.mark.parametrize(
    ("limit", "bound", "expected"),
    [
        (None, 9 * WEEK, None),
        (WEEK - 1, 9 * WEEK, None),
        (WEEK, 9 * WEEK, WEEK),
        (4 * WEEK, 9 * WEEK, 3 * WEEK),
        (6 * WEEK, 9 * WEEK, 6 * WEEK),
        (6 * WEEK, 2 * WEEK + 1, 2 * WEEK),
        (6 * WEEK, 0, None),
    ],
)
def test_it_is_the_end_of_the_last_chunk_that_is_too_old_as_a_whole(limit, bound, expected):
    assert retained_from(CHUNKS, limit, bound=bound) == expected


@given(st.integers(0, 7 * WEEK), st.integers(0, 7 * WEEK))
def test_it_never_passes_the_limit_or_the_bound_and_cuts_no_chunk(limit, bound):
    found = retained_from(CHUNKS, limit, bound=bound)
    if found is not None:
        assert found <= min(limit, bound)
        assert not any(begin < found < end for begin, end in CHUNKS)


def settings(**values: str) -> Config:
    return Config.from_environ({f"JOULEBOOK_KEEP_{name}": value for name, value in values.items()})


def test_everything_is_kept_for_ever_by_default():
    assert dict(settings().keep) == dict.fromkeys(("readings", "readings_1m", "readings_5m", "readings_1h"))


def test_ages_are_days_weeks_or_years_of_366_days():
    keep = settings(READINGS="400d", **{"1M": "60w", "5M": "10y"}).keep
    assert keep["readings"] == timedelta(days=400)
    assert keep["readings_1m"] == timedelta(weeks=60)
    assert keep["readings_5m"] == timedelta(days=3660)
    assert keep["readings_1h"] is None


@pytest.mark.parametrize("text", ["0d", "400", "d", "-3d", "1.5y", "400 d", "101y", "٣d", "for ever"])
def test_what_is_no_age_is_refused_with_the_value(text):
    with pytest.raises(ConfigError, match="JOULEBOOK_KEEP_READINGS") as caught:
        settings(READINGS=text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"1M": "400d"}, "JOULEBOOK_KEEP_1M='400d' is shorter than JOULEBOOK_KEEP_READINGS='' (for ever)"),
        ({"READINGS": "2y", "1M": "700d"}, "JOULEBOOK_KEEP_1M='700d' is shorter than JOULEBOOK_KEEP_READINGS='2y'"),
        ({"READINGS": "1y", "1H": "5y"}, "JOULEBOOK_KEEP_1H='5y' is shorter than JOULEBOOK_KEEP_5M='' (for ever)"),
    ],
)  # fmt: skip
def test_rollups_are_kept_at_least_as_long_as_what_they_sum_up(values, named):
    with pytest.raises(ConfigError) as caught:
        settings(**values)
    assert named in str(caught.value)
