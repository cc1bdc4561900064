"""Where the embedded database keeps its files below JOULEBOOK_HOME, and what its cluster is called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError


@dataclass(frozen=True)
class Layout:
    """The files of one embedded database. `root` is `JOULEBOOK_HOME/db`, with symbolic links resolved."""

    root: Path

    @classmethod
    def below(cls, home: Path) -> Layout:
        """Return the layout for a JOULEBOOK_HOME; nothing is created."""
        return cls(home.resolve() / "db")

    def create_root(self) -> None:
        """Create the folder. Raises `EmbeddedError` with what the system said."""
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as exc:
            raise EmbeddedError(
                f"cannot create {self.root}: {exc.strerror}; name another folder in JOULEBOOK_HOME"
            ) from exc

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder; it exists only when initdb has finished."""
        return self.root / "data"

    @property
    def unfinished_data(self) -> Path:
        """Where initdb works; renamed to `data` at the end, so that a killed initdb leaves no half folder."""
        return self.root / "data.new"

    @property
    def logs(self) -> Path:
        """Folder of the server's log files, one for each day of the week."""
        return self.root / "log"

    @property
    def startup_log(self) -> Path:
        """What the server writes before its own log is open; begun anew at each start."""
        return self.root / "startup.log"

    @property
    def settings(self) -> Path:
        """PostgreSQL's settings; beside the data, so that root writes nothing into another user's folder."""
        return self.root / "postgresql.conf"

    @property
    def host_rules(self) -> Path:
        """Who may connect from where."""
        return self.root / "pg_hba.conf"

    @property
    def passwords(self) -> Path:
        """Folder with one file of mode 0600 for each role."""
        return self.root / "passwords"

    @property
    def operation_lock(self) -> Path:
        """Held while a process starts, stops or sets up the server."""
        return self.root / "operation.lock"

    @property
    def server_lock(self) -> Path:
        """Held by every process of a running server, by inheritance, as long as one of them lives."""
        return self.root / "server.lock"

    @property
    def own_settings(self) -> Path:
        """PostgreSQL settings that the user adds; read last, never written."""
        return self.root / "postgresql.local.conf"

    @property
    def cluster_name(self) -> str:
        """Name that all of this server's processes carry in their titles; unique to the folder."""
        return "joulebook_" + hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
