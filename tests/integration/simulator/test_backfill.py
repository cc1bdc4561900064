"""The past in a real TimescaleDB: complete after any interruption, and joined to the live packets."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pytest

from joulebook.simulator.backfill import WINDOW, Backfill
from joulebook.simulator.devices import DEVICE_KINDS
from joulebook.simulator.fleet import MICROSECONDS, Fleet
from joulebook.simulator.home import Home, HomeState
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.writer import Outcome, write_batch

BORDER = 2_900 * WINDOW  # of two chunks
START, END = BORDER - 5_003, BORDER + 2_417
SERIES = sum(len(kind.metrics) for kind in DEVICE_KINDS)


@pytest.fixture
def device_ids() -> list[str]:
    unique = uuid.uuid4().hex[:8]
    return [f"{unique}-{number}" for number in range(3)]


def fill(
    conn: psycopg.Connection, device_ids: list[str], end: int = END, *states: HomeState
) -> tuple[HomeState, list[tuple[int, int]]]:
    home, told = Home(3), []
    known = [home.begin(START), *states]
    state = Backfill(conn, home, device_ids).run(
        known, start=START, end=end, told=lambda *args: told.append(args)
    )
    return state, told


def stored(conn: psycopg.Connection, device_ids: list[str]) -> dict[tuple[str, str], dict[int, float]]:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for device_id, metric, time, value in conn.execute(
        "SELECT device_id, metric, extract(epoch FROM time)::bigint, value"
        " FROM readings JOIN series ON series.id = series_id WHERE device_id = ANY(%s)",
        (device_ids,),
    ):
        found.setdefault((device_id, metric), {})[time] = value
    return found


def expected(device_ids: list[str], end: int = END) -> dict[tuple[str, str], dict[int, float]]:
    """What the packets of a fleet say, second by second: another way to the same readings."""
    fleet = Fleet(device_ids, start=START, seed=3)
    found: dict[tuple[str, str], dict[int, float]] = {}
    for second in range(START, end):
        for number, packet in fleet.packets(fleet.ticks.first_at(second * MICROSECONDS)):
            for metric, value in flat(json.loads(packet)).items():
                found.setdefault((device_ids[number], metric), {})[second] = value
    return found


def flat(packet: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in packet.items():
        if isinstance(value, dict):
            found |= flat(value, f"{name}.")
        elif name != "timestamp":
            found[prefix + name] = value
    return found


def test_the_past_is_what_the_simulator_would_have_sent(
    writer: psycopg.Connection, device_ids: list[str]
) -> None:
    state, told = fill(writer, device_ids)
    wanted = expected(device_ids)
    assert len(wanted) == SERIES
    assert stored(writer, device_ids) == wanted
    count = sum(map(len, wanted.values()))
    assert told[-1] == (count, count)
    assert state == Home(3).seek(Home(3).begin(START), END)


def test_a_second_run_writes_nothing(writer: psycopg.Connection, device_ids: list[str]) -> None:
    fill(writer, device_ids)
    before = stored(writer, device_ids)
    _, told = fill(writer, device_ids)
    assert told == []
    assert stored(writer, device_ids) == before


@pytest.mark.parametrize("after", [1, 4, SERIES, SERIES + 2])
def test_an_interrupted_write_is_completed_by_the_next(
    writer: psycopg.Connection, device_ids: list[str], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    calls = 0

    def write_some(conn: psycopg.Connection, batch: Batch) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        write_batch(conn, batch)

    monkeypatch.setattr("joulebook.simulator.backfill.write_batch", write_some)
    monkeypatch.setattr("joulebook.simulator.backfill._ROWS", 2_000)
    with pytest.raises(KeyboardInterrupt):
        fill(writer, device_ids)
    monkeypatch.undo()
    fill(writer, device_ids)
    assert stored(writer, device_ids) == expected(device_ids)


def test_a_later_run_continues_from_the_kept_state_without_a_jump(
    writer: psycopg.Connection, device_ids: list[str]
) -> None:
    state, _ = fill(writer, device_ids, BORDER - 1_000)
    _, told = fill(writer, device_ids, END, state)
    assert told[-1][0] < sum(map(len, expected(device_ids).values()))
    assert stored(writer, device_ids) == expected(device_ids)


def test_readings_that_were_sent_live_are_not_written_again(
    writer: psycopg.Connection, device_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, device_ids, BORDER + 600)
    outcomes: list[int] = []

    def write_and_note(conn: psycopg.Connection, batch: Batch) -> None:
        outcomes.extend(np.unique(write_batch(conn, batch)).tolist())

    monkeypatch.setattr("joulebook.simulator.backfill.write_batch", write_and_note)
    fill(writer, device_ids)
    assert set(outcomes) == {Outcome.STORED}


def test_a_window_is_a_chunk_of_the_hypertable(writer: psycopg.Connection, device_ids: list[str]) -> None:
    """Otherwise the key would not be written densely: this is what the borders are for."""
    fill(writer, device_ids)
    rows = writer.execute(
        "SELECT range_start, range_end FROM timescaledb_information.chunks"
        " WHERE hypertable_name = 'readings' AND range_start <= %s AND range_end >= %s ORDER BY range_start",
        (datetime.fromtimestamp(BORDER, UTC), datetime.fromtimestamp(BORDER, UTC)),
    ).fetchall()
    assert [int(bound.timestamp()) for row in rows for bound in row] == [
        BORDER - WINDOW,
        BORDER,
        BORDER,
        BORDER + WINDOW,
    ]
