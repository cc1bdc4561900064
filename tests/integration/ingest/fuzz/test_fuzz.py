"""Random requests against a running ingest: no fault of ours, no lost neighbour, no memory that grows.

Hypothesis makes packets, lines, encodings, addresses, headers, raw bytes and WebSocket messages;
schemathesis makes what the services' own OpenAPI documents allow and forbid.
"""

from __future__ import annotations

import itertools
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from joulebook.web.accounts.operations import issue_user_token
from joulebook.web.devices.operations import create_device, issue_device_token

from ....conftest import Service, free_port
from .neighbour import Neighbour
from .requests import Request, requests

LEGITIMATE = {200, 204, 307, 400, 401, 403, 404, 405, 413, 422, 426, 431}
MOST_GROWTH_MB = 30


@pytest.fixture
def fuzzed(telemetry) -> Iterator[Service]:
    """An ingest service of this test's own, which takes a megabyte at most."""
    service = Service(
        "ingest", free_port(), {"JOULEBOOK_INGEST_MAX_BYTES": "1048576", "JOULEBOOK_DEVICE_METRICS": "200"}
    )
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture
def neighbour(fuzzed, device_token, alice, device_id) -> Iterator[Neighbour]:
    """A good client of the same service, with a device of its own."""
    device = create_device(f"{device_id}_neighbour", owner=alice)
    with Neighbour(fuzzed.url, issue_device_token(device), device.device_id) as client:
        yield client


def resident_megabytes(service: Service) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Sender:
    """Sends requests of every kind and says what came back."""

    def __init__(self, service: Service) -> None:
        self.address = urlsplit(service.url)
        self.http = httpx.Client(base_url=service.url, timeout=30)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def send(self, request: Request) -> int:
        """Return the status, or 0 where the connection ended without one. Raises AssertionError."""
        if request.kind == "raw":
            return self.raw(request.content)
        if request.kind == "websocket":
            return self.websocket(request)
        halves = [request.content[:7], request.content[7:]]
        answer = self.http.request(
            request.method,
            request.target,
            content=request.content if request.kind == "http" else iter(halves),
            headers={name: value.encode("latin-1") for name, value in request.headers.items()},
        )
        assert answer.status_code in LEGITIMATE, answer.text
        if answer.content and answer.headers["Content-Type"] == "application/json":
            body = msgspec.json.decode(answer.content)
            if answer.status_code == 200 and request.target.startswith("/api/readings"):
                assert body["rejected"] == []
            if answer.status_code == 422:
                assert 0 < len(body["rejected"]) <= body["rejected_total"]
        return answer.status_code

    def raw(self, content: bytes) -> int:
        with socket.create_connection((self.address.hostname, self.address.port), timeout=30) as connection:
            try:
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionError:
                return 0
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
        assert set(statuses) <= LEGITIMATE | {100, 101}, answer
        return statuses[-1] if statuses else 0

    def websocket(self, request: Request) -> int:
        address = f"ws://{self.address.netloc}{request.target}"
        message = (
            request.content if request.method == "binary" else request.content.decode("utf-8", "replace")
        )
        try:
            with connect(address, additional_headers=request.headers, max_size=None) as connection:
                connection.send(message)
                told = msgspec.json.decode(connection.recv(timeout=30))
        except InvalidStatus as exc:
            status, closed = exc.response.status_code, None
        except ConnectionClosed as exc:
            status, closed = 0, exc.rcvd and exc.rcvd.code
        else:
            status, closed = 101, None
        if status != 101:
            assert (status, closed) in {(0, 1009), (400, None)}
            return status
        assert told["seq"] == 1
        assert "accepted" in told or told["code"] in {"unparsable", "too_large"}, told
        return 101


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "cases", [300, pytest.param(8_000, marks=pytest.mark.slow)], ids=["short", "8,000 cases"]
)
def test_no_request_harms_the_service_or_its_neighbour(
    telemetry, fuzzed, neighbour, device_id, device_token, cases
):
    statuses: Counter[int] = Counter()
    memory: list[float] = []
    number = itertools.count(1)

    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=cases < 1_000,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(device_token, device_id))
    def send_any(request: Request) -> None:
        statuses[sender.send(request)] += 1
        if next(number) == cases // 3:  # by then, what is kept once is there
            memory.append(resident_megabytes(fuzzed))

    with Sender(fuzzed) as sender:
        send_any()
    memory.append(resident_megabytes(fuzzed))
    assert httpx.get(f"{fuzzed.url}/readyz").status_code == 200
    neighbour.stop()
    lost = neighbour.lost(telemetry)
    print(  # noqa: T201 - a drill reports its figures
        f"\nfuzz: {statuses.total()} requests, answers {dict(sorted(statuses.items()))}; 5xx: 0; neighbour: "
        f"{neighbour.acknowledged} readings acknowledged, lost {lost}, slowest answer {neighbour.slowest * 1000:.0f} ms; "
        f"RSS {memory[0]:.0f} MB after a third, {memory[-1]:.0f} MB at the end"
    )
    assert statuses.total() >= cases
    assert {200, 204, 400, 401, 422} <= set(statuses)
    assert neighbour.wrong == []
    assert neighbour.acknowledged > 0
    assert lost == 0
    assert memory[-1] - memory[0] < MOST_GROWTH_MB
    assert "Traceback" not in fuzzed.log.read_text()


def schemathesis(settings_file: Path, address: str, token: str, examples: int, *more: str) -> int:
    """Run schemathesis from a service's own document; return how many cases it made."""
    command = [
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file",
        str(settings_file),
        "run",
        address,
    ]
    command += ["--header", f"Authorization: Bearer {token}", "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", str(examples), "--continue-on-failure", "--no-color", "--warnings", "off"]
    # A document of this kind cannot say which lines and statements are good, or which names exist.
    command += more if "--checks" in more else [*more, "--exclude-checks", "positive_data_acceptance"]
    if examples < 50:
        command += ["--seed", "20261121"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=settings_file.parent, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert found is not None, done.stdout
    return int(found[1].replace(",", ""))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "examples", [2, pytest.param(250, marks=pytest.mark.slow)], ids=["short", "250 an operation"]
)
def test_ingest_keeps_to_its_own_document(telemetry, fuzzed, neighbour, device_token, tmp_path, examples):
    settings_file = tmp_path / "settings.toml"
    settings_file.touch()
    cases = schemathesis(settings_file, f"{fuzzed.url}/openapi.json", device_token, examples)
    neighbour.stop()
    lost = neighbour.lost(telemetry)
    print(f"\nschemathesis on ingest: {cases} cases, 5xx: 0; neighbour lost {lost}")  # noqa: T201 - a drill reports
    assert neighbour.wrong == []
    assert lost == 0
    assert "Traceback" not in fuzzed.log.read_text()


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("examples", "asked"),
    [
        pytest.param(2, ["--include-path-regex", "history|live-ticket"], id="short"),
        pytest.param(
            250, ["--include-path-regex", "history|live-ticket"], marks=pytest.mark.slow, id="history"
        ),
        pytest.param(100, ["--include-path-regex", "import"], marks=pytest.mark.slow, id="imports"),
        pytest.param(100, ["--checks", "not_a_server_error"], marks=pytest.mark.slow, id="everything"),
    ],
)
def test_the_web_keeps_to_its_own_document(
    telemetry, web, alice, device_id, device_token, tmp_path, examples, asked
):
    settings_file = tmp_path / "settings.toml"
    settings_file.write_text(f'[parameters]\ndevice_id = "{device_id}"\n')
    address = f"{web.url}/api/openapi.json"
    cases = schemathesis(settings_file, address, issue_user_token(alice), examples, *asked)
    print(f"\nschemathesis on the web: {cases} cases, 5xx: 0")  # noqa: T201 - a drill reports its figures
