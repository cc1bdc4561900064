"""`joulebook up` with everything that is real: TimescaleDB, web, ingest and worker."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from joulebook.priority import STEPS

from .conftest import eventually

SERVICES = ("worker", "web", "ingest")


def pids_of(home: Any, word: str) -> list[int]:
    """Return the processes whose command line ends with a command of Joulebook's."""
    return [pid for pid, command in home.processes().items() if command.endswith(f"-m joulebook {word}")]


def environ_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_up_brings_everything_up_says_where_and_stops_without_a_trace(new_home: Any) -> None:
    up = new_home.start("up")
    up.until_ready()
    assert f"Joulebook is ready at {new_home.web}/ (ingest at {new_home.ingest}/)." in up.text
    assert new_home.answers(new_home.web)
    assert new_home.answers(new_home.ingest)
    assert httpx.get(f"{new_home.web}/sign-in/").status_code == 200
    pids = {name: pids_of(new_home, name) for name in SERVICES}
    assert [len(found) for found in pids.values()] == [1, 1, 1]
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    # Devices go first.
    priorities = {name: os.getpriority(os.PRIO_PROCESS, found[0]) for name, found in pids.items()}
    assert priorities == {"worker": usual + STEPS, "web": usual + STEPS, "ingest": usual}
    for name in ("database", "migrate", *SERVICES):
        up.until(rf"(?m)^{name} *│ ")  # a service may be ready before its first line
    assert up.interrupt() == 0
    assert up.text.endswith("Stopped.\n")
    assert not new_home.processes()


def test_while_it_runs_each_process_holds_only_its_credentials_and_a_second_start_is_refused(
    home: Any,
) -> None:
    up = home.start("up")
    up.until_ready()
    passwords = {
        role: (home.path / "db" / "passwords" / f"joulebook_{role}").read_text().strip()
        for role in ("owner", "writer", "reader")
    }
    holds = {
        name: {
            role
            for role, password in passwords.items()
            if password in str(environ_of(pids_of(home, name)[0]))
        }
        for name in SERVICES
    }
    assert holds == {"worker": {"writer", "reader"}, "web": {"reader"}, "ingest": {"writer"}}
    for command in home.processes().values():
        assert not any(password in command for password in passwords.values())
    second = home.run("up")
    assert second.returncode == 1
    assert f"Joulebook runs already in {home.path} (process {up.process.pid}, {home.web}/)" in second.stderr
    assert home.answers(home.web)


def test_what_is_killed_comes_back(home: Any) -> None:
    up = home.start("up")
    up.until_ready()
    token = sign_up(home)
    (ingest,) = pids_of(home, "ingest")
    os.kill(ingest, signal.SIGKILL)
    up.until(r"ingest +│ .*: was ended by SIGKILL; starts again")
    eventually_answers(home, home.ingest)
    postmaster = int((home.path / "db" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    up.until(r"database +│ the database server ended unasked(.*\n)+database +│ ready on")
    eventually_answers(home, home.ingest)
    stored = httpx.post(
        f"{home.ingest}/api/readings", json={"power": 1.0}, headers={"Authorization": f"Bearer {token}"}
    )
    assert stored.status_code == 200, stored.text
    assert stored.json()["accepted"] == 1
    assert up.interrupt() == 0
    assert not home.processes()


def sign_up(home: Any) -> str:
    """Create a user and a device; return the device's token."""
    user = home.run("user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase\n")
    assert user.returncode == 0, user.stderr
    device = home.run("device", "add", "device_001", "--owner", "alice")
    assert device.returncode == 0, device.stderr
    return str(device.stdout.strip())


def eventually_answers(home: Any, url: str) -> None:
    deadline = time.monotonic() + 60
    while not home.answers(url):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_killing_the_supervisor_leaves_no_orphan_and_the_next_start_works(home: Any) -> None:
    up = home.start("up")
    up.until_ready()
    assert len(home.processes()) > 5
    up.process.kill()
    up.process.wait()
    again = home.start("up")  # at once: what is left of the first is still ending
    again.until_ready()
    assert again.interrupt() == 0
    home.until_empty(seconds=30)


def test_two_homes_run_side_by_side(make_home: Callable[..., Any], used: Path) -> None:
    one, other = make_home(used), make_home(used)
    both = [one.start("up"), other.start("up")]
    for up in both:
        up.until_ready()
    for home in (one, other):
        assert home.answers(home.web)
        assert home.answers(home.ingest)
    assert both[0].interrupt() == 0
    assert not one.processes()
    assert other.answers(other.ingest)


@pytest.mark.parametrize("service", ["web", "ingest"])
def test_a_taken_port_is_named_before_anything_starts(new_home: Any, service: str) -> None:
    port = urlsplit(getattr(new_home, service)).port
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        refused = new_home.run("up")
    assert refused.returncode == 1
    assert f"JOULEBOOK_{service.upper()}_PORT={port}" in refused.stderr
    assert not (new_home.path / "db").exists()


def test_a_signal_during_the_first_start_leaves_nothing_and_the_next_one_works(new_home: Any) -> None:
    up = new_home.start("up")
    eventually(
        (new_home.path / "db" / "data").exists,
        what=lambda: f"a database that is being made:\n{up.text}",
        seconds=60,
    )
    up.process.terminate()
    assert up.process.wait(timeout=30) == 0
    assert not new_home.processes()
    again = new_home.start("up")
    again.until_ready()
    assert again.interrupt() == 0


def test_a_database_that_runs_in_the_background_is_used_and_left_running(home: Any) -> None:
    assert home.run("db", "start").returncode == 0
    try:
        up = home.start("up")
        up.until_ready()
        assert "will go on running" in up.text
        assert up.interrupt() == 0
        assert home.run("db", "status").returncode == 0
    finally:
        home.run("db", "stop")


def test_a_server_of_the_users_own_is_used_and_no_other_is_started(
    new_home: Any, telemetry: dict[str, str]
) -> None:
    new_home.environment |= {
        "JOULEBOOK_TELEMETRY_URL": telemetry["reader"],
        "JOULEBOOK_TELEMETRY_WRITER_URL": telemetry["writer"],
        "JOULEBOOK_TELEMETRY_OWNER_URL": telemetry["owner"],
    }
    up = new_home.start("up")
    up.until_ready()
    assert new_home.answers(new_home.ingest)
    # Its socket lets no other user in, and so the processes keep root's rights.
    assert ("it cannot reach " in up.text) == (os.geteuid() == 0)
    assert telemetry["writer"] not in environ_of(pids_of(new_home, "web")[0]).values()
    assert up.interrupt() == 0
    assert not (new_home.path / "db").exists()
    with psycopg.connect(telemetry["reader"]) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,), "it was not ours to stop"


def test_a_database_that_cannot_be_had_is_said_at_once_with_the_remedy(new_home: Any) -> None:
    new_home.environment["JOULEBOOK_POSTGRES_BIN"] = "/nowhere/to/be/found"
    refused = new_home.run("up")
    assert refused.returncode == 1
    assert "database cannot start; its last words:\n" in refused.stderr
    assert "/nowhere/to/be/found" in refused.stderr
    assert "starts again" not in refused.stdout


def test_a_service_that_cannot_start_ends_everything_with_its_own_words(home: Any) -> None:
    home.environment["JOULEBOOK_INGEST_OLDEST"] = "the day before yesterday"
    up = home.start("up")
    assert up.process.wait(timeout=120) == 1
    assert re.search(
        r"^ingest ended with status 1, 4 times in a row; its last words:\n", up.text, re.MULTILINE
    )
    assert "the day before yesterday" in up.text
    assert not home.processes()
