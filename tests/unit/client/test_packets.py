"""Packets become JSON with a time, or are refused while somebody can still mend them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.client import UnusablePacket
from joulebook.client.packets import LARGEST, encode

NOW = datetime(2026, 11, 21, 9, 30, 0, 5, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), JSON, max_size=5))
def test_every_json_object_stays_what_it_is_on_one_line(packet: dict[str, object]) -> None:
    text = encode(packet, now=NOW)
    assert b"\n" not in text
    assert json.loads(text) == {"timestamp": "2026-11-21T09:30:00.000005+00:00", **packet}


def test_a_packet_keeps_its_own_time() -> None:
    assert json.loads(encode({"timestamp": "2026-01-01T00:00:00Z"}, now=NOW)) == {
        "timestamp": "2026-01-01T00:00:00Z"
    }


def test_times_and_numbers_of_other_libraries_are_understood() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    packet = {"timestamp": summer, "a": np.float32(0.5), "b": np.int64(7), "c": Decimal("1.25")}
    assert json.loads(encode(packet, now=NOW)) == {
        "timestamp": "2026-07-01T10:00:00+00:00", "a": 0.5, "b": 7.0, "c": 1.25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (["power", 1], "a packet is a mapping, not list"),
        ({"timestamp": datetime(2026, 1, 1), "power": 1}, "has no zone"),
        ({"power": object()}, "a field is object"),
        ({"power": {1, 2}}, "a field is set"),
        ({"name": "\ud800"}, "cannot be written as JSON"),
        ({"name": "x" * LARGEST}, "bytes as JSON, at most"),
    ],
)
def test_what_can_never_be_sent_is_refused_at_once(packet: object, problem: str) -> None:
    with pytest.raises(UnusablePacket, match=problem):
        encode(packet, now=NOW)  # type: ignore[arg-type]


def test_a_packet_that_holds_itself_is_refused() -> None:
    packet: dict[str, object] = {}
    packet["self"] = packet
    with pytest.raises(UnusablePacket, match="cannot be written"):
        encode(packet, now=NOW)
