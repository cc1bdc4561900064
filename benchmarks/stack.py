"""A Joulebook of the benchmark's own: database, ingest and web on free ports, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.ports import free_port
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase

OWNER = "bench"


@dataclass(frozen=True)
class Service:
    """One running command and its port."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Stack:
    """The running parts, and how to reach them."""

    home: Path
    writer_url: str
    reader_url: str
    user_token: str = ""
    device_tokens: dict[str, str] = field(default_factory=dict)
    _services: dict[tuple[str, ...], Service] = field(default_factory=dict)

    @property
    def ingest(self) -> Service:
        """One ingest process."""
        return self.service("ingest")

    @property
    def web(self) -> Service:
        """Where people read."""
        return self.service("web")

    def service(self, *words: str) -> Service:
        """Return the running `joulebook <words>`; start it, with a port of its own, where it is not."""
        if words not in self._services:
            port = free_port()
            environment = {**os.environ, f"JOULEBOOK_{words[0].upper()}_PORT": str(port)}
            name = " ".join(words)
            with (self.home / f"{name}.log").open("wb") as log:
                command = [sys.executable, "-m", "joulebook", *words]
                process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            self._services[words] = Service(port, process)
            _wait(f"http://127.0.0.1:{port}/readyz", process, name)
        return self._services[words]

    def add_devices(self, device_ids: Iterable[str]) -> None:
        """Create devices of the benchmark's user, each with a token."""
        from django.contrib.auth.models import User

        from joulebook.web.devices.operations import create_device, issue_device_token

        owner = User.objects.get(username=OWNER)
        for device_id in device_ids:
            self.device_tokens[device_id] = issue_device_token(create_device(device_id, owner=owner))

    def stop(self) -> None:
        """Stop all services."""
        for service in self._services.values():
            service.process.terminate()
        for service in self._services.values():
            service.process.wait(timeout=40)


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Start the database and prepare Django, in a home of its own; stop and remove everything afterwards."""
    home = Path(tempfile.mkdtemp(prefix="joulebook-bench-"))
    home.chmod(0o755)
    os.environ.update(JOULEBOOK_HOME=str(home), DJANGO_SETTINGS_MODULE="joulebook.web.settings")
    database = EmbeddedDatabase(Config.from_environ())
    database.start()
    stack = Stack(home=home, writer_url=database.url("writer"), reader_url=database.url("reader"))
    try:
        _joulebook("migrate")
        _joulebook("user", "add", OWNER, "--password-stdin", stdin="only for this benchmark\n")
        stack.user_token = _joulebook("user", "token", OWNER).strip()
        _prepare_django(stack)
        yield stack
    finally:
        stack.stop()
        database.stop()
        shutil.rmtree(home, ignore_errors=True)


def _prepare_django(stack: Stack) -> None:
    """Load Django with one more alias, for the naive way of writing that is measured for comparison."""
    import django
    from django.conf import settings

    from joulebook.web.databases import database_from_url

    settings.DATABASES["telemetry_writer"] = database_from_url(stack.writer_url)
    django.setup()


def _joulebook(*words: str, stdin: str = "") -> str:
    command = [sys.executable, "-m", "joulebook", *words]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:2])} failed: {done.stderr}")
    return done.stdout


def _wait(url: str, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{name} does not answer at {url}")
