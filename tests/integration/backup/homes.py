"""Homes of their own for tests of backups: commands, services and databases in them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase

from ...conftest import Service, free_port
from .fingerprints import Fingerprint, of_accounts, of_telemetry

WATCHED = Path(__file__).with_name("watched.py")
PATIENCE = 400


class Home:
    """A JOULEBOOK_HOME with ports of its own."""

    def __init__(self, path: Path, **environment: str) -> None:
        self.path = path
        self.environment = {
            **os.environ,
            "JOULEBOOK_HOME": str(path),
            "JOULEBOOK_WEB_PORT": str(free_port()),
            "JOULEBOOK_INGEST_PORT": str(free_port()),
            **environment,
        }
        self.database = EmbeddedDatabase(Config.from_environ(self.environment))

    def try_(self, *words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Joulebook's in this home, whatever comes of it."""
        return self._python("-m", "joulebook", *words, stdin=stdin, **environment)

    def run(self, *words: str, stdin: str = "", **environment: str) -> str:
        """Run a command that has to succeed; return what it printed."""
        done = self.try_(*words, stdin=stdin, **environment)
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def watched(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that stops at the points between its steps; see `watched`."""
        named = {f"JOULEBOOK_TEST_{name.upper()}": value for name, value in environment.items()}
        return self._python(str(WATCHED), *words, **named)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and return its process."""
        return subprocess.Popen(
            [sys.executable, "-m", "joulebook", *words],
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def in_django(self, code: str) -> None:
        """Run Python code where Joulebook's models can be used."""
        done = self._python(
            "-c", f"from joulebook.cli.django_setup import setup_django; setup_django(); {code}"
        )
        assert done.returncode == 0, done.stderr

    def connect(self, role: str = "reader") -> psycopg.Connection:
        """Connect to its readings."""
        return psycopg.connect(self.database.url(role), autocommit=True)  # type: ignore[arg-type]

    def fingerprints(self) -> dict[str, Fingerprint]:
        """Return what its databases hold."""
        with self.connect("owner") as conn:
            telemetry = of_telemetry(conn)
        return {"accounts": of_accounts(self.path / "joulebook.sqlite3"), "telemetry": telemetry}

    def values(self, device: str) -> list[tuple[str, datetime, float]]:
        """Return a device's readings."""
        with self.connect() as conn:
            return conn.execute(
                "SELECT metric, time, value FROM readings JOIN series ON id = series_id "
                "WHERE device_id = %s ORDER BY 1, 2",
                [device],
            ).fetchall()

    @contextmanager
    def service(self, command: str) -> Iterator[Service]:
        """Run one of its services."""
        service = Service(
            command, int(self.environment[f"JOULEBOOK_{command.upper()}_PORT"]), self.environment
        )
        service.start(path="/readyz")
        try:
            yield service
        finally:
            service.stop()

    @contextmanager
    def worker(self) -> Iterator[Path]:
        """Run its worker; give the file of its log."""
        log = self.path.with_name(f"{self.path.name}-worker.log")
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "joulebook", "worker"],
                env=self.environment, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            yield log
        finally:
            process.kill()
            process.wait()

    def _python(self, *words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment | environment,
            input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip


class Sender:
    """A device that sends a batch after another, each when the one before is acknowledged, until the block ends."""

    METRICS, PACKETS = 10, 50
    START = datetime(2026, 6, 1, tzinfo=UTC)

    def __init__(self, url: str, token: str, *, pause: float = 0.1) -> None:
        self.sent = 0
        self.acknowledged = 0
        self._address = f"{url}/api/readings"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pause = pause
        self._stopping = threading.Event()
        self._failed: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        assert self._failed == []

    def _run(self) -> None:
        with httpx.Client(timeout=60) as http:
            while not self._stopping.wait(self._pause):
                first = self.sent * self.PACKETS
                packets = [
                    {"timestamp": (self.START + timedelta(seconds=first + row)).isoformat()}
                    | {f"m{metric}": first + row for metric in range(self.METRICS)}
                    for row in range(self.PACKETS)
                ]
                self.sent += 1
                answer = http.post(self._address, json=packets, headers=self._headers)
                if answer.status_code != 200:
                    self._failed.append(answer.text)
                    return
                self.acknowledged += 1


def until(true, *, what, seconds: float = PATIENCE) -> None:
    """Return when something has come true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
