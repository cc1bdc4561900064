"""Locks between processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.locks import held, is_held, try_lock


def test_a_lock_is_free_before_and_after_its_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with held(path):
        assert is_held(path)
        assert try_lock(path) is None
    assert not is_held(path)


def test_asking_for_a_lock_does_not_create_its_file(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


def test_a_child_keeps_an_inherited_lock_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    descriptor = try_lock(path)
    assert descriptor is not None
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    os.close(descriptor)
    assert is_held(path)
    child.kill()
    child.communicate()
    assert not is_held(path)


def test_a_lock_that_cannot_be_opened_is_reported_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"cannot open .*missing/lock: No such file or directory"):
        try_lock(tmp_path / "missing" / "lock")
