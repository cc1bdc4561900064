"""The file with the homes' charge and registers: a later start continues from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from joulebook.simulator.clock import BLOCK
from joulebook.simulator.home import HomeState
from joulebook.simulator.tokens import write_private


class _File(msgspec.Struct, forbid_unknown_fields=True):
    homes: dict[int, HomeState]


class UnableToReadState(Exception):
    """The file with the homes' states is damaged; the message has the remedy."""


def read_states(path: Path) -> dict[int, HomeState]:
    """Return the states of homes by their seeds; none where there is no file. Raises `UnableToReadState`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).homes
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as exc:
        raise UnableToReadState(f"{path} cannot be read: {exc}; remove it to begin anew") from exc


def write_states(path: Path, states: Mapping[int, HomeState]) -> None:
    """Replace the file in one step."""
    write_private(path, msgspec.json.encode(_File(homes=dict(states))).decode())


def resume(states: Mapping[int, HomeState], *, since: int, now: int) -> tuple[dict[int, HomeState], int]:
    """Return the states to begin with, and their instant (microseconds since 1970 UTC, as `since`).

    Homes cannot go back: a start before their states begins with them instead, and sends the packets of
    their block again. States after `now`, from a wrong clock, are left out.
    """
    usable = {seed: state for seed, state in states.items() if _start(state) <= now}
    return usable, max([since, *map(_start, usable.values())])


def _start(state: HomeState) -> int:
    return state.block * BLOCK * 1_000_000
