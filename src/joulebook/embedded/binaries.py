"""The programs of a PostgreSQL with TimescaleDB: found on this machine, or fetched into the cache."""

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
    """The folder with a PostgreSQL's programs, and the versions of it ("17.11") and its TimescaleDB."""

    folder: Path
    version: str
    timescaledb: str

    @property
    def major(self) -> int:
        """PostgreSQL's major version; data and programs must have the same."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> str:
        """Return the path of one of the programs, for use in a command."""
        return str(self.folder / name)

    def takes(self, setting: str, value: str) -> bool:
        """Return whether this PostgreSQL was built with a setting's value."""
        # It wants a folder and a file of settings; both may be empty.
        empty = ("-D", str(self.folder), "-c", "config_file=/dev/null")
        asked = ("-C", setting, *empty, "-c", f"{setting}={value}")
        return _answer(self.program("postgres"), *asked) is not None


def ensure_binaries(config: Config, *, newest: bool = False) -> Binaries:
    """Return a PostgreSQL with TimescaleDB for this JOULEBOOK_HOME; fetch one if there is none.

    In this order: JOULEBOOK_POSTGRES_BIN, the machine's installed ones, those fetched before, the machine's
    Debian archive. Existing data needs its own major version. With `newest` the archive is asked in any
    case, and a newer version is fetched for the next start. Raises `UnableToFindBinaries` with remedies.
    """
    major: int | None = None
    with suppress(FileNotFoundError):
        major = int((Layout.below(config.home).data / "PG_VERSION").read_text().strip())
    if config.postgres_bin is not None:
        return _named(config.postgres_bin.expanduser().absolute(), major)
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
    return max(fitting, key=_age, default=None)


def inspect(folder: Path) -> Binaries | None:
    """Return the versions of a bin folder's PostgreSQL; None if it does not run or lacks TimescaleDB."""
    if not all((folder / name).exists() for name in _PROGRAMS):
        return None
    match = re.search(r"PostgreSQL\) (\d+)(\.\d+)?", _answer(str(folder / "postgres"), "--version") or "")
    if match is None or int(match[1]) < _OLDEST_MAJOR:
        return None
    timescaledb = _timescaledb(folder, int(match[1]))
    return None if timescaledb is None else Binaries(folder, match[1] + (match[2] or ""), timescaledb)


def _named(folder: Path, major: int | None) -> Binaries:
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
        folder = _answer(pg_config, "--bindir")
        if folder:
            yield Path(folder)
    for pattern in _USUAL_FOLDERS:
        yield from sorted(Path("/").glob(pattern))


def _timescaledb(folder: Path, major: int) -> str | None:
    """Return the version of TimescaleDB created by a PostgreSQL; None without its library."""
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
    pg_config = folder / "pg_config"
    if pg_config.exists():
        share, library = _answer(str(pg_config), "--sharedir"), _answer(str(pg_config), "--pkglibdir")
        if share and library:
            yield Path(share), Path(library)
    if len(folder.parents) > 3:
        # Debian's layout, also below another root: <root>/usr/lib/postgresql/17/bin.
        yield folder.parents[3] / "share" / "postgresql" / str(major), folder.parent / "lib"


def _answer(*command: str) -> str | None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, cwd="/")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _age(found: Binaries) -> tuple[list[int], list[int]]:
    """Return a key for sorting the newest PostgreSQL, then the newest TimescaleDB, to the end."""
    numbers = [
        [int(part) for part in re.findall(r"\d+", text)] for text in (found.version, found.timescaledb)
    ]
    return numbers[0], numbers[1]
