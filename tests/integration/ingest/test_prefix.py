"""Ingest below a path of a shared host, behind a proxy that takes the path away, and behind one that does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from websockets.sync.client import connect

from ...conftest import Service, free_port

PUBLIC = "https://home.example/energy/ingest"
PREFIX = "/energy/ingest"


@pytest.fixture(scope="module")
def below(telemetry) -> Iterator[Service]:
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_URL": PUBLIC})
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.mark.parametrize("sent", ["", PREFIX], ids=["taken away", "passed on"])
def test_every_address_works_below_the_path(below, device_id, device_token, sent):
    """`sent` is what the proxy leaves of the path; the browser's address has it always."""
    in_browser = f"{PUBLIC}/docs"
    page = httpx.get(f"{below.url}{sent}/docs").text
    references = re.findall(r"(?:href|src)=\"([^\"]+)\"|url: '([^']+)'", page)
    named = [one or other for one, other in references if not (one or other).startswith("data:")]
    assert len(named) == 3
    for reference in named:
        address = urljoin(in_browser, reference)
        assert address.startswith(f"{PUBLIC}/"), address
        answer = httpx.get(f"{below.url}{sent}{address.removeprefix(PUBLIC)}")
        assert answer.status_code == 200, address
    assert httpx.get(f"{below.url}{sent}/openapi.json").json()["servers"] == [{"url": PUBLIC}]
    headers = {"Authorization": f"Bearer {device_token}"}
    body = {"timestamp": "2026-05-01T00:00:00Z", f"power{len(sent)}": 1}
    stored = httpx.post(f"{below.url}{sent}/api/readings", json=body, headers=headers)
    assert (stored.status_code, stored.json()["accepted"]) == (200, 1)
    address = f"{below.url.replace('http', 'ws')}{sent}/ws/device/{device_id}"
    with connect(address, additional_headers=headers) as connection:
        connection.send("{}")
        assert '"seq":1' in connection.recv(timeout=30)


def test_requests_below_the_path_count_under_their_own_route(below):
    httpx.get(f"{below.url}{PREFIX}/ping")
    text = httpx.get(f"{below.url}/metrics").text
    assert 'route="/ping"' in text
    assert PREFIX not in text
    assert httpx.get(f"{below.url}{PREFIX}ping").status_code == 404
