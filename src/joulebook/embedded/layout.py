"""The paths of the embedded database's files below JOULEBOOK_HOME, and the name of its cluster."""

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
        """Create the folder. Raises `EmbeddedError` with the system's reason."""
        try:
            self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as exc:
            raise EmbeddedError(
                f"cannot create {self.root}: {exc.strerror}; name another folder in JOULEBOOK_HOME"
            ) from exc

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder; it exists only after initdb has finished."""
        return self.root / "data"

    @property
    def unfinished_data(self) -> Path:
        """Initdb's working folder; renamed to `data` at the end, so a killed initdb leaves no half folder."""
        return self.root / "data.new"

    @property
    def logs(self) -> Path:
        """Folder of the server's log files, one for each day of the week."""
        return self.root / "log"

    @property
    def startup_log(self) -> Path:
        """The server's output before its own log is open; emptied at each start."""
        return self.root / "startup.log"

    @property
    def settings(self) -> Path:
        """PostgreSQL's settings; beside the data, so root writes nothing into another user's folder."""
        return self.root / "postgresql.conf"

    @property
    def host_rules(self) -> Path:
        """The roles and addresses allowed to connect."""
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
        """The user's own PostgreSQL settings; read last, never written."""
        return self.root / "postgresql.local.conf"

    @property
    def cluster_name(self) -> str:
        """Name in the titles of all processes of this server; unique to the folder."""
        return "joulebook_" + hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
