"""Files are given to the users of the processes; nothing is lost on the way, and no link is followed."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from joulebook.config import Config
from joulebook.supervisor.ownership import UnableToShare, prepare_home
from joulebook.supervisor.system_users import SystemUsers, find_users

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config.from_environ({"JOULEBOOK_HOME": str(tmp_path)})


@pytest.fixture
def users(config: Config) -> SystemUsers:
    return find_users(config.home, None)


def count(file: Path) -> int:
    with closing(sqlite3.connect(file)) as conn:
        return int(conn.execute("SELECT count(*) FROM people").fetchone()[0])


def make_accounts(file: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(file, isolation_level=None)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("CREATE TABLE people (name text)")
    conn.execute("INSERT INTO people VALUES ('alice')")
    return conn


def test_accounts_move_with_what_was_written_last_and_are_found_in_the_old_place(
    config: Config, users: SystemUsers
) -> None:
    file = config.home / "joulebook.sqlite3"
    make_accounts(file).close()
    for _ in range(2):
        prepare_home(config, users)
        assert count(file) == 1
        assert file.readlink() == Path("accounts/joulebook.sqlite3")
        moved = (config.home / "accounts" / "joulebook.sqlite3").stat()
        assert (stat.S_IMODE(moved.st_mode), moved.st_gid, moved.st_nlink) == (0o660, users.data, 1)


def test_accounts_that_another_program_has_open_stay_where_they_are(
    config: Config, users: SystemUsers
) -> None:
    file = config.home / "joulebook.sqlite3"
    with closing(make_accounts(file)):
        with pytest.raises(UnableToShare, match=r"another program has .* open"):
            prepare_home(config, users)
        assert not file.is_symlink()
        assert count(file) == 1


def test_of_two_files_of_accounts_none_is_dropped(config: Config, users: SystemUsers) -> None:
    prepare_home(config, users)
    (config.home / "joulebook.sqlite3").unlink()
    make_accounts(config.home / "joulebook.sqlite3").close()
    with pytest.raises(UnableToShare, match="there are accounts in"):
        prepare_home(config, users)


def test_what_root_writes_into_the_accounts_stays_open_to_all_processes(
    config: Config, users: SystemUsers
) -> None:
    prepare_home(config, users)
    with closing(make_accounts(config.home / "joulebook.sqlite3")):
        for ending in ("-wal", "-shm"):
            found = (config.home / "accounts" / f"joulebook.sqlite3{ending}").stat()
            assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, users.data)


def test_links_that_a_process_has_planted_are_not_followed(
    config: Config, users: SystemUsers, tmp_path: Path
) -> None:
    prepare_home(config, users)
    precious = tmp_path / "precious"
    precious.write_text("root's")
    precious.chmod(0o600)
    (config.home / "uploads" / "link").symlink_to(precious)
    prepare_home(config, users)
    assert (precious.stat().st_uid, stat.S_IMODE(precious.stat().st_mode)) == (0, 0o600)
    (config.home / "accounts" / "joulebook.sqlite3-wal").symlink_to(precious)
    with pytest.raises(UnableToShare):
        prepare_home(config, users)
    assert (precious.stat().st_uid, stat.S_IMODE(precious.stat().st_mode)) == (0, 0o600)


def test_only_root_writes_in_the_home_itself(config: Config, users: SystemUsers) -> None:
    config.home.chmod(0o700)
    prepare_home(config, users)
    found = config.home.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, users.home, 0o710)
    config.home.chmod(0o755)
    prepare_home(config, users)
    assert stat.S_IMODE(config.home.stat().st_mode) == 0o755
