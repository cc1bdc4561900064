"""One supervisor for each home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from joulebook.supervisor.home_lock import AlreadyRuns, only_one

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from joulebook.supervisor.home_lock import only_one
with only_one(Path(sys.argv[1]), note="http://127.0.0.1:8000/"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_is_the_first(tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "new" / "home", note="http://127.0.0.1:8000/"),
        pytest.raises(
            AlreadyRuns, match=rf"process {os.getpid()}, http://127\.0\.0\.1:8000/.*JOULEBOOK_HOME"
        ),
        only_one(tmp_path / "new" / "home", note="http://127.0.0.1:9000/"),
    ):
        pytest.fail("two at once")


def test_homes_do_not_know_each_other(tmp_path: Path) -> None:
    with only_one(tmp_path / "a", note=""), only_one(tmp_path / "b", note=""):
        pass


def test_a_killed_holder_leaves_no_lock_although_its_child_lives(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(AlreadyRuns, match=f"process {holder.pid}"), only_one(tmp_path, note=""):
            pytest.fail("two at once")
        holder.kill()
        holder.wait()
        with only_one(tmp_path, note=""):
            os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()
