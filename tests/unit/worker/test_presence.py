"""A worker's presence: known as long as its process lives, and known to be gone at once when that dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from joulebook.worker.presence import Presence

HOLDER = """
import sys
from pathlib import Path
from joulebook.worker.presence import Presence
with Presence(Path(sys.argv[1])) as presence:
    print(presence.name, flush=True)
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
    with Presence(tmp_path) as presence:
        process, name = hold(tmp_path)
        with process:
            assert not presence.is_gone(name)
            process.kill()
            process.wait()
            assert presence.is_gone(name)
        presence.forget_gone({name})
        assert presence.is_gone(name)
        presence.forget_gone(set())
        assert [path.name for path in (tmp_path / "workers").iterdir()] == [presence.name]
        assert not presence.is_gone(presence.name)


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
    with Presence(tmp_path) as presence:
        assert not presence.is_gone(name)


def test_names_are_never_the_same_and_fit_their_field(tmp_path: Path) -> None:
    names = {Presence(tmp_path).name for _ in range(100)}
    assert len(names) == 100
    assert max(map(len, names)) <= 100
