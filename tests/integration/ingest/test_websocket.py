"""`/ws/device/{device_id}` over real WebSockets: acknowledgements, their order, and every end of a connection."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from django.utils import timezone
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ...conftest import Service, free_port
from .conftest import until, until_stopping, until_waiting

T0 = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
Open = Callable[..., ClientConnection]


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat()


def ask(connection: ClientConnection, message: object) -> dict:
    """Send a message and return its acknowledgement."""
    connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(connection.recv(timeout=20))


def closing(connection: ClientConnection, *, seconds: float = 60) -> tuple[int, str, list[dict]]:
    """Wait for the server to close; return its code, its reason, and what it still acknowledged."""
    answers = []
    deadline = time.monotonic() + seconds
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            answers.append(json.loads(connection.recv(timeout=deadline - time.monotonic())))
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason, answers


@pytest.fixture
def open_socket(ingest: Service, device_id: str, device_token: str) -> Iterator[Open]:
    """Connect as the device, to the session's ingest or another; closed at the end."""
    with ExitStack() as opened:

        def open_one(
            service: Service = ingest, *, token: str = device_token, device: str = device_id, query: str = ""
        ) -> ClientConnection:
            address = service.url.replace("http://", "ws://") + f"/ws/device/{device}{query}"
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return opened.enter_context(connect(address, additional_headers=headers))

        yield open_one


@pytest.fixture
def stored(telemetry: dict[str, str], device_id: str) -> Callable[[], dict[tuple[str, float], float]]:
    """Read back what is stored for the device: {(metric, seconds after T0): value}."""

    def read() -> dict[tuple[str, float], float]:
        with psycopg.connect(telemetry["reader"]) as conn:
            rows = conn.execute(
                "SELECT metric, extract(epoch FROM time - %s)::float8, value FROM readings "
                "JOIN series ON series.id = series_id WHERE device_id = %s",
                [T0, device_id],
            ).fetchall()
        assert len({row[:2] for row in rows}) == len(rows)
        return {(metric, second): value for metric, second, value in rows}

    return read


@contextmanager
def writes_held(telemetry: dict[str, str]) -> Iterator[None]:
    """Let every commit of readings wait, as a database does whose disk is slow."""
    with psycopg.connect(telemetry["superuser"]) as conn:
        conn.execute("LOCK TABLE readings IN EXCLUSIVE MODE")
        yield


def test_each_message_is_acknowledged_with_its_number_when_it_is_stored(open_socket, stored):
    connection = open_socket()
    first = ask(
        connection, {"timestamp": at(0), "power": 1240.5, "battery": {"voltage": 53.2}, "error": None}
    )
    assert first == {"seq": 1, "accepted": 2, "duplicate": 0, "rejected": [], "ignored": ["error"]}
    assert stored() == {("power", 0): 1240.5, ("battery.voltage", 0): 53.2}
    again = ask(connection, {"timestamp": at(0), "power": 1240.5})
    assert (again["seq"], again["accepted"], again["duplicate"]) == (2, 0, 1)


def test_a_message_without_a_reading_is_refused_and_text_is_stored(open_socket, stored):
    connection = open_socket()
    empty = ask(connection, {"timestamp": at(0), "phases": [{"power": 1}]})
    assert [one["code"] for one in empty["rejected"]] == ["nothing_stored"]
    assert empty["ignored"] == ["phases"]
    assert ask(connection, {"timestamp": at(0), "mode": "eco"})["accepted"] == 1
    assert set(stored()) == {("mode", 0)}


def test_text_binary_and_arrays_say_the_same(open_socket, stored):
    connection = open_socket()
    packet = json.dumps({"timestamp": at(0), "power": 1})
    assert ask(connection, packet)["accepted"] == 1
    assert ask(connection, packet.encode())["duplicate"] == 1
    assert ask(connection, f"[{packet}, {packet.replace('power', 'voltage')}]")["accepted"] == 1
    assert set(stored()) == {("power", 0), ("voltage", 0)}


def test_a_bad_reading_is_named_and_costs_neither_its_neighbours_nor_the_connection(open_socket, stored):
    connection = open_socket()
    answer = ask(
        connection,
        [
            {"timestamp": at(0), "power": 1},
            {"timestamp": "2026-04-01T12:00:01", "power": 2},
            {"device_id": "somebody_else", "power": 3},
        ],
    )
    assert (answer["accepted"], answer["rejected_total"]) == (1, 2)
    assert [one["code"] for one in answer["rejected"]] == ["time_ambiguous", "device_not_allowed"]
    assert ask(connection, {"timestamp": at(1), "power": 2})["accepted"] == 1
    assert set(stored()) == {("power", 0), ("power", 1)}


@pytest.mark.parametrize("message", ["", "{", b"\xff\xfe", "[" * 100_000])
def test_a_message_that_is_no_json_is_answered_and_the_next_is_stored(open_socket, stored, message):
    connection = open_socket()
    answer = ask(connection, message)
    assert (answer["seq"], answer["code"]) == (1, "unparsable")
    assert "retry_after" not in answer
    assert ask(connection, {"timestamp": at(0), "power": 1})["accepted"] == 1
    assert set(stored()) == {("power", 0)}


def test_parameters_of_the_address_hold_for_every_message(open_socket, stored):
    connection = open_socket(query="?precision=s&on_conflict=replace")
    assert ask(connection, {"timestamp": T0.timestamp(), "power": 1})["accepted"] == 1
    assert ask(connection, {"timestamp": T0.timestamp(), "power": 2})["replaced"] == 1
    assert stored() == {("power", 0): 2.0}


def test_many_messages_without_waiting_are_all_answered_in_their_order(open_socket, stored):
    connection = open_socket()
    count = 2_000
    sender = threading.Thread(
        target=lambda: [connection.send(json.dumps({"timestamp": at(n), "power": n})) for n in range(count)]
    )
    sender.start()
    answers = [json.loads(connection.recv(timeout=60)) for _ in range(count)]
    sender.join()
    assert [answer["seq"] for answer in answers] == list(range(1, count + 1))
    assert {answer["accepted"] for answer in answers} == {1}
    assert stored() == {("power", n): float(n) for n in range(count)}


def test_a_device_that_leaves_without_waiting_has_its_messages_stored(open_socket, stored):
    connection = open_socket()
    for second in range(10):
        connection.send(json.dumps({"timestamp": at(second), "power": second}))
    connection.close()
    until(lambda: len(stored()) == 10, what="they are not stored")


@pytest.mark.parametrize("token", ["", "nonsense", "jbd00000000_" + "x" * 43])
def test_without_a_token_in_force_the_handshake_is_refused(open_socket, token):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(token=token)
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["code"] == "unauthorized"


def test_another_device_and_one_that_is_not_there_get_the_same_refusal(open_socket, charlie):
    from joulebook.web.devices.operations import create_device

    create_device("device_of_charlie", owner=charlie)
    answers = []
    for device in ["device_of_charlie", "device_that_is_not"]:
        with pytest.raises(InvalidStatus) as refused:
            open_socket(device=device)
        assert refused.value.response.status_code == 403
        answers.append(json.loads(refused.value.response.body)["message"].replace(device, ""))
    assert answers[0] == answers[1]


def test_a_token_in_the_address_is_refused_and_not_logged(ingest, open_socket, device_token):
    for query, token in [(f"?token={device_token}", ""), (f"?token={device_token}", device_token)]:
        with pytest.raises(InvalidStatus) as refused:
            open_socket(query=query, token=token)
        assert refused.value.response.status_code == 400
    with pytest.raises(InvalidStatus):
        with connect(f"{ingest.url.replace('http', 'ws')}/ws/nowhere?token={device_token}"):
            pass
    assert device_token not in ingest.log.read_text()


def test_a_new_connection_takes_over_and_the_old_one_is_told_so(ingest, open_socket, stored, telemetry):
    old = open_socket()
    with writes_held(telemetry):
        old.send(json.dumps({"timestamp": at(0), "power": 1}))
        until_waiting(ingest, 1)
        new = open_socket()
        time.sleep(0.3)
    code, reason, answers = closing(old)
    assert (code, reason) == (4409, "a newer connection of this device has taken over")
    assert [(answer["seq"], answer["accepted"]) for answer in answers] == [(1, 1)]
    assert ask(new, {"timestamp": at(1), "power": 2})["accepted"] == 1
    assert len(stored()) == 2


def test_a_revoked_token_closes_its_connection_within_ten_seconds(open_socket, device):
    connection = open_socket()
    ask(connection, {"timestamp": at(0), "power": 1})
    device.tokens.get().revoke(now=timezone.now())
    before = time.monotonic()
    code, reason, _ = closing(connection)
    assert (code, reason) == (4401, "the token is no longer valid for this device")
    assert time.monotonic() - before < 10


def test_a_message_that_is_too_large_closes_the_connection(open_socket, stored):
    connection = open_socket()
    ask(connection, {"timestamp": at(0), "power": 1})
    connection.send(" " * (1 << 20) + " ")
    assert closing(connection)[0] == 1009
    assert set(stored()) == {("power", 0)}


def memory(pid: int) -> float:
    """Return what a process holds in memory, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def test_a_slow_database_slows_the_reader_and_memory_stays_flat(ingest, open_socket, telemetry, stored):
    connection = open_socket()
    ask(connection, {"timestamp": at(-1), "power": 0})
    padding = "x" * 500_000
    count = 200
    sent = 0

    def send_all() -> None:
        nonlocal sent
        for number in range(count):
            connection.send(json.dumps({"timestamp": at(number), "power": number, "text": padding}))
            sent += 1

    sender = threading.Thread(target=send_all)
    before = memory(ingest.process.pid)
    with writes_held(telemetry):
        sender.start()
        time.sleep(3)
        held, grown = sent, memory(ingest.process.pid) - before
    answers = [json.loads(connection.recv(timeout=60)) for _ in range(count)]
    sender.join()
    assert held < count / 2, f"the reader took {held} of {count} messages"
    assert grown < 50, f"memory grew by {grown:.0f} MB"
    assert {answer["accepted"] for answer in answers} == {1}
    assert len(stored()) == count + 1


@pytest.fixture
def own_ingest(telemetry: dict[str, str]) -> Iterator[Service]:
    """A further ingest process, which a test may stop."""
    service = Service("ingest", free_port())
    service.start(path="/readyz")
    yield service
    service.stop()


def test_at_sigterm_what_was_sent_is_answered_before_the_connection_ends(
    own_ingest, open_socket, telemetry, stored
):
    connection = open_socket(own_ingest)
    ask(connection, {"timestamp": at(-1), "power": 0})
    with writes_held(telemetry):
        for second in range(5):
            connection.send(json.dumps({"timestamp": at(second), "power": second}))
        until_waiting(own_ingest, 1)
        time.sleep(0.5)  # so that the other four have come too
        own_ingest.process.terminate()
        until_stopping(own_ingest)
        with pytest.raises(InvalidStatus) as refused:
            open_socket(own_ingest)
        assert refused.value.response.status_code == 503
        assert "Retry-After" in refused.value.response.headers
    code, reason, answers = closing(connection)
    assert (code, reason) == (1012, "ingest is stopping; connect again")
    assert [answer["accepted"] for answer in answers] == [1] * 5
    assert own_ingest.process.wait(timeout=60) in {0, -15}
    assert len(stored()) == 6


@pytest.fixture
def switch(telemetry: dict[str, str], tmp_path: Path) -> Iterator[tuple[Service, Path, Path]]:
    """An ingest whose way to the database is a link that a test makes: (service, link, target)."""
    address = conninfo_to_dict(telemetry["writer"])
    name = f".s.PGSQL.{address['port']}"
    target = Path(str(address["host"])) / name
    url = make_conninfo(telemetry["writer"], host=str(tmp_path))
    service = Service("ingest", free_port(), {"JOULEBOOK_TELEMETRY_WRITER_URL": url})
    service.start()
    yield service, tmp_path / name, target
    service.stop()


def test_while_the_database_is_away_a_message_is_to_be_sent_again_and_then_stored(
    switch, open_socket, stored
):
    service, link, target = switch
    connection = open_socket(service)
    packet = {"timestamp": at(0), "power": 1}
    away = ask(connection, packet)
    assert (away["seq"], away["code"]) == (1, "unavailable")
    assert away["retry_after"] > 0
    assert stored() == {}
    link.symlink_to(target)
    back = ask(connection, packet)
    assert (back["seq"], back["accepted"]) == (2, 1)
    assert stored() == {("power", 0): 1.0}


def test_a_request_without_a_handshake_is_no_connection(ingest, device_id, device_token):
    answer = httpx.get(
        f"{ingest.url}/ws/device/{device_id}", headers={"Authorization": f"Bearer {device_token}"}
    )
    assert answer.status_code == 404


@pytest.mark.slow
def test_a_device_that_answers_no_pings_is_closed_after_three(ingest, device_id, device_token):
    host, port = ingest.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as raw:
        raw.sendall(
            f"GET /ws/device/{device_id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {device_token}\r\n\r\n".encode()
        )
        assert b"101" in raw.recv(4096)
        began = time.monotonic()
        received = b""
        while chunk := raw.recv(4096):
            received += chunk
        lasted = time.monotonic() - began
    assert received[0] == 0x89, "a ping comes first"
    assert b"keepalive" in received
    assert 70 < lasted < 90
