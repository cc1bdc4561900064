"""A client that goes away takes its statement with it: the database works for nobody."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from joulebook.web.accounts.operations import issue_user_token

pytestmark = pytest.mark.django_db(transaction=True)

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'joulebook_reader' AND wait_event_type = 'Lock'"
)


def test_a_statement_ends_when_its_client_goes_away(
    web: Any, device: Any, alice: Any, telemetry: dict[str, str]
) -> None:
    with psycopg.connect(telemetry["owner"], autocommit=True) as conn:
        conn.execute("INSERT INTO series (device_id, metric) VALUES (%s, 'power')", [device.device_id])
    request = (
        f"GET /api/history/{device.device_id}?range=24h HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {issue_user_token(alice)}\r\n\r\n"
    )
    with (
        psycopg.connect(telemetry["superuser"]) as locking,
        psycopg.connect(telemetry["superuser"], autocommit=True) as watching,
    ):

        def waiting() -> int:
            return int(watching.execute(_WAITING).fetchone()[0])  # type: ignore[index]

        assert waiting() == 0
        locking.execute("LOCK TABLE readings IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])), timeout=60) as client:
            client.sendall(request.encode())
            assert eventually(lambda: waiting() == 1)
        gone_at = time.monotonic()
        assert eventually(lambda: waiting() == 0)
        # The role's own limit of a statement is half a minute.
        assert time.monotonic() - gone_at < 25
        locking.rollback()


def eventually(condition: Callable[[], bool], *, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
