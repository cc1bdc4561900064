"""Lengths of time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.web.display import format_duration, read_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90 s", 90),
        ("15min", 900),
        (" 2 h ", 7200),
        ("1 day", 86_400),
        ("1,5 h", 5400),
        ("0.5 Min.", 30),
    ],
)
def test_a_length_of_time_is_read(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5 min", "5 weeks", "1e3", "nan", "1 h 30 min", "9" * 10, "٣"])
def test_what_is_none_is_refused_with_how_to_write_it(text):
    with pytest.raises(ValueError, match="write 90 s, 15 min, 2 h or 1 d"):
        read_duration(text)


@given(st.integers(1, 999_999_999))
def test_what_is_written_is_read_as_the_same(seconds):
    assert read_duration(format_duration(seconds)) == seconds
