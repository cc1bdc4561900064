"""Fetching TimescaleDB for real from the machine's Debian archive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
from joulebook.embedded.provision import provision, provisioned_folders

pytestmark = pytest.mark.slow

PROVISION = "import sys; from pathlib import Path; from joulebook.embedded.provision import provision; print(provision(Path(sys.argv[1])))"


def test_a_database_runs_from_a_fresh_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = provision(cache)
    assert provisioned_folders(cache) == [folder]
    assert not (cache / "unfinished").exists()
    variables = {"HOME": str(tmp_path / "home"), "CACHE": str(cache), "POSTGRES_BIN": str(folder)}
    database = EmbeddedDatabase(
        Config.from_environ({f"JOULEBOOK_{name}": value for name, value in variables.items()})
    )
    database.start()
    with psycopg.connect(database.url("owner")) as conn:
        question = "SELECT count(*) FROM (SELECT time_bucket('1 day', now(), 'Europe/Berlin')) t"
        assert conn.execute(question).fetchone() == (1,)
    database.stop()


def test_two_processes_fetch_once_and_a_killed_one_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "unfinished" / "tree").mkdir(parents=True)
    command = [sys.executable, "-c", PROVISION, str(cache)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {child.communicate()[0].strip() for child in both}
    assert [child.returncode for child in both] == [0, 0]
    assert answers == {str(provisioned_folders(cache)[0])}
    assert len(provisioned_folders(cache)) == 1


def test_a_cache_that_was_moved_is_fetched_again(tmp_path: Path) -> None:
    """The programs know the place of their libraries, and cannot run anywhere else."""
    provision(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    folder = provision(tmp_path / "after")
    version = subprocess.run([str(folder / "postgres"), "--version"], check=True, capture_output=True)
    assert b"PostgreSQL" in version.stdout
    assert os.access(folder / "postgres", os.X_OK)
