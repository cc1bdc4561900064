"""Quotes: simple lines are exactly those that a regular expression for quoted cells matches."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.blocks import line_ends
from joulebook.telemetry.files.records import lines_with_odd_quotes

CELL = r'(?:"(?:[^"\n]|"")*"|[^",\n]*)'
SIMPLE = re.compile(rf"{CELL}(?:,{CELL})*\r?")


@settings(deadline=None, max_examples=500)
@given(st.lists(st.text(st.sampled_from('"",a\r'), max_size=10), min_size=1, max_size=8), st.booleans())
def test_a_line_is_odd_where_its_quotes_are_not_those_of_whole_cells(
    lines: list[str], is_ended: bool
) -> None:
    lines = [line.replace("\r", "") + ("\r" if line.endswith("\r") else "") for line in lines]
    data = ("\n".join(lines) + ("\n" if is_ended else "")).encode()
    ends = line_ends(data)
    odd = lines_with_odd_quotes(data, ends, quote='"', delimiter=",")
    assert odd.tolist() == [SIMPLE.fullmatch(line) is None for line in lines[: len(ends)]]
