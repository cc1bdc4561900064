"""Finding a PostgreSQL with TimescaleDB, on trees laid out as packages lay them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from joulebook.config import Config
from joulebook.embedded import UnableToFindBinaries, binaries
from joulebook.embedded.binaries import ensure_binaries, find_binaries, inspect
from joulebook.embedded.layout import Layout

Configure = Callable[..., Config]


def install(root: Path, *, version: str = "17.4", timescaledb: str | None = "2.19.3") -> Path:
    """Lay out a PostgreSQL as Debian does below `root`; its programs only tell their version."""
    major = version.split(".")[0]
    folder = root / "usr/lib/postgresql" / major / "bin"
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb", "psql"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    if timescaledb is not None:
        extension = root / "usr/share/postgresql" / major / "extension"
        extension.mkdir(parents=True)
        (extension / "timescaledb.control").write_text(f"default_version = '{timescaledb}'\n")
        (folder.parent / "lib").mkdir()
        for name in ("timescaledb", f"timescaledb-{timescaledb}"):
            (folder.parent / "lib" / f"{name}.so").touch()
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let the machine have exactly the PostgreSQL folders that a test puts into this list."""
    folders: list[Path] = []
    monkeypatch.setattr(binaries, "_installed_folders", lambda: iter(folders))
    return folders


@pytest.fixture
def nothing_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cache: Path) -> Path:
        raise UnableToFindBinaries(f"nothing to fetch into {cache}")

    monkeypatch.setattr(binaries, "provision", refuse)


def test_a_postgresql_with_timescaledb_is_recognised_with_its_versions(tmp_path: Path) -> None:
    found = inspect(install(tmp_path))
    assert found is not None
    assert (found.major, found.version, found.timescaledb) == (17, "17.4", "2.19.3")


def test_a_postgresql_without_timescaledb_is_passed_over(tmp_path: Path) -> None:
    assert inspect(install(tmp_path, timescaledb=None)) is None


def test_a_postgresql_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    assert inspect(install(tmp_path, version="14.2")) is None


def test_an_extension_whose_library_is_gone_is_passed_over(tmp_path: Path) -> None:
    folder = install(tmp_path)
    (folder.parent / "lib" / "timescaledb-2.19.3.so").unlink()
    assert inspect(folder) is None


def test_programs_that_do_not_run_are_passed_over(tmp_path: Path) -> None:
    folder = install(tmp_path)
    (folder / "postgres").write_text("#!/no/such/interpreter\n")
    assert inspect(folder) is None


def test_the_newest_that_the_machine_has_is_taken(
    configure: Configure, machine: list[Path], tmp_path: Path
) -> None:
    machine += [install(tmp_path / "a", version="16.9"), install(tmp_path / "b", version="17.10")]
    machine += [install(tmp_path / "c", version="17.9")]
    found = find_binaries(configure())
    assert found is not None
    assert found.version == "17.10"


def test_existing_data_asks_for_the_version_that_made_it(
    configure: Configure, machine: list[Path], tmp_path: Path
) -> None:
    config = configure()
    layout = Layout.below(config.home)
    layout.data.mkdir(parents=True)
    (layout.data / "PG_VERSION").write_text("16\n")
    machine += [install(tmp_path / "a", version="16.9"), install(tmp_path / "b", version="17.1")]
    assert ensure_binaries(config).version == "16.9"


def test_a_named_folder_is_used(configure: Configure, machine: list[Path], tmp_path: Path) -> None:
    machine.append(install(tmp_path / "newer", version="18.1"))
    folder = install(tmp_path / "named", version="17.1")
    assert ensure_binaries(configure(postgres_bin=str(folder))).folder == folder


def test_a_named_folder_without_timescaledb_is_an_error_that_names_it(
    configure: Configure, tmp_path: Path
) -> None:
    folder = install(tmp_path, timescaledb=None)
    with pytest.raises(UnableToFindBinaries, match=f"JOULEBOOK_POSTGRES_BIN='{folder}'.*timescaledb"):
        ensure_binaries(configure(postgres_bin=str(folder)))


def test_a_named_folder_of_another_version_than_the_data_is_an_error(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(postgres_bin=str(install(tmp_path, version="18.1")))
    layout = Layout.below(config.home)
    layout.data.mkdir(parents=True)
    (layout.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(UnableToFindBinaries, match=r"is PostgreSQL 18.1, but .* made by PostgreSQL 17"):
        ensure_binaries(config)


@pytest.mark.usefixtures("nothing_to_fetch")
def test_what_was_fetched_but_not_proved_is_not_used(
    configure: Configure, machine: list[Path], tmp_path: Path
) -> None:
    config = configure()
    install(config.cache / "timescaledb-2.19.3-postgresql-17.4-x86_64")
    with pytest.raises(UnableToFindBinaries, match="nothing to fetch into"):
        ensure_binaries(config)
