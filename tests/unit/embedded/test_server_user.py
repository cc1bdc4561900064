"""Which user the server runs as, and how it gets to its folders."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.server_user import ServerUser, command_prefix, find_server_user, system_tool

NOBODY = ServerUser(65534, 65534, changes=True)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let us be an ordinary user of the machine, of whom nothing is asked but the number."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.uid)
    monkeypatch.setattr(os, "getegid", lambda: NOBODY.gid)


def run(account: ServerUser, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [*command_prefix(account, folders=[folder]), *command]
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd="/")


@pytest.mark.usefixtures("ordinary_user")
def test_an_ordinary_user_runs_the_server_itself(tmp_path: Path) -> None:
    account = find_server_user(tmp_path / "data")
    assert account == ServerUser(NOBODY.uid, NOBODY.gid, changes=False)
    assert command_prefix(account, folders=[tmp_path]) == []


@as_root
def test_root_lets_another_user_run_the_server(tmp_path: Path) -> None:
    account = find_server_user(tmp_path / "data")
    assert account.uid != 0
    assert run(account, Path("/"), "id", "-u").stdout == f"{account.uid}\n"
    assert run(account, Path("/"), "id", "-G").stdout == f"{account.gid}\n"


@as_root
def test_the_owner_of_existing_data_goes_on_running_the_server(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", 4321, 4321)
    assert find_server_user(tmp_path / "data") == ServerUser(4321, 4321, changes=True)


@as_root
def test_data_that_was_copied_by_root_is_given_back_to_the_servers_user(tmp_path: Path) -> None:
    (tmp_path / "data" / "base").mkdir(parents=True)
    (tmp_path / "data" / "base" / "1").touch()
    account = find_server_user(tmp_path / "data")
    account.take_over_tree(tmp_path / "data")
    owners = {path.stat().st_uid for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]}
    assert owners == {account.uid} != {0}


@pytest.mark.usefixtures("ordinary_user")
def test_data_of_another_user_is_refused_with_what_to_do() -> None:
    with pytest.raises(EmbeddedError, match=r"belongs to user root, not to nobody.*JOULEBOOK_HOME"):
        find_server_user(Path("/usr"))


def test_a_user_without_a_name_is_told_what_postgresql_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that was started with a bare number for its user."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(EmbeddedError, match=r"user 54321 has no name .*/etc/passwd"):
        find_server_user(tmp_path / "data")


@as_root
def test_no_capability_is_given_where_the_folder_can_be_entered() -> None:
    done = run(NOBODY, Path("/"), "grep", "-E", "CapEff|CapAmb", "/proc/self/status")
    assert {int(line.split()[1], 16) for line in done.stdout.splitlines()} == {0}


@as_root
def test_a_folder_that_only_root_may_enter_is_reached_with_one_capability(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    inner = tmp_path / "closed" / "open"
    inner.mkdir(mode=0o755)
    os.chown(inner, NOBODY.uid, NOBODY.gid)
    assert run(NOBODY, inner, "ls", str(inner)).returncode == 0
    done = run(NOBODY, inner, "grep", "CapEff", "/proc/self/status")
    assert int(done.stdout.split()[1], 16).bit_count() == 1
    writing = run(NOBODY, inner, "touch", str(tmp_path / "closed" / "file"))
    allowed = (
        int(done.stdout.split()[1], 16) == 1 << 1
    )  # dac_override, where dac_read_search is not to be had
    assert allowed or "Permission denied" in writing.stderr


@as_root
def test_a_folder_that_cannot_be_reached_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"user nobody.*cannot enter .*missing.*JOULEBOOK_HOME"):
        command_prefix(NOBODY, folders=[tmp_path / "missing"])


def test_a_command_whose_parent_is_gone_already_is_not_run(tmp_path: Path) -> None:
    prefix = command_prefix(
        ServerUser(os.geteuid(), os.getegid(), changes=False), folders=[], parent_death_signal="TERM"
    )
    # The parent's number stands in the prefix: a shell in between is the wrong parent, so nothing runs.
    wrong = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *prefix, "touch", str(tmp_path / "ran")]
    assert subprocess.run(wrong, check=False).returncode == 1
    assert not (tmp_path / "ran").exists()
    right = subprocess.run([*prefix, "touch", str(tmp_path / "ran")], check=False)
    assert right.returncode == 0
    assert stat.S_ISREG((tmp_path / "ran").stat().st_mode)


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(EmbeddedError, match="`no-such-tool` is missing: install the package util-linux"):
        system_tool("no-such-tool")
