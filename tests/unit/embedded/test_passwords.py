"""The roles' passwords on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from joulebook.embedded.errors import NotCreated
from joulebook.embedded.passwords import ROLES, ensure_passwords, read_password


def test_each_role_gets_a_long_password_of_its_own_that_only_the_owner_may_read(tmp_path: Path) -> None:
    ensure_passwords(tmp_path / "passwords")
    found = {read_password(tmp_path / "passwords", role) for role in ROLES}
    assert len(found) == len(ROLES) == 4
    assert min(map(len, found)) >= 32
    assert {stat.S_IMODE((tmp_path / "passwords" / role).stat().st_mode) for role in ROLES} == {0o600}
    assert stat.S_IMODE((tmp_path / "passwords").stat().st_mode) == 0o700


def test_passwords_never_change(tmp_path: Path) -> None:
    ensure_passwords(tmp_path / "passwords")
    before = [read_password(tmp_path / "passwords", role) for role in ROLES]
    ensure_passwords(tmp_path / "passwords")
    assert [read_password(tmp_path / "passwords", role) for role in ROLES] == before


def test_making_passwords_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    folder = tmp_path / "passwords"
    ensure_passwords(folder)
    kept = read_password(folder, "postgres")
    (folder / "joulebook_reader").rename(folder / ".joulebook_reader.new")
    ensure_passwords(folder)
    assert read_password(folder, "postgres") == kept
    assert len(read_password(folder, "joulebook_reader")) >= 32
    assert not (folder / ".joulebook_reader.new").exists()


def test_a_missing_password_says_that_the_database_must_be_started_first(tmp_path: Path) -> None:
    with pytest.raises(NotCreated, match="joulebook db start"):
        read_password(tmp_path / "passwords", "joulebook_reader")
