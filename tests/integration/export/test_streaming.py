"""Exports over real HTTP: sent while they are read, ended with their client, and broken off where they break."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from joulebook.web.history.export.api import EXPORTS_OF_ONE_PERSON

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

NOON = 1_772_366_400_000_000
READINGS = 1_000_000
"""Some 40 MB of CSV: far more than the server and the sockets hold before a client takes it."""
_RECEIVED_AT_MOST = 256 * 1024
"""By the client's socket: the kernel would let it grow to 32 MB, as much as nearly the whole export."""

_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND usename = 'joulebook_reader'"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE state = 'idle in transaction' AND usename = 'joulebook_reader'"
)


@pytest.fixture
def address(transactional_db: None, web: Any, device: Device, alice: User, telemetry: dict[str, str]) -> str:
    """The address of a long export, on the web in its own processes."""
    with psycopg.connect(telemetry["owner"], autocommit=True) as conn:
        (series,) = conn.execute(
            "INSERT INTO series (device_id, metric) VALUES (%s, 'power') RETURNING id", [device.device_id]
        ).fetchone()  # type: ignore[misc]
        conn.execute(
            "INSERT INTO readings (time, value, series_id) "
            "SELECT TIMESTAMPTZ 'epoch' + (%s + n * 100000::int8) * INTERVAL '1 microsecond', n / 3.0::float8, %s "
            "FROM generate_series(0, %s - 1) AS n",
            [NOON, series, READINGS],
        )
    return f"{web.url}/api/export/{device.device_id}"


@pytest.fixture
def token(address: str, alice: User) -> dict[str, str]:
    from joulebook.web.accounts.operations import issue_user_token

    return {"Authorization": f"Bearer {issue_user_token(alice)}", "Accept-Encoding": "identity"}


@pytest.fixture
def watching(telemetry: dict[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
        yield conn


@contextlib.contextmanager
def taking_little(address: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """Ask for an export, of which little is on its way while the client does not read."""
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_AT_MOST)]
    with (
        httpx.Client(transport=httpx.HTTPTransport(socket_options=options), timeout=60) as client,
        client.stream("GET", address, headers=headers) as answer,
    ):
        yield answer


def open_snapshots(watching: psycopg.Connection) -> int:
    return int(watching.execute(_OPEN).fetchone()[0])  # type: ignore[index]


def eventually(condition: Callable[[], bool], *, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_long_export_is_whole_and_came_in_pieces_without_a_length(
    address: str, token: dict[str, str]
) -> None:
    lines = 0
    with httpx.stream("GET", address, headers=token, timeout=60) as answer:
        assert "Content-Length" not in answer.headers
        for chunk in answer.iter_raw():
            lines += chunk.count(b"\n")
    assert lines == READINGS + 1


def test_a_client_that_goes_away_ends_the_query_and_its_snapshot(
    address: str, token: dict[str, str], watching: psycopg.Connection
) -> None:
    with taking_little(address, token) as answer:
        pieces = answer.iter_raw()  # once nothing refers to it, the connection is closed
        next(pieces)
        assert eventually(lambda: open_snapshots(watching) == 1)
    assert eventually(lambda: open_snapshots(watching) == 0)


def test_a_person_whose_exports_nobody_takes_leaves_pages_and_exports_to_others(
    address: str, web: Any, token: dict[str, str], bob: User, watching: psycopg.Connection
) -> None:
    from joulebook.web.accounts.operations import issue_user_token

    his = {"Authorization": f"Bearer {issue_user_token(bob)}"}
    with contextlib.ExitStack() as stack:
        for _ in range(EXPORTS_OF_ONE_PERSON):
            stalled = stack.enter_context(taking_little(address, token))
            assert stalled.status_code == 200
        late = httpx.get(address, headers=token, timeout=60)
        assert (late.status_code, "yours" in late.text) == (503, True)
        for _ in range(10):
            assert httpx.get(f"{web.url}/api/devices", headers=his, timeout=60).status_code == 200
            assert httpx.get(f"{web.url}/api/devices", headers=token, timeout=60).status_code == 200
        with httpx.stream("GET", address, headers=his, timeout=60) as answer:
            assert answer.status_code == 200
            assert sum(chunk.count(b"\n") for chunk in answer.iter_bytes()) == READINGS + 1
    assert eventually(lambda: open_snapshots(watching) == 0)


def test_an_export_that_breaks_on_its_way_does_not_look_whole(
    address: str, token: dict[str, str], watching: psycopg.Connection
) -> None:
    with (
        taking_little(address, token) as answer,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        pieces = answer.iter_raw()
        next(pieces)
        assert eventually(lambda: open_snapshots(watching) == 1)
        watching.execute(_END)
        for _ in pieces:
            pass
    again = httpx.get(f"{address}?start=2026-03-01T12:00:00Z&end=2026-03-01T12:00:01Z", headers=token)
    assert len(again.text.splitlines()) == 11
