"""Fixtures for tests that run embedded databases of their own, each in a home of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, EmbeddedError
from joulebook.embedded.layout import Layout
from joulebook.embedded.processes import server_processes

NewHome = Callable[..., Config]


def configure(home: Path, **variables: str) -> Config:
    """Return the configuration of a home; what was fetched once for this machine is used again."""
    named = {f"JOULEBOOK_{name.upper()}": value for name, value in variables.items()}
    kept = {
        name: os.environ[name] for name in ("JOULEBOOK_CACHE", "JOULEBOOK_POSTGRES_BIN") if name in os.environ
    }
    return Config.from_environ({"JOULEBOOK_HOME": str(home)} | kept | named)


@pytest.fixture(scope="session")
def created_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a home whose database was created once and stopped, to be copied."""
    home = tmp_path_factory.mktemp("created")
    database = EmbeddedDatabase(configure(home))
    database.start()
    database.stop()
    yield home
    shutil.rmtree(home)


@pytest.fixture
def new_home(created_home: Path, tmp_path: Path) -> Iterator[NewHome]:
    """Return a function that copies the created home; whatever runs there afterwards is stopped."""
    homes: list[Path] = []

    def copy(name: str = "home", **variables: str) -> Config:
        home = tmp_path / name
        home.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(created_home), str(home)], check=True)
        homes.append(home)
        return configure(home, **variables)

    yield copy
    for home in homes:
        with suppress(EmbeddedError):
            EmbeddedDatabase(configure(home)).stop(patience=5)
        assert server_processes(Layout.below(home)) == []
        shutil.rmtree(home)  # 50 MB each, of which pytest would keep three runs


@pytest.fixture
def config(new_home: NewHome) -> Config:
    return new_home()


@pytest.fixture
def database(config: Config) -> EmbeddedDatabase:
    """Return a database that was created and is down."""
    return EmbeddedDatabase(config)


@pytest.fixture
def layout(config: Config) -> Layout:
    return Layout.below(config.home)
