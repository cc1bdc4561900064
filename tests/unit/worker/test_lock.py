"""A worker's lock: held while its process lives, and known to be free as soon as the process dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from joulebook.worker.lock import WorkerLock

HOLDER = """
import sys
from pathlib import Path
from joulebook.worker.lock import WorkerLock
with WorkerLock(Path(sys.argv[1])) as lock:
    print(lock.name, flush=True)
    sys.stdin.read()
"""


def hold(home: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a process that is present; return it and its name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_killed_process_is_known_to_be_gone_and_a_living_one_is_not(tmp_path: Path) -> None:
    with WorkerLock(tmp_path) as lock:
        process, name = hold(tmp_path)
        with process:
            assert not lock.is_dead(name)
            process.kill()
            process.wait()
            assert lock.is_dead(name)
        lock.remove_dead(except_names={name})
        assert lock.is_dead(name)
        lock.remove_dead(except_names=set())
        assert [path.name for path in (tmp_path / "workers").iterdir()] == [lock.name]
        assert not lock.is_dead(lock.name)


def test_who_leaves_in_order_leaves_nothing(tmp_path: Path) -> None:
    process, name = hold(tmp_path)
    assert (tmp_path / "workers" / name).exists()
    process.communicate("")
    assert process.returncode == 0
    assert list((tmp_path / "workers").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "elsewhere-1-abcdef01", "../../etc/passwd", "a/b", ".", "x\0y", "n" * 200]
)
def test_of_names_that_no_lock_is_there_for_nothing_is_known(tmp_path: Path, name: str) -> None:
    with WorkerLock(tmp_path) as lock:
        assert not lock.is_dead(name)


def test_names_are_never_the_same_and_fit_their_field(tmp_path: Path) -> None:
    names = {WorkerLock(tmp_path).name for _ in range(100)}
    assert len(names) == 100
    assert max(map(len, names)) <= 100
