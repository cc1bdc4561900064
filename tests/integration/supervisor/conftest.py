"""Fixtures for tests of the whole of Joulebook: homes of their own, and a look at what runs in them."""

from __future__ import annotations

import atexit
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from joulebook.config import Config

from ...conftest import free_port


def eventually(condition: Callable[[], object], *, what: Callable[[], str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not come within {seconds} s: {what()}")
        time.sleep(0.05)


AS_USER = """
import os, sys
from joulebook.config import Config
from joulebook.supervisor.view import folders_in_use, open_way

open_way(folders_in_use(Config.from_environ()))
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setresgid(*[int(gid)] * 3)
os.setresuid(*[int(uid)] * 3)
os.execv(command[0], command)
"""
"""Runs a command as another user, also where this checkout lies in a folder that only root may enter."""


def new_folder() -> Path:
    """Make a folder for a home; others than root may enter it, which pytest's own folders forbid."""
    folder = Path(tempfile.mkdtemp(prefix="joulebook-home-"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Joulebook:
    """`joulebook up` or `joulebook demo` in a home, with what it has said so far."""

    def __init__(self, home: HomeFolder, words: tuple[str, ...]) -> None:
        self.home = home
        self._log = home.path.with_suffix(".log")
        self._begin = self._log.stat().st_size if self._log.exists() else 0
        self.began = time.monotonic()
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [*home.prefix, sys.executable, "-m", "joulebook", *words],
                env=home.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._log.read_bytes()[self._begin :].decode("utf-8", "replace")

    def until(self, pattern: str, *, seconds: float = 60) -> re.Match[str]:
        """Wait until what was said matches `pattern`, or the command ended."""
        eventually(
            lambda: re.search(pattern, self.text) or self.process.poll() is not None,
            what=lambda: f"{pattern!r} in:\n{self.text}",
            seconds=seconds,
        )
        found = re.search(pattern, self.text)
        assert found, f"{pattern!r} is not in:\n{self.text}"
        return found

    def until_ready(self, *, seconds: float = 120) -> float:
        """Wait until it says that it is ready; return how long that took."""
        self.until("Joulebook is ready", seconds=seconds)
        return time.monotonic() - self.began

    def interrupt(self) -> int:
        """Send SIGINT to the whole group, as a terminal does on Ctrl-C, and wait for the end."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=60)


class HomeFolder:
    """A JOULEBOOK_HOME with ports of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.web = f"http://127.0.0.1:{(web := free_port())}"
        self.ingest = f"http://127.0.0.1:{(ingest := free_port())}"
        self.environment = {
            **os.environ,
            "JOULEBOOK_HOME": str(path),
            "JOULEBOOK_WEB_PORT": str(web),
            "JOULEBOOK_INGEST_PORT": str(ingest),
        }
        self.prefix: tuple[str, ...] = ()
        """Words before the commands that are started, of a program that limits what they may do."""
        self._started: list[Joulebook] = []

    def become(self, name: str) -> None:
        """Give the folder to a user; from now on `start` starts as that user."""
        user = pwd.getpwnam(name)
        self.path.mkdir(exist_ok=True)
        os.chown(self.path, user.pw_uid, user.pw_gid)
        self.environment |= {"HOME": str(self.path), "JOULEBOOK_CACHE": str(Config.from_environ().cache)}
        self.prefix = (sys.executable, "-c", AS_USER, str(user.pw_uid), str(user.pw_gid))

    def start(self, *words: str) -> Joulebook:
        self._started.append(Joulebook(self, words))
        return self._started[-1]

    @property
    def said(self) -> str:
        """What the command that was started last has said."""
        return self._started[-1].text

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command of Joulebook's in this home."""
        return self.python("-m", "joulebook", *words, stdin=stdin)

    def in_django(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python code where Joulebook's models can be used."""
        return self.python(
            "-c", f"from joulebook.cli.django_setup import setup_django; setup_django(); {code}"
        )

    def python(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run this Python in the home."""
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment, input=stdin, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """Return the command lines of all processes that work in this home, by their numbers."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
                # PostgreSQL's backends have titles in place of command lines, but they work in its folder.
                folder = os.fsencode(str((entry / "cwd").readlink()))
                if (
                    os.fsencode(self.path) in command + folder
                    or os.fsencode(f"={self.path}\0") in environment
                ):
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace").strip()
        return {pid: command for pid, command in found.items() if command}

    def until_empty(self, *, seconds: float = 30) -> None:
        eventually(
            lambda: not self.processes(), what=lambda: f"the end of {self.processes()}", seconds=seconds
        )

    def answers(self, url: str) -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        for joulebook in self._started:
            if joulebook.process.poll() is None:
                joulebook.process.kill()
            joulebook.process.wait()
        self.until_empty()


@pytest.fixture(scope="session")
def used() -> Path:
    """A home that was started once: it has a migrated database, and nothing runs in it."""
    home = HomeFolder(new_folder() / "home")
    try:
        for words in (("db", "start"), ("migrate",)):
            done = home.run(*words)
            assert done.returncode == 0, done.stderr
    finally:
        home.run("db", "stop")
        home.close()
    return home.path


@pytest.fixture
def make_home() -> Iterator[Callable[..., HomeFolder]]:
    """Make a home, as a copy of another one where given; what still runs in it at the end is ended."""
    homes: list[HomeFolder] = []

    def make(copy_of: Path | None = None) -> HomeFolder:
        folder = new_folder()
        if copy_of is not None:
            subprocess.run(["cp", "-a", str(copy_of), str(folder / "home")], check=True)
        homes.append(HomeFolder(folder / "home"))
        return homes[-1]

    yield make
    for home in homes:
        home.close()


@pytest.fixture
def new_home(make_home: Callable[..., HomeFolder]) -> HomeFolder:
    """A home in which nothing was started yet."""
    return make_home()


@pytest.fixture
def home(make_home: Callable[..., HomeFolder], used: Path) -> HomeFolder:
    """A home that was started before, which spares the making of its database."""
    return make_home(used)
