"""A Joulebook of the benchmark's own: database, ingest and web on free ports."""

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

from benchmarks.memory import peak_megabytes
from benchmarks.ports import free_port
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
from joulebook.telemetry.connection import connect

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
    _worker: subprocess.Popen[bytes] | None = None
    _cookie: str = ""

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
            path = self.home / f"{' '.join(words)}.log"
            with path.open("wb") as log:
                command = [sys.executable, "-m", "joulebook", *words]
                # Each in a session of its own, as the children of `joulebook up`: the kernel shares its
                # time out among sessions first.
                process = subprocess.Popen(
                    command, stdout=log, stderr=log, env=environment, start_new_session=True
                )
            self._services[words] = Service(port, process)
            _wait(f"http://127.0.0.1:{port}/readyz", process, path)
        return self._services[words]

    def peak_of_ingest(self) -> float:
        """Return the megabytes that any one ingest process has held at most; 0 where none has run."""
        running = [service.process.pid for words, service in self._services.items() if words[0] == "ingest"]
        return max(map(peak_megabytes, running), default=0.0)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Return the running worker; start it where it is not."""
        if self._worker is None:
            with (self.home / "worker.log").open("wb") as log:
                command = [sys.executable, "-m", "joulebook", "worker"]
                self._worker = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        return self._worker

    def stop_worker(self) -> None:
        """Stop the worker where it runs."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.terminate()
            worker.wait(timeout=40)

    def roll_up(self, *, patience: float = 1800) -> float:
        """Let the worker roll up all that is marked; return the seconds that it took."""
        begin = time.monotonic()
        worker = self.start_worker()
        with connect(self.reader_url) as conn:
            while conn.execute("SELECT FROM rollup_dirty LIMIT 1").fetchone() is not None:
                if worker.poll() is not None or time.monotonic() > begin + patience:
                    raise RuntimeError(f"readings are not rolled up: {_end_of(self.home / 'worker.log')}")
                time.sleep(0.2)
        return time.monotonic() - begin

    def session_cookie(self) -> str:
        """Return the cookie of a browser in which the benchmark's user is signed in."""
        if not self._cookie:
            from django.contrib.auth.models import User
            from django.test import Client

            browser = Client()
            browser.force_login(User.objects.get(username=OWNER))
            (session,) = (one.value for name, one in browser.cookies.items() if "session" in name)
            self._cookie = f"joulebook_session_{self.web.port}={session}"
        return self._cookie

    def add_devices(self, device_ids: Iterable[str], *, time_zone: str = "UTC") -> None:
        """Give each of these devices of the benchmark's user a token; create it where it is not there."""
        from django.contrib.auth.models import User
        from django.db import transaction

        from joulebook.web.devices.models import Device
        from joulebook.web.devices.operations import create_device, issue_device_token

        owner = User.objects.get(username=OWNER)
        with transaction.atomic():
            for device_id in device_ids:
                device = Device.objects.filter(device_id=device_id).first()
                device = device or create_device(device_id, owner=owner, time_zone=time_zone)
                self.device_tokens[device_id] = issue_device_token(device)

    def stop(self) -> None:
        """Stop all services."""
        self.stop_worker()
        for service in self._services.values():
            service.process.terminate()
        for service in self._services.values():
            service.process.wait(timeout=40)


@contextmanager
def folder(name: str, *, kept: Path | None) -> Iterator[Path]:
    """Give a folder by this name in the one to be kept, or a new one that is removed afterwards."""
    if kept is None:
        home = Path(tempfile.mkdtemp(prefix=f"joulebook-bench-{name}-"))
    else:
        home = kept.absolute() / name
        home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    try:
        yield home
    finally:
        if kept is None:
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running_stack(home: Path) -> Iterator[Stack]:
    """Start the database and prepare Django in this home; stop everything afterwards."""
    os.environ.update(JOULEBOOK_HOME=str(home), DJANGO_SETTINGS_MODULE="joulebook.web.settings")
    database = EmbeddedDatabase(Config.from_environ())
    database.start()
    stack = Stack(home=home, writer_url=database.url("writer"), reader_url=database.url("reader"))
    try:
        _joulebook("migrate")
        _prepare_django(stack)
        if not _has_owner():
            _joulebook("user", "add", OWNER, "--password-stdin", stdin="only for this benchmark\n")
        stack.user_token = _joulebook("user", "token", OWNER).strip()
        yield stack
    finally:
        stack.stop()
        database.stop()


def _has_owner() -> bool:
    from django.contrib.auth.models import User

    return User.objects.filter(username=OWNER).exists()


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


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{log.stem} does not answer at {url}; {_end_of(log)}")


def _end_of(log: Path) -> str:
    """Return the last that a process has said."""
    return "it said: " + log.read_text(errors="replace")[-2000:]
