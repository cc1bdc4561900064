"""The id of a request: in its answer, in the body of a failure, and in the lines of the log about it."""

from __future__ import annotations

import re
import socket

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from ...conftest import Service, free_port
from ..ingest.conftest import until

NOWHERE = make_conninfo("postgresql://joulebook@127.0.0.1:1/none", connect_timeout="2")
RECORD = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:INFO|WARNING|ERROR) +(web|ingest)\[\d+\] [\w.]+"
)


@pytest.fixture(scope="module", params=["web", "ingest"])
def service(request, telemetry):
    """A service that trusts the proxy on this machine, and whose database of readings is away."""
    away = {"JOULEBOOK_TELEMETRY_URL": NOWHERE, "JOULEBOOK_TELEMETRY_WRITER_URL": NOWHERE}
    made = Service(request.param, free_port(), {**away, "JOULEBOOK_TRUSTED_PROXIES": "127.0.0.1"})
    made.start()
    yield made
    made.stop()


def test_an_untrusted_clients_id_is_replaced(web, ingest):
    for each in (web, ingest):
        ids = {
            httpx.get(f"{each.url}/livez", headers={"X-Request-ID": "mine"}).headers["X-Request-ID"]
            for _ in range(3)
        }
        assert len(ids) == 3
        assert "mine" not in ids


def test_a_trusted_proxys_id_is_kept_where_it_is_well_formed(service):
    def answered(given: str) -> str:
        return httpx.get(f"{service.url}/livez", headers={"X-Request-ID": given}).headers["X-Request-ID"]

    assert answered("proxy-1.A_b") == "proxy-1.A_b"
    for bad in ("a b", "x" * 65, "[forged]", "a;b"):
        assert answered(bad) != bad


def test_a_failure_carries_its_id(service, device, device_token, alice):
    from joulebook.web.accounts.operations import issue_user_token

    if service.command == "web":
        headers = {"Authorization": f"Bearer {issue_user_token(alice)}"}
        answer = httpx.get(
            f"{service.url}/api/history/{device.device_id}", headers={**headers, "X-Request-ID": "see-1"}
        )
    else:
        headers = {"Authorization": f"Bearer {device_token}", "X-Request-ID": "see-1"}
        answer = httpx.post(
            f"{service.url}/api/readings", headers=headers, json={"timestamp": "2026-05-01T00:00:00Z", "p": 1}
        )
    assert answer.status_code == 503
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "see-1"


def test_what_clients_send_makes_no_line_of_its_own_and_no_token_reaches_the_log(service):
    before = len(service.log.read_text())
    secret = "joulebook-token-in-an-address"
    port = int(service.url.rpartition(":")[2])
    forged = b"x\r2026-12-01T00:00:00.000Z ERROR web[1] forged: line"
    hostile = (
        b"GET /api/history/x?token=%s HTTP/1.1\r\nHost: evil.example\r\nX-Request-ID: see-2\r\n\r\n",
        b"GET /api/history/x?token=%s HTTP/1.1\r\nHost: \x1b[31mevil\r\n\r\n",
        b"GET /x?token=%s HTTP/1.1\r\nHost: " + forged + b"\r\n\r\n",
        b"GET /%%0d%%0aforged?token=%s HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-ID: " + forged + b"\r\n\r\n",
        b"\x16\x03\x01 %s\r\n\r\n",
    )
    for request in hostile:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request % secret.encode())
            connection.settimeout(1)
            try:
                while connection.recv(65_536):
                    pass
            except OSError:
                pass
    if service.command == "web":
        until(lambda: "see-2" in service.log.read_text()[before:], what="the foreign Host is not logged")
    log = service.log.read_text()[before:]
    assert secret not in log
    assert "\x1b" not in log
    lines = log.split("\n")[:-1]
    for line in lines:
        assert RECORD.match(line), line  # also no traceback: each of these is one line
    assert not [line for line in lines if line.startswith("2026-12-01T00:00:00.000Z")]
