"""A Joulebook of the benchmark's own: database, ingest and web on free ports, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase


def free_port() -> int:
    """Return a loopback port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stack:
    """The running parts, and how to reach them."""

    home: Path
    ingest_port: int
    web_port: int
    writer_url: str
    reader_url: str
    user_token: str
    device_tokens: dict[str, str] = field(default_factory=dict)

    @property
    def ingest_url(self) -> str:
        """Where devices send."""
        return f"http://127.0.0.1:{self.ingest_port}"

    @property
    def web_url(self) -> str:
        """Where people read."""
        return f"http://127.0.0.1:{self.web_port}"

    def add_device(self, device_id: str) -> str:
        """Create a device of the benchmark's user and return its token."""
        token = _joulebook("device", "add", device_id, "--owner", "bench").strip()
        self.device_tokens[device_id] = token
        return token


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Start everything in a home of its own; stop and remove it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="joulebook-bench-"))
    home.chmod(0o755)
    ports = free_port(), free_port()
    os.environ.update(
        JOULEBOOK_HOME=str(home),
        JOULEBOOK_INGEST_PORT=str(ports[0]),
        JOULEBOOK_WEB_PORT=str(ports[1]),
        DJANGO_SETTINGS_MODULE="joulebook.web.settings",
    )
    database = EmbeddedDatabase(Config.from_environ())
    database.start()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        _joulebook("migrate")
        _joulebook("user", "add", "bench", "--password-stdin", stdin="only for this benchmark\n")
        stack = Stack(
            home=home,
            ingest_port=ports[0],
            web_port=ports[1],
            writer_url=database.url("writer"),
            reader_url=database.url("reader"),
            user_token=_joulebook("user", "token", "bench").strip(),
        )
        for command, port in (("ingest", ports[0]), ("web", ports[1])):
            processes.append(_start(home, command))
            _wait(f"http://127.0.0.1:{port}/readyz")
        yield stack
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=40)
        database.stop()
        shutil.rmtree(home, ignore_errors=True)


def _joulebook(*words: str, stdin: str = "") -> str:
    command = [sys.executable, "-m", "joulebook", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:2])} failed: {done.stderr}")
    return done.stdout


def _start(home: Path, command: str) -> subprocess.Popen[bytes]:
    with (home / f"{command}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "joulebook", command], stdout=log, stderr=log)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")
