"""Bodies of plain lines are read a column at a time, and come out as if read line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.wires.line_protocol.lines import LineRules, parse_lines
from joulebook.telemetry.line_protocol.plain import read_plain_lines

T = 1_760_000_000_000_000_000

RULES = LineRules(
    grant=Grant(token="jbd_meter", devices=frozenset({"meter", "boiler"}), device_id="meter"),
    arrived_at=T // 1_000,
    oldest=0,
    most_readings=100,
)

heads = st.sampled_from(
    ["m", "m,a=1", "m,device=boiler", "n,device=other", "", ",a=1", "m,a", "m,a=1,a=2", "µ"]
)
NUMBERS = "f=1 f=-2.5 g=.5 g=1. f=7i f=t f=1e5 h.x=0 \x01=1"
ODD = "=1 f= f f=1=2 f=1_0 f=--1 f=1-2 f=- f=. f=nan f=1e400 f=9223372036854775808i"
fields = st.sampled_from([*NUMBERS.split(" "), *ODD.split(" "), "f=" + "9" * 120])
stamps = st.sampled_from([T, T, T, T + 10**9, T - 10**9, "", 1, -1, 9 * 10**18, "12x", "0" * 20, T + 10**13])
lines = st.tuples(heads, st.lists(fields, min_size=1, max_size=3).map(",".join), stamps.map(str)).map(
    " ".join
)


@given(st.lists(lines, min_size=1, max_size=6).map("\n".join), st.sampled_from(["", "\n", "\n\n", "\n "]))
def test_columns_hold_what_the_lines_hold(text, end):
    body = (text + end).encode()
    assert parse_lines(body, RULES) == parse_lines(body, RULES, fast=False)


def test_plain_lines_come_as_columns():
    found = read_plain_lines(b"m,a=1 f=1.5,g=2i 10\nm f=t 20\n")
    assert found is not None
    assert found.head == [b"m,a=1", b"m,a=1", b"m"]
    assert found.key == [b"f", b"g", b"f"]
    assert found.value == [1.5, 2.0, 1.0]
    assert found.stamp == [10, 10, 20]
    assert found.line == [0, 0, 1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"m f=1 10\nm f=1\n",
        b"m f=1 10\n\nm f=1 20",
        b'm f="x" 10\nm f=1 20',
        b"m\\ n f=1 10\nm f=1 20",
        b"# f=1 10\nm f=1 20",
        b"m f=1 10\r\nm f=1 20\r\n",
        b"m f=1 10\nm f=1\t20",
        b"m f=1 10\n f=1 20",
        b"m f=1,=1 10\nm f=1 20",
        b"m f=1=2 10\nm f,3 20",
        b"m f=x 10\nm f=1 20",
        b"m f=1 -10\nm f=1 20",
        b"m f=1 10 m\nf=1 20",
    ],
)
def test_a_body_with_any_other_line_is_left_to_those_who_read_lines(body):
    assert read_plain_lines(body) is None
