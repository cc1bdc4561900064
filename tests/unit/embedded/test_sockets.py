"""Where the Unix socket goes when paths are long, taken or gone."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.embedded.layout import Layout
from joulebook.embedded.server_user import ServerUser
from joulebook.embedded.sockets import prepare_socket_folder, socket_folder

OURSELVES = ServerUser(os.geteuid(), os.getegid(), changes=False)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in for the machine's folder for temporary files, with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="jb") as folder:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: folder)
        yield Path(folder)


@pytest.fixture
def near(short: Path) -> Layout:
    layout = Layout.below(short / "home")
    layout.create_root()
    return layout


@pytest.fixture
def far(short: Path) -> Layout:
    layout = Layout.below(short / ("long" * 30))
    layout.create_root()
    return layout


def test_a_short_home_keeps_the_socket_beside_the_data(near: Layout) -> None:
    folder = prepare_socket_folder(near, OURSELVES)
    assert folder == near.root / "run" == socket_folder(near)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_long_home_gets_a_short_private_folder_that_is_remembered(far: Layout, short: Path) -> None:
    folder = prepare_socket_folder(far, OURSELVES)
    assert folder.parent == short
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert socket_folder(far) == folder
    assert len(os.fsencode(folder / ".s.PGSQL.65535")) <= 107


def test_the_folder_is_made_again_after_a_restart_of_the_machine(far: Layout) -> None:
    folder = prepare_socket_folder(far, OURSELVES)
    shutil.rmtree(folder)
    assert prepare_socket_folder(far, OURSELVES) == folder
    assert folder.is_dir()


def test_a_folder_that_others_may_enter_is_not_used(far: Layout, short: Path) -> None:
    (short / far.cluster_name).mkdir()
    (short / far.cluster_name).chmod(0o777)
    assert prepare_socket_folder(far, OURSELVES) == short / f"{far.cluster_name}-1"


def test_a_link_in_place_of_the_folder_is_not_followed(far: Layout, short: Path) -> None:
    (short / "elsewhere").mkdir(mode=0o700)
    (short / far.cluster_name).symlink_to(short / "elsewhere")
    assert prepare_socket_folder(far, OURSELVES) == short / f"{far.cluster_name}-1"


def test_a_folder_of_another_user_is_not_used(far: Layout, short: Path) -> None:
    (short / far.cluster_name).mkdir(mode=0o700)
    stranger = ServerUser(OURSELVES.uid + 1, OURSELVES.gid, changes=False)
    made = short / f"{far.cluster_name}-1"
    made.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(made, stranger.uid, stranger.gid)
        assert prepare_socket_folder(far, stranger) == made
    else:
        assert prepare_socket_folder(far, OURSELVES) == short / far.cluster_name


def test_a_home_that_became_short_forgets_the_other_folder(near: Layout) -> None:
    (near.root / "socket-folder").write_text("/somewhere\n")
    assert prepare_socket_folder(near, OURSELVES) == near.root / "run" == socket_folder(near)
