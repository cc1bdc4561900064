"""How many files of the source one packet, one file and one question pass through: a newcomer has to follow them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from joulebook.web.accounts.operations import issue_user_token
from joulebook.web.devices.models import Device

from ..conftest import Service, free_port

RECORDER = Path(__file__).parent.parent / "entered_files.py"
GROUND = ("serving/", "embedded/", "config.py", "logs.py", "secret_key.py")
"""What every service stands on: its server, its start. A newcomer following a packet does not enter these."""
PACKET = {"timestamp": "2026-03-01T12:00:00Z", "power": 230.5}

pytestmark = pytest.mark.django_db(transaction=True)


class RecordedService(Service):
    """A service that records the files it enters."""

    def __init__(self, command: str, entered: Path) -> None:
        super().__init__(command, free_port())
        self.entered = entered

    def words(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, str(RECORDER), str(self.entered), self.command]

    def files_of(self, first: httpx.Request, request: httpx.Request) -> list[str]:
        """Return the files that `request` enters, after a `first` one has loaded what is loaded once."""
        with httpx.Client(timeout=60) as client:
            client.send(first).raise_for_status()
            self._write(signal.SIGUSR1)
            client.send(request).raise_for_status()
        self._write(signal.SIGUSR2)
        self.stop()
        return read_files(self.entered)

    def _write(self, number: signal.Signals) -> None:
        """Have the service write its list, and return when it has."""
        assert self.process is not None
        self.entered.unlink(missing_ok=True)
        self.process.send_signal(number)
        deadline = time.monotonic() + 60
        while not self.entered.exists():
            assert time.monotonic() < deadline, "the service writes no list"
            time.sleep(0.05)


def read_files(entered: Path) -> list[str]:
    """Return the recorded files, without the ground."""
    return [file for file in entered.read_text().split() if not file.startswith(GROUND)]


def test_a_packet_enters_few_files(device: Device, device_token: str, tmp_path: Path) -> None:
    service = RecordedService("ingest", tmp_path / "entered")
    service.start(path="/readyz")
    headers = {"Authorization": f"Bearer {device_token}"}
    requests = [
        httpx.Request(
            "POST", f"{service.url}/api/readings", json={**PACKET, "timestamp": moment}, headers=headers
        )
        for moment in ("2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z")
    ]
    files = service.files_of(*requests)
    assert any("packets" in file for file in files)
    assert len(files) <= 20, "\n".join(files)


def test_a_question_enters_few_files(
    device: Device, ingest: Service, device_token: str, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {device_token}"}
    httpx.post(f"{ingest.url}/api/readings", json=PACKET, headers=headers).raise_for_status()
    service = RecordedService("web", tmp_path / "entered")
    service.start(path="/readyz")
    headers = {"Authorization": f"Bearer {issue_user_token(device.owner)}"}
    address = f"{service.url}/api/history/{device.device_id}?range=all"
    files = service.files_of(*(httpx.Request("GET", address, headers=headers) for _ in range(2)))
    assert any("history" in file for file in files)
    assert len(files) <= 33, "\n".join(files)


def test_a_file_enters_few_files(device: Device, tmp_path: Path) -> None:
    source, entered = tmp_path / "meter.csv", tmp_path / "entered"
    source.write_text("time,power\n2026-03-01T12:00:00Z,1.5\n2026-03-01T12:01:00Z,2.5\n")
    command = [sys.executable, RECORDER, entered, "import", source, "--device", device.device_id]
    subprocess.run(command, check=True, env=os.environ, capture_output=True)
    files = read_files(entered)
    assert any("parser" in file for file in files)
    assert len(files) <= 85, "\n".join(files)
