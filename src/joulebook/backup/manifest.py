"""The manifest of a backup: its content with versions, numbers of rows and checksums.

It is written last. A folder without a manifest, or with a damaged one, is no backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from joulebook.backup.errors import BackupError, DamagedBackup
from joulebook.backup.files import Part

MANIFEST = "manifest.json"
FORMAT = 1
"""Counts changes of this format; a higher one is refused."""

Migration = tuple[str, str]
"""Django's app and name of a migration."""

_SAFE_FILE = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class TableColumn:
    """One column and its type as PostgreSQL writes it."""

    name: str
    type: str


@dataclass(frozen=True)
class TablePart:
    """Some rows of a table."""

    part: Part
    rows: int


@dataclass(frozen=True)
class TableCopy:
    """A table's rows in the `format` of COPY."""

    schema: str
    name: str
    columns: tuple[TableColumn, ...]
    format: Literal["binary", "text"]
    parts: tuple[TablePart, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(each.rows for each in self.parts)


@dataclass(frozen=True)
class SequenceCopy:
    """A used sequence, and its last number."""

    schema: str
    name: str
    last_value: int


@dataclass(frozen=True)
class DatabaseCopy:
    """A PostgreSQL database: its version, its applied migrations, and its content."""

    version: str
    migrations: tuple[Migration, ...]
    tables: tuple[TableCopy, ...]
    sequences: tuple[SequenceCopy, ...]


@dataclass(frozen=True)
class SqliteCopy:
    """A SQLite database as one file, and the number of rows of each table."""

    part: Part
    migrations: tuple[Migration, ...]
    rows: dict[str, int]


@dataclass(frozen=True)
class FileCopy:
    """A file: its name and the bytes of its content."""

    name: str
    bytes: int
    part: Part


@dataclass(frozen=True)
class Manifest:
    """Everything in a backup: both databases at `instant`, and the backed-up Joulebook in `origin`."""

    joulebook: str
    instant: datetime
    seconds: float
    origin: str
    telemetry: DatabaseCopy
    accounts: SqliteCopy | DatabaseCopy
    uploads: tuple[FileCopy, ...] = ()
    files: tuple[FileCopy, ...] = ()
    """Further files of the home, such as the secret key if requested."""
    settings: dict[str, str] = field(default_factory=dict)
    """The environment's settings other than the defaults, without addresses of databases and keys."""

    def parts(self) -> Iterator[Part]:
        """Yield every part."""
        databases = [self.telemetry]
        if isinstance(self.accounts, SqliteCopy):
            yield self.accounts.part
        else:
            databases.append(self.accounts)
        for database in databases:
            for table in database.tables:
                for each in table.parts:
                    yield each.part
        for copied in (*self.uploads, *self.files):
            yield copied.part

    @property
    def size(self) -> int:
        """The bytes of all parts."""
        return sum(part.size for part in self.parts())

    @property
    def readings(self) -> int:
        """The number of readings."""
        return sum(t.rows for t in self.telemetry.tables if (t.schema, t.name) == ("public", "readings"))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest to the disk; all parts are there before."""
    kind = "sqlite" if isinstance(manifest.accounts, SqliteCopy) else "postgresql"
    content = asdict(manifest) | {
        "format": FORMAT,
        "accounts_kind": kind,
        "instant": manifest.instant.isoformat(),
    }
    # The form after reading it back: tuples become lists.
    body: dict[str, Any] = json.loads(json.dumps(content))
    document = {"checksum": _checksum(body), **body}
    descriptor = os.open(folder / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a backup.

    Raises `BackupError` if the folder is no backup or a later version made it, and `DamagedBackup` if the
    manifest has changed since it was written.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise BackupError(f"{folder} is no backup: it has no {MANIFEST}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise DamagedBackup(f"{path} cannot be read: {exc}") from exc
    try:
        body = json.loads(text)
        checksum, made_in = body.pop("checksum"), body["format"]
    except (ValueError, KeyError, AttributeError, TypeError) as exc:
        raise DamagedBackup(f"{path} is damaged: {exc}") from exc
    if isinstance(made_in, int) and made_in > FORMAT:
        raise BackupError(
            f"{folder} was made by Joulebook {body.get('joulebook')}, which is newer: install that version"
        )
    if checksum != _checksum(body):
        raise DamagedBackup(f"{path} is damaged: its checksum is not that of its content")
    try:
        manifest = _manifest(body)
    except (KeyError, TypeError, ValueError) as exc:
        raise DamagedBackup(f"{path} is not understood: {exc!r}") from exc
    for part in manifest.parts():
        if not _SAFE_FILE.fullmatch(part.file):
            raise DamagedBackup(f"{path} names a file outside of the backup: {part.file!r}")
    return manifest


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _manifest(body: dict[str, Any]) -> Manifest:
    accounts: SqliteCopy | DatabaseCopy
    if body["accounts_kind"] == "sqlite":
        copied = body["accounts"]
        accounts = SqliteCopy(Part(**copied["part"]), _migrations(copied), dict(copied["rows"]))
    else:
        accounts = _database(body["accounts"])
    return Manifest(
        joulebook=body["joulebook"],
        instant=datetime.fromisoformat(body["instant"]),
        seconds=body["seconds"],
        origin=body["origin"],
        telemetry=_database(body["telemetry"]),
        accounts=accounts,
        uploads=tuple(_file(each) for each in body["uploads"]),
        files=tuple(_file(each) for each in body["files"]),
        settings=dict(body["settings"]),
    )


def _database(body: dict[str, Any]) -> DatabaseCopy:
    tables = tuple(
        TableCopy(
            schema=each["schema"],
            name=each["name"],
            columns=tuple(TableColumn(**column) for column in each["columns"]),
            format=each["format"],
            parts=tuple(TablePart(Part(**part["part"]), part["rows"]) for part in each["parts"]),
        )
        for each in body["tables"]
    )
    sequences = tuple(SequenceCopy(**each) for each in body["sequences"])
    return DatabaseCopy(body["version"], _migrations(body), tables, sequences)


def _migrations(body: dict[str, Any]) -> tuple[Migration, ...]:
    return tuple((app, name) for app, name in body["migrations"])


def _file(body: dict[str, Any]) -> FileCopy:
    return FileCopy(body["name"], body["bytes"], Part(**body["part"]))
