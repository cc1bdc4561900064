"""Work for people is nice; processes of others stay unchanged."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from joulebook.priority import STEPS, make_backend_nice

_TELL = """
import os, re, threading
from pathlib import Path
from joulebook.priority import make_nice

def session():
    path = Path("/proc/self/autogroup")
    # Empty for what the machine's first process started in its own session.
    found = path.exists() and re.search(r"nice (-?[0-9]+)", path.read_text())
    return found[1] if found else "none"

before = os.getpriority(os.PRIO_PROCESS, 0), session()
make_nice()
threads = []
thread = threading.Thread(target=lambda: threads.append(os.getpriority(os.PRIO_PROCESS, 0)))
thread.start()
thread.join()
print(*before, os.getpriority(os.PRIO_PROCESS, 0), *threads, session())
"""


def priorities(*, own_session: bool) -> list[str]:
    """Return niceness and the session's before, and niceness, a thread's and the session's afterwards."""
    command = [sys.executable, "-c", _TELL]
    done = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=own_session)
    return done.stdout.split()


def test_a_process_of_its_own_session_stands_back_with_its_threads_and_its_session():
    nice, session, after, thread, session_after = priorities(own_session=True)
    assert int(after) == int(thread) == int(nice) + STEPS
    if session != "none":
        assert int(session_after) == int(session) + STEPS


def test_a_process_in_a_session_of_others_leaves_the_session_alone():
    nice, session, after, thread, session_after = priorities(own_session=False)
    assert int(after) == int(thread) == int(nice) + STEPS
    assert session_after == session


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def niceness(process: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, process)


def test_the_child_of_whoever_listens_on_the_unix_socket_stands_back(sleeper, tmp_path):
    before = niceness(sleeper.pid)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client.connect(str(tmp_path / "socket"))
        assert make_backend_nice(sleeper.pid, client.fileno())
    assert niceness(sleeper.pid) == before + STEPS
    autogroup = Path(f"/proc/{sleeper.pid}/autogroup")
    if autogroup.exists():
        assert re.search(rf"nice {STEPS}$", autogroup.read_text().strip())


def test_a_process_that_the_listener_did_not_start_is_left_alone(tmp_path):
    """Such as one that has, on this machine, the number that a backend has on another."""
    before = niceness(os.getppid())
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        client.connect(str(tmp_path / "socket"))
        assert not make_backend_nice(os.getppid(), client.fileno())
        assert not make_backend_nice(2**22 + 1, client.fileno())
    assert niceness(os.getppid()) == before


def test_what_lies_behind_a_tcp_connection_is_left_alone(sleeper):
    before = niceness(sleeper.pid)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            assert not make_backend_nice(sleeper.pid, client.fileno())
    assert niceness(sleeper.pid) == before
