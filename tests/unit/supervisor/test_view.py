"""The supervisor's view of the file system: a way into closed folders that shows nothing else in them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its view of the file system")

MAY_MOUNT = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode == 0

_LOOK = """
import os, sys
from pathlib import Path
from joulebook.supervisor.view import open_way

*wanted, closed = map(Path, sys.argv[1:])
open_way(wanted)
os.setresgid(*[60701] * 3)
os.setgroups([])
os.setresuid(*[60701] * 3)
for path in wanted:
    print("reads", (path / "note").read_text())
print("sees", *sorted(path.name for path in closed.iterdir()))
"""


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only root may enter, in one that everybody may enter, with two folders and a file in it."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    closed = tmp_path / "closed"
    for name in ("deep/wanted", "other"):
        (closed / name).mkdir(parents=True)
        (closed / name / "note").write_text(name)
    (closed / "secret").write_text("of root's")
    closed.chmod(0o700)
    return closed


def look(*wanted: Path, closed: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _LOOK, *map(str, (*wanted, closed))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str]) -> bool:
    """Say whether this machine withholds the right, as many containers do; then that is what was told."""
    if MAY_MOUNT:
        return False
    assert "PermissionError" in done.stderr
    return True


def test_another_user_reaches_what_is_wanted_and_sees_nothing_beside_it(closed: Path) -> None:
    done = look(closed / "deep" / "wanted", closed=closed)
    if not refused(done):
        assert done.stdout == "reads deep/wanted\nsees deep\n", done.stderr
    # For everybody else nothing has changed.
    assert sorted(path.name for path in closed.iterdir()) == ["deep", "other", "secret"]


def test_links_in_a_closed_folder_lead_where_they_led(closed: Path) -> None:
    (closed / "relative").symlink_to("deep/wanted")
    (closed / "absolute").symlink_to(closed / "deep")
    done = look(closed / "relative", closed / "absolute" / "wanted", closed=closed)
    if not refused(done):
        assert done.stdout == "reads deep/wanted\nreads deep/wanted\nsees absolute deep relative\n", (
            done.stderr
        )


def test_what_is_written_through_the_view_is_there_for_everybody(closed: Path) -> None:
    (closed / "other").chmod(0o777)
    code = f"{_LOOK}\n(wanted[0] / 'new').touch()"
    command = [sys.executable, "-c", code, str(closed / "other"), str(closed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not refused(done):
        assert (closed / "other" / "new").stat().st_uid == 60701, done.stderr


def test_where_nothing_is_closed_the_view_stays_as_it_is(closed: Path) -> None:
    closed.chmod(0o755)
    done = look(closed / "other", closed=closed)
    assert done.stdout == "reads other\nsees deep other secret\n", done.stderr
