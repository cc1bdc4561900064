"""A script that imports over real HTTP: from the file on disk to readings, and back; and hostile bodies."""

from __future__ import annotations

import csv
import gzip
import io
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ..worker_process import keeping
from .working import expected, rows, stored

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def script(web: Any, alice: User, device: Device) -> Iterator[httpx.Client]:
    """Alice's script, with her token."""
    from joulebook.web.accounts.operations import issue_user_token

    headers = {"Authorization": f"Bearer {issue_user_token(alice)}"}
    with httpx.Client(base_url=web.url, headers=headers, timeout=60) as client:
        yield client


def ended(script: httpx.Client, address: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        told: dict[str, Any] = script.get(address).json()
        if told["state"] in states:
            return told
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


def in_pieces(content: bytes, size: int = 65_536) -> Iterator[bytes]:
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


def peak_mb(web: Any) -> float:
    """Return the most memory that the web has had, in megabytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{web.process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def test_a_file_becomes_readings_is_accounted_for_and_is_undone(
    script: httpx.Client, device: Device, telemetry: dict[str, str]
) -> None:
    content = gzip.compress((rows(3000) + "broken,1,2\n").encode())
    query = {
        "device": device.device_id,
        "name": "meter.csv.gz",
        "map": ["P=power:W", "E=energy:kWh"],
        "tz": "UTC",
    }
    sent = script.post(
        "/api/imports", params=query, content=in_pieces(content)
    )  # in chunks, of no known length
    assert sent.status_code == 202, sent.text
    address = sent.headers["Location"]
    with keeping(telemetry["writer"]):
        told = ended(script, address, "done", "failed")
        assert (told["state"], told["problem"], told["progress"]) == ("done", "", None)
        assert told["counts"]["cells_stored"] == 6000
        assert told["report"]["rows"] == {
            "read": 3001, "imported": 3000, "rejected": 1, "rejected_by_code": {"time_malformed": 1},
        }  # fmt: skip
        assert stored(telemetry["reader"], device.device_id) == expected(3000)
        listed = script.get(told["links"]["rejected"])
        assert list(csv.reader(io.StringIO(listed.text)))[1:] == [
            ["3002", "", "time_malformed", "broken", "broken,1,2", ""]
        ]
        again = script.post("/api/imports", params=query, content=content)
        assert (again.status_code, again.json()["link"]) == (409, address)
        assert script.delete(address).status_code == 202
        assert ended(script, address, "undone", "failed")["state"] == "undone"
    assert stored(telemetry["reader"], device.device_id) == {}
    assert script.post("/api/imports", params=query, content=content).status_code == 202


def test_memory_stays_flat_however_large_the_file_and_whatever_it_inflates_to(
    script: httpx.Client, device: Device, web: Any
) -> None:
    query = {"device": device.device_id, "tz": "UTC"}
    header, lines = rows(1000).encode().split(b"\n", 1)
    small, large = (header + b"\n" + lines * times for times in (160, 1500))
    assert len(small) > 4 << 20
    for _ in range(3):  # until several of its threads have read a file once
        answer = script.post("/api/imports", params=query | {"force": "1"}, content=small)
        assert answer.status_code == 202
    before = peak_mb(web)
    answer = script.post("/api/imports", params=query, content=in_pieces(large))
    assert (answer.status_code, answer.json()["file"]["size"]) == (202, len(large))
    bomb = gzip.compress(bytes(4 << 20)) * 256
    answer = script.post("/api/imports", params=query | {"name": "bomb.gz"}, content=bomb)
    assert answer.status_code == 413
    assert "bomb.gz swells" in answer.json()["detail"]
    files = {"file": ("meter.csv", large)}
    assert script.post("/api/imports", params=query | {"force": "1"}, files=files).status_code == 202
    grown = peak_mb(web) - before
    print(f"\n{len(large) >> 20} MB twice, and 1 GB in 1 MB: {grown:.0f} MB of memory more")  # noqa: T201
    assert grown < 40


@pytest.mark.slow
def test_pages_are_answered_and_memory_is_flat_beside_an_upload_of_200_megabytes(
    script: httpx.Client, device: Device, web: Any
) -> None:
    header, lines = rows(1000).encode().split(b"\n", 1)
    times = 200_000_000 // len(lines) + 1
    size = len(header) + 1 + times * len(lines)

    def body() -> Iterator[bytes]:
        yield header + b"\n"
        for _ in range(times):
            yield lines

    query = {"device": device.device_id, "tz": "UTC"}
    for _ in range(3):  # until several of its threads have read a file once
        content = header + b"\n" + lines * 160
        assert script.post("/api/imports", params=query | {"force": "1"}, content=content).status_code == 202
    before = peak_mb(web)
    answers: list[httpx.Response] = []
    headers = {"Content-Length": str(size)}
    sending = threading.Thread(
        target=lambda: answers.append(
            script.post("/api/imports", params=query, content=body(), headers=headers, timeout=600)
        )
    )
    begin = time.monotonic()
    sending.start()
    waits = []
    while sending.is_alive():
        asked = time.monotonic()
        assert httpx.get(f"{web.url}/sign-in/").status_code == 200
        waits.append(time.monotonic() - asked)
        time.sleep(0.1)
    (answer,) = answers
    assert (answer.status_code, answer.json()["file"]["size"]) == (202, size)
    grown, took = peak_mb(web) - before, time.monotonic() - begin
    told = (
        f"{size >> 20} MB in {took:.0f} s, {grown:.0f} MB of memory more, pages in at most {max(waits):.2f} s"
    )
    print(f"\n{told}")  # noqa: T201
    assert grown < 60


def test_who_is_not_signed_in_is_refused_before_a_large_body_is_taken_in(web: Any, device: Device) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1 << 20)

    with pytest.raises(httpx.HTTPError), httpx.Client(base_url=web.url, timeout=20) as stranger:
        answer = stranger.post("/api/imports", params={"device": device.device_id}, content=endless())
        assert answer.status_code == 413
        raise httpx.HTTPError("refused in order")
    assert taken < 64


def test_a_form_of_a_hundred_thousand_parts_is_refused_and_others_are_served(
    script: httpx.Client, device: Device
) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n1\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = part * 100_000 + b"--x--\r\n"
    answer = script.post("/api/imports", params={"device": device.device_id}, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert script.get("/api/imports").json() == {"imports": [], "next": None}
