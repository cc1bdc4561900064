"""Which user each process has: by name where there is one, else by a number that stays the home's."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

import pytest

from joulebook.embedded.server_user import ServerUser
from joulebook.supervisor.system_users import find_users

UNUSED = range(60_706, 61_184)
PROCESSES = ("migrate", "worker", "web", "ingest", "demo")


def numbers(home: Path) -> list[int]:
    users = find_users(home, None)
    uids = [getattr(users, name).uid for name in PROCESSES]
    return [*uids, users.home, users.data]


def test_every_process_has_a_number_of_its_own_among_those_that_distributions_leave_unused(
    tmp_path: Path,
) -> None:
    found = numbers(tmp_path)
    assert len(set(found)) == len(found)
    assert set(found) <= set(UNUSED)


def test_a_home_keeps_its_numbers_where_it_is_moved(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    before = numbers(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "other")
    assert numbers(tmp_path / "other") == before
    assert f"first {min(before)}\n" in (tmp_path / "other" / "users").read_text()


def test_a_note_that_names_other_users_numbers_is_not_believed(tmp_path: Path) -> None:
    for number in (0, 1000, 61_180, 65_534):
        (tmp_path / "users").write_text(f"first {number}\n")
        assert set(numbers(tmp_path)) <= set(UNUSED)


def test_numbers_that_have_a_name_on_this_machine_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(numbers(tmp_path))
    (tmp_path / "users").unlink()
    taken = pwd.struct_passwd(("alice", "x", first, first, "", "/", "/bin/sh"))

    def getpwuid(uid: int) -> pwd.struct_passwd:
        if uid == first:
            return taken
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    assert first not in numbers(tmp_path)


def test_users_and_groups_that_exist_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = pwd.struct_passwd(("joulebook-web", "x", 990, 980, "", "/", "/bin/sh"))
    group = grp.struct_group(("joulebook-data", "x", 970, []))
    known = {"joulebook-web": named, "joulebook-data": group}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    monkeypatch.setattr(grp, "getgrnam", known.__getitem__)
    users = find_users(tmp_path, ServerUser(101, 104, changes=True))
    assert (users.web.uid, users.web.gid, users.data) == (990, 980, 970)
    assert users.web.groups == (users.home, 970)
    assert users.ingest.uid in UNUSED
    assert users.database is not None
    assert (users.database.uid, users.database.groups) == (101, (users.home,))


def test_the_simulator_reaches_neither_accounts_nor_database(tmp_path: Path) -> None:
    users = find_users(tmp_path, None)
    assert users.data not in users.simulator.groups
    assert users.data in users.demo.groups
