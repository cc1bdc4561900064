"""One WebSocket a device over several ingest processes: the newest stays, wherever it is."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from joulebook.ingest.wires.websocket.announcements import Announcements, Begun

from ...conftest import Service, free_port
from ..drills.faults import stopped

LISTENING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'joulebook-connections'"


@pytest.fixture
def fresh(telemetry) -> Iterator[Service]:
    """An ingest process to which no device has connected yet."""
    service = Service("ingest", free_port())
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def other_ingest(telemetry) -> Iterator[Service]:
    """A further ingest process on the session's database."""
    service = Service("ingest", free_port())
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture
def processes(ingest, other_ingest) -> tuple[Service, Service]:
    """Two ingest processes on one database."""
    return ingest, other_ingest


@pytest.fixture
def open_at(device_id, device_token):
    """Connect as the device to an address."""
    with ExitStack() as opened:

        def open_one(url: str) -> ClientConnection:
            return opened.enter_context(
                connect(
                    f"{url.replace('http', 'ws')}/ws/device/{device_id}",
                    additional_headers={"Authorization": f"Bearer {device_token}"},
                )
            )

        yield open_one


def accepted(connection: ClientConnection) -> int:
    """Send a reading of the time of arrival, and return how many were accepted."""
    connection.send(json.dumps({"power": 1}))
    return int(json.loads(connection.recv(timeout=60))["accepted"])


def closed_with(connection: ClientConnection, *, seconds: float = 60) -> int:
    """Wait until the server closes, and return its code."""
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=seconds)
    assert closed.value.rcvd is not None
    return int(closed.value.rcvd.code)


def listeners(telemetry) -> set[int]:
    with psycopg.connect(telemetry["superuser"]) as conn:
        return {row[0] for row in conn.execute(LISTENING).fetchall()}


def test_a_newer_connection_at_another_process_takes_over_at_once(processes, open_at):
    first, second = processes
    older = open_at(first.url)
    assert accepted(older) == 1
    took = []
    for service in (second, first, second):
        newer = open_at(service.url)
        began = time.monotonic()
        assert closed_with(older) == 4409
        took.append(time.monotonic() - began)
        assert accepted(newer) == 1
        older = newer
    assert min(took) < 2, "a busy machine may hold one of them up"


def test_of_many_at_once_exactly_the_last_one_stays(processes, open_at):
    connections = [open_at(processes[number % 2].url) for number in range(10)]
    for older in connections[:-1]:
        assert closed_with(older) == 4409
    assert accepted(connections[-1]) == 1
    with pytest.raises(TimeoutError):
        connections[-1].recv(timeout=1)


def test_a_process_that_could_not_hear_learns_it_later(fresh, other_ingest, open_at, telemetry):
    """Its connection for news hangs and then breaks, and the newer connection begins meanwhile."""
    first, second = fresh, other_ingest
    before = listeners(telemetry)
    older = open_at(first.url)
    assert accepted(older) == 1
    deadline = time.monotonic() + 60
    while not (ours := listeners(telemetry) - before):
        assert time.monotonic() < deadline, "it does not listen for news"
        time.sleep(0.05)
    (deaf,) = ours
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn, stopped(deaf):
        newer = open_at(second.url)
        assert accepted(newer) == 1
        conn.execute("SELECT pg_terminate_backend(%s)", [deaf])
        with pytest.raises(TimeoutError):
            older.recv(timeout=1)
    assert closed_with(older) == 4409
    assert accepted(newer) == 1


def test_other_devices_are_left_alone(processes, open_at, alice, device_id):
    from joulebook.web.devices.operations import create_device, issue_device_token

    first, second = processes
    mine = open_at(first.url)
    other = create_device(f"{device_id}_other", owner=alice)
    headers = {"Authorization": f"Bearer {issue_device_token(other)}"}
    address = f"{second.url.replace('http', 'ws')}/ws/device/{other.device_id}"
    with connect(address, additional_headers=headers) as theirs:
        assert accepted(theirs) == 1
        with pytest.raises(TimeoutError):
            mine.recv(timeout=1)
    assert accepted(mine) == 1


def test_a_process_without_websockets_has_no_connection_for_them(telemetry, device_token, request):
    before = listeners(telemetry)
    service = request.getfixturevalue("fresh")
    headers = {"Authorization": f"Bearer {device_token}"}
    assert httpx.post(f"{service.url}/api/readings", json={"power": 1}, headers=headers).status_code == 200
    assert listeners(telemetry) <= before


def test_news_are_heard_where_descriptors_are_many(telemetry):
    """A process with thousands of devices opens its connection for news late, or anew."""
    heard: list[tuple[str, Begun]] = []

    async def run() -> None:
        ears = Announcements(telemetry["writer"], process="a", received=lambda *news: heard.append(news))
        mouth = Announcements(telemetry["writer"], process="b", received=lambda *_: None)
        ears.announce("begins to listen", Begun(0, "a"))
        mouth.announce("begins to listen", Begun(0, "b"))
        for number in range(1, 100):
            mouth.announce("meter", Begun(number, "b"))
            await asyncio.sleep(0.1)
            if any(device == "meter" for device, _ in heard):
                break
        await ears.close()
        await mouth.close()

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    many = [os.dup(0) for _ in range(1100)]
    try:
        asyncio.run(run())
    finally:
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert next((device, begun.process) for device, begun in heard if device) == ("meter", "b")
