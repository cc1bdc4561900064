"""The homes' states survive on disk, and say from when on a start can go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulebook.simulator.clock import BLOCK
from joulebook.simulator.home import HomeState
from joulebook.simulator.state_file import UnableToReadState, read_states, resume, write_states

STATE = HomeState(block=2_000_000, stored=5_123.456789, produced=1.25e6, imported=3.5e5, exported=0.1)
BEGINS = STATE.block * BLOCK * 1_000_000


def test_states_are_read_back_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "states.json"
    write_states(path, {11: STATE})
    assert read_states(path) == {11: STATE}
    assert path.stat().st_mode & 0o777 == 0o600


def test_there_are_none_before_the_first_run(tmp_path: Path) -> None:
    assert read_states(tmp_path / "states.json") == {}


@pytest.mark.parametrize("text", ["", "{}", '{"homes": {"11": {"block": 1}}}', '{"homes": {"x": {}}}'])
def test_a_damaged_file_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "states.json"
    path.write_text(text)
    with pytest.raises(UnableToReadState, match="remove it"):
        read_states(path)


def test_a_start_before_the_state_begins_with_the_state() -> None:
    states, since = resume({11: STATE}, since=BEGINS - 1, now=BEGINS + 5)
    assert (states, since) == ({11: STATE}, BEGINS)


def test_a_start_after_the_state_keeps_its_time() -> None:
    states, since = resume({11: STATE}, since=BEGINS + 3, now=BEGINS + 5)
    assert (states, since) == ({11: STATE}, BEGINS + 3)


def test_a_state_of_a_clock_that_was_ahead_is_left_out() -> None:
    states, since = resume({11: STATE}, since=BEGINS - 7, now=BEGINS - 5)
    assert (states, since) == ({}, BEGINS - 7)
