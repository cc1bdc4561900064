"""A home with a user, devices and imports that replaced values, of which tests make backups."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from joulebook.embedded import EmbeddedError

from ..imports.working import rows
from .homes import Home

ROWS = 400


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Home]]:
    """Make homes by their names; their databases are stopped in the end."""
    root = tmp_path_factory.mktemp("homes")
    root.chmod(0o755)
    for parent in root.parents:
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)  # the database may run as another user
    made: list[Home] = []

    def make(name: str, **environment: str) -> Home:
        made.append(Home(root / name, **environment))
        return made[-1]

    yield make
    for home in made:
        with suppress(EmbeddedError):
            home.database.stop(patience=5)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def source(homes: Callable[..., Home], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose import 2 has replaced values of import 1; its database runs."""
    home = homes("source")
    home.run("db", "start")
    home.run("migrate")
    home.run("user", "add", "alice", "--password-stdin", stdin="choose a long pass phrase\n")
    for device in ("device_001", "device_002", "live_001"):
        home.run("device", "add", device, "--owner", "alice", "--tz", "UTC")
    folder = tmp_path_factory.mktemp("files")
    store(home, folder, "first.csv", rows(ROWS), "device_001")
    store(home, folder, "second.csv", changed(rows(ROWS // 2)), "device_001")
    return home


def store(home: Home, folder: Path, name: str, content: str, device: str) -> None:
    """Import a file; it replaces what is there."""
    (folder / name).write_text(content)
    home.run("import", str(folder / name), "--device", device, "--on-conflict", "replace")


def changed(content: str) -> str:
    """Return a file of `rows` with other values."""
    head, *lines = content.splitlines()
    values = ",-1" * head.count(",")
    return "\n".join([head, *(line.split(",")[0] + values for line in lines)]) + "\n"
