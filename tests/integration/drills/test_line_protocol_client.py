"""A client that behaves as Telegraf does, through outages, 413, 401, its rate and refused lines: it loses only those."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest

from ...conftest import Service, free_port
from .faults import stopped_database
from .telegraf import TelegrafOutput

FIRST = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class Size:
    """How many lines, how many outages, and the lines a second that are allowed: ten times as many at once."""

    lines: int
    outages: int
    rate: int


SIZES = [
    pytest.param(Size(lines=6_000, outages=2, rate=250), id="6,000"),
    # Between two outages come 9,000 lines.
    pytest.param(Size(lines=200_000, outages=20, rate=750), id="200,000", marks=pytest.mark.slow),
]


@pytest.fixture(params=SIZES)
def size(request) -> Size:
    return request.param


@pytest.fixture(params=["v1", "v2"])
def version(request) -> str:
    """Which of the two outputs."""
    return request.param


@pytest.fixture
def limited(telemetry, size, version):
    """An ingest that takes fewer lines in a request than v2's batches have, and from v1 only so many a second."""
    limits = {"JOULEBOOK_INGEST_MAX_READINGS": "700"}
    if version == "v1":
        limits["JOULEBOOK_INGEST_RATE"] = str(size.rate)
    service = Service("ingest", free_port(), limits)
    service.start(path="/readyz")
    yield service
    service.stop()


def gathered(count: int, seed: int) -> tuple[list[str], dict[int, float]]:
    """Return lines in the order of their times, one in 500 of which is refused, and what is to be stored."""
    dice = random.Random(seed)
    lines, good = [], {}
    for number in range(count):
        second, value = FIRST + number, dice.uniform(-5e3, 5e3)
        if dice.random() < 0.002:
            lines.append(
                dice.choice([f"power value=nan {second}000000000", f"power value={value} {second}0000000000"])
            )
        else:
            lines.append(f'power,source=meter value={value!r},unit="W" {second}000000000')
            good[second] = value
    return lines, good


def stored(telemetry: dict[str, str], device_id: str) -> list[tuple[int, float]]:
    with psycopg.connect(telemetry["reader"]) as conn:
        return conn.execute(
            "SELECT extract(epoch FROM time)::int8, value FROM readings JOIN series ON series.id = series_id "
            "WHERE device_id = %s",
            [device_id],
        ).fetchall()


@pytest.mark.timeout(900)
def test_a_line_protocol_client_loses_only_what_was_refused(
    telemetry, limited, size, device_id, device_token, version
):
    count, outages = size.lines, size.outages
    # Version 1 drops whatever is answered 413 or 401: its batches fit, and its token is right.
    output = TelegrafOutput(
        limited.url,
        device_token if version == "v1" else "not yet configured",
        version=version,
        batch_size=250 if version == "v1" else 1000,
    )
    lines, good = gathered(count, seed=count)
    output.add(lines)
    given_up = threading.Event()

    def until(happened: Callable[[], bool]) -> None:
        while not happened() and not given_up.wait(0.005):
            pass

    def disturb() -> None:
        if version == "v2":
            until(lambda: output.statuses[401] >= 2)
            output.token = device_token
        for number in range(1, outages + 1):
            left = count - count * number // (outages + 2)
            until(lambda left=left: len(output) <= left)
            if number % 10 == 1:
                before = output.statuses[503]
                with stopped_database():
                    until(lambda before=before: output.statuses[503] > before)
            else:
                limited.kill()
                given_up.wait(0.3)
                limited.start()

    begin = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        disturbing = pool.submit(disturb)
        disturbing.add_done_callback(lambda done: done.exception() and given_up.set())
        try:
            output.flush(given_up)
        finally:
            given_up.set()
            output.close()
    disturbing.result()
    rows = stored(telemetry, device_id)
    # A line is refused again where its batch was sent again.
    told = sum(int(re.search(r"dropped=(\d+)", text)[1]) for text in output.dropped)
    refused = count - len(good)
    print(  # noqa: T201 - a drill reports its figures
        f"\nTelegraf's {version} output, {outages} outages, {time.monotonic() - begin:.0f} s: sent {count}, "
        f"refused {refused}, sent - stored: {count - len(rows)}, twice: {len(rows) - len({row[0] for row in rows})}; "
        f"answers {dict(sorted(output.statuses.items()))}"
    )
    assert dict(rows) == good
    assert len(rows) == len(good)
    assert refused <= told <= refused + 50
    assert output.without_retry_after == 0
    # All of it has happened; 0 stands for no answer at all.
    assert {204, 400, 0} | ({401, 413} if version == "v2" else {503}) <= set(output.statuses)
