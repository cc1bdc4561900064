"""Finds the programs of a PostgreSQL with TimescaleDB on this machine, or fetches them into the cache."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from joulebook.config import Config
from joulebook.embedded.errors import UnableToFindBinaries
from joulebook.embedded.layout import Layout
from joulebook.embedded.provision import provision, provisioned_folders

_OLDEST_MAJOR = 15
_PROGRAMS = ("postgres", "initdb", "psql")
_USUAL_FOLDERS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin", "usr/local/bin")


@dataclass(frozen=True)
class Binaries:
    """The folder with a PostgreSQL's programs, its version ("17.11") and the version of its TimescaleDB."""

    folder: Path
    version: str
    timescaledb: str

    @property
    def major(self) -> int:
        """PostgreSQL's major version; the data folder works only with the version that created it."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> str:
        """Return the path of the program `name`."""
        return str(self.folder / name)

    def accepts(self, setting: str, value: str) -> bool:
        """Return whether this PostgreSQL accepts a value for a setting: some depend on how it was built."""
        # `postgres` requires a data folder and a file of settings; both may be empty.
        empty = ("-D", str(self.folder), "-c", "config_file=/dev/null")
        asked = ("-C", setting, *empty, "-c", f"{setting}={value}")
        return _output(self.program("postgres"), *asked) is not None


def ensure_binaries(config: Config, *, newest: bool = False) -> Binaries:
    """Return a PostgreSQL with TimescaleDB for this JOULEBOOK_HOME; fetch one if there is none.

    If JOULEBOOK_POSTGRES_BIN is set, it is that one. Else it is the newest of those installed on this machine
    and those fetched before, and if there is none, it is fetched from the machine's Debian archive. For
    existing data it must have the data's major version. With `newest` the archive is searched in any case for
    a newer version. Raises `UnableToFindBinaries` with remedies.
    """
    major: int | None = None
    with suppress(FileNotFoundError):
        major = int((Layout.below(config.home).data / "PG_VERSION").read_text().strip())
    if config.postgres_bin is not None:
        return _configured(config.postgres_bin.expanduser().absolute(), major)
    found = None if newest else find_binaries(config, major=major)
    if found is not None:
        return found
    provision(config.cache)
    found = find_binaries(config, major=major)
    if found is None:
        raise UnableToFindBinaries(
            f"the data in {Layout.below(config.home).data} was made by PostgreSQL {major}, and neither this "
            "machine nor its Debian archive has that version with TimescaleDB: install it and name its bin "
            "folder in JOULEBOOK_POSTGRES_BIN"
        )
    return found


def find_binaries(config: Config, *, major: int | None = None) -> Binaries | None:
    """Return the newest suitable PostgreSQL on this machine, of one `major` version if given."""
    candidates = [inspect(folder) for folder in _installed_folders()]
    candidates += [inspect(folder) for folder in provisioned_folders(config.cache)]
    fitting = [found for found in candidates if found is not None and major in (None, found.major)]
    return max(fitting, key=_version_key, default=None)


def inspect(folder: Path) -> Binaries | None:
    """Return the versions of a bin folder's PostgreSQL; None if it does not run or lacks TimescaleDB."""
    if not all((folder / name).exists() for name in _PROGRAMS):
        return None
    match = re.search(r"PostgreSQL\) (\d+)(\.\d+)?", _output(str(folder / "postgres"), "--version") or "")
    if match is None or int(match[1]) < _OLDEST_MAJOR:
        return None
    timescaledb = _timescaledb(folder, int(match[1]))
    return None if timescaledb is None else Binaries(folder, match[1] + (match[2] or ""), timescaledb)


def _configured(folder: Path, major: int | None) -> Binaries:
    """Return the PostgreSQL in the folder named by JOULEBOOK_POSTGRES_BIN. Raises `UnableToFindBinaries`."""
    found = inspect(folder)
    if found is None:
        raise UnableToFindBinaries(
            f"JOULEBOOK_POSTGRES_BIN={str(folder)!r} is not the bin folder of a PostgreSQL {_OLDEST_MAJOR} "
            f"or later with TimescaleDB: it must hold {', '.join(_PROGRAMS)}, and the files of the extension "
            "timescaledb must be installed for it"
        )
    if major not in (None, found.major):
        raise UnableToFindBinaries(
            f"JOULEBOOK_POSTGRES_BIN={str(folder)!r} is PostgreSQL {found.version}, but the data that exists "
            f"was made by PostgreSQL {major}: name a folder of that version"
        )
    return found


def _installed_folders() -> Iterator[Path]:
    pg_config = shutil.which("pg_config")
    if pg_config is not None:
        folder = _output(pg_config, "--bindir")
        if folder:
            yield Path(folder)
    for pattern in _USUAL_FOLDERS:
        yield from sorted(Path("/").glob(pattern))


def _timescaledb(folder: Path, major: int) -> str | None:
    """Return the version of TimescaleDB that a PostgreSQL creates by default; None if it has none."""
    for share, library in _extension_folders(folder, major):
        control = share / "extension" / "timescaledb.control"
        if not control.exists():
            continue
        match = re.search(r"^default_version\s*=\s*'([^']+)'", control.read_text(), re.MULTILINE)
        if (
            match
            and (library / f"timescaledb-{match[1]}.so").exists()
            and (library / "timescaledb.so").exists()
        ):
            return match[1]
    return None


def _extension_folders(folder: Path, major: int) -> Iterator[tuple[Path, Path]]:
    """Yield possible pairs of PostgreSQL's folder of shared files and its folder of libraries."""
    pg_config = folder / "pg_config"
    if pg_config.exists():
        share, library = _output(str(pg_config), "--sharedir"), _output(str(pg_config), "--pkglibdir")
        if share and library:
            yield Path(share), Path(library)
    if len(folder.parents) > 3:
        # Debian's layout, also below another root: <root>/usr/lib/postgresql/17/bin.
        yield folder.parents[3] / "share" / "postgresql" / str(major), folder.parent / "lib"


def _output(*command: str) -> str | None:
    """Return the output of a command; None if it cannot run, fails, or takes longer than 30 s."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version_key(found: Binaries) -> tuple[list[int], list[int]]:
    """Return a key for sorting by the version of PostgreSQL, then by that of TimescaleDB."""
    numbers = [
        [int(part) for part in re.findall(r"\d+", text)] for text in (found.version, found.timescaledb)
    ]
    return numbers[0], numbers[1]
