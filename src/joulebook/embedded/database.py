"""The private TimescaleDB of one JOULEBOOK_HOME: set up, start, stop, and the addresses of its roles."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psycopg
from psycopg import sql

from joulebook.config import Config
from joulebook.embedded.binaries import Binaries, ensure_binaries
from joulebook.embedded.bootstrap import (
    DATABASE,
    create_database,
    ensure_cluster,
    ensure_extension,
    ensure_roles_and_database,
)
from joulebook.embedded.errors import EmbeddedError, UnableToStart
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import held, try_lock
from joulebook.embedded.passwords import read_password
from joulebook.embedded.processes import (
    answer_requests,
    clear_remains,
    end_leftovers,
    find_postmaster,
    is_alive,
    is_ready,
    is_stopping,
    running_port,
    stop_postmaster,
)
from joulebook.embedded.server_user import ServerUser, command_prefix, find_server_user, system_tool
from joulebook.embedded.settings import write_settings
from joulebook.embedded.sockets import prepare_socket_folder, socket_folder

Role = Literal["owner", "writer", "reader"]

_DEFAULT_PORT = 5432  # names the Unix socket if no loopback port is set
_INSTANT = 0.2  # seconds without a command line in a process becoming the server


class _Ended(UnableToStart):
    """The server ended before it was ready."""


class EmbeddedDatabase:
    """Joulebook's own database server; one for each JOULEBOOK_HOME."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._layout = Layout.below(config.home)

    def start(self, *, settings: Mapping[str, str] | None = None, timeout: float = 120.0) -> None:
        """Start the server in the background and return as soon as it accepts connections.

        Finds or fetches the programs and creates cluster, roles and database if needed. A running server
        stays unchanged. `settings` are PostgreSQL settings for this start alone. Raises `EmbeddedError`.
        """
        self._layout.create_root()
        launched = False
        while True:
            with held(self._layout.operation_lock):
                if _postmaster_to_keep(self._layout) is None:
                    _launch(self._config, self._layout, settings or {}, detached=True)
                    launched = True
            try:
                return self.wait_until_ready(timeout)
            except UnableToStart as exc:
                if launched:
                    self.stop()  # after an error no server stays behind
                    raise
                if not isinstance(exc, _Ended):
                    raise
                # The running server was about to end: it gets a successor.

    def foreground(self, *, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start the server as a child ending with this process, and return the child at once.

        It has its own process group: Ctrl-C reaches only the caller, and the caller stops it by SIGINT or
        `stop`. The kernel stops it at the end of the calling *thread*, so call this from the main thread.
        Call `wait_until_ready` next. Raises `EmbeddedError` if a server runs already.
        """
        self._layout.create_root()
        with held(self._layout.operation_lock):
            pid = _postmaster_to_keep(self._layout, patience=0.5)
            if pid is not None:
                raise UnableToStart(
                    f"the database in {self._layout.data} runs already as process {pid}: "
                    "stop it with `joulebook db stop`"
                )
            return _launch(self._config, self._layout, settings or {}, detached=False)

    def wait_until_ready(self, timeout: float = 120.0) -> None:
        """Wait until the server accepts connections, then complete roles, database and extension.

        `timeout` in seconds; crash recovery may take some. Raises `UnableToStart` if the server ends or
        does not answer in time.
        """
        deadline = time.monotonic() + timeout
        seen = time.monotonic()
        while (now := time.monotonic()) < deadline:
            if find_postmaster(self._layout) is not None:
                seen = now
                if is_ready(self._layout) and self._accepts():
                    break
            elif not is_alive(self._layout) or now - seen > _INSTANT:
                raise _Ended(f"the database did not start: {self._last_words()}")
            time.sleep(0.02)
        else:
            raise UnableToStart(f"the database did not answer within {timeout:.0f} s: {self._last_words()}")
        with held(self._layout.operation_lock):
            try:
                ensure_roles_and_database(
                    self.superuser_url(), self.superuser_url(database=DATABASE), self._layout.passwords
                )
            except psycopg.Error as exc:
                raise UnableToStart(f"the database could not be set up: {exc}\n{self._last_words()}") from exc

    def answer_priority_requests(self) -> None:
        """From now on, make the reader's backends nice at the web's requests, in a thread."""
        answer_requests(self._layout, self.socket)

    def stop(self, *, patience: float = 60.0) -> None:
        """Stop the server and return after the end of all its processes; harmless if it is down.

        Clients are disconnected. After `patience` seconds the server is stopped without its final
        checkpoint: no data is lost, but the next start takes a recovery.
        """
        if not self._layout.root.exists():
            return
        with held(self._layout.operation_lock):
            if is_alive(self._layout):
                stop_postmaster(self._layout, patience=patience)

    def is_running(self) -> bool:
        """Return whether the server runs and accepts connections."""
        return is_ready(self._layout) and find_postmaster(self._layout) is not None

    def pid(self) -> int | None:
        """Return the process id of the running server; None if it is down."""
        return find_postmaster(self._layout)

    @property
    def socket(self) -> Path:
        """The folder of the server's Unix socket."""
        return socket_folder(self._layout)

    def size_on_disk(self) -> int:
        """Return the data folder's size in bytes, with the write-ahead log; 0 before the first start."""
        total = 0
        for folder, _, names in os.walk(self._layout.data):
            for name in names:
                with suppress(FileNotFoundError):
                    total += (Path(folder) / name).lstat().st_blocks * 512
        return total

    def url(self, role: Role, *, database: str = DATABASE) -> str:
        """Return a role's address, password included. Raises `NotCreated` before the first start."""
        return self._url(f"joulebook_{role}", database)

    def superuser_url(self, *, database: str = "postgres") -> str:
        """Return the address of the server's superuser, for set-up and tests."""
        return self._url("postgres", database)

    def create_database(self, name: str, *, template: str | None = None) -> None:
        """Create a further database of the owner with TimescaleDB, or a copy of `template`.

        A template must have no connections: start the server with
        `timescaledb.max_background_workers` = 0 to keep TimescaleDB's own away from it.
        """
        with psycopg.connect(self.superuser_url(), autocommit=True) as conn:
            create_database(conn, name, template=template)
        if template is None:
            ensure_extension(self.superuser_url(database=name))

    def drop_database(self, name: str) -> None:
        """Drop a database, and end its connections; harmless if there is none."""
        if name == DATABASE:
            raise EmbeddedError(f"{DATABASE!r} holds the readings and is not dropped")
        with psycopg.connect(self.superuser_url(), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _url(self, role: str, database: str) -> str:
        password = quote(read_password(self._layout.passwords, role), safe="")
        port = running_port(self._layout) or self._config.db_port or _DEFAULT_PORT
        host = quote(str(socket_folder(self._layout)), safe="")
        return f"postgresql://{role}:{password}@/{quote(database, safe='')}?host={host}&port={port}"

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.superuser_url(), connect_timeout=5).close()
        except psycopg.OperationalError as exc:
            if "password authentication failed" not in str(exc):
                return False
            raise UnableToStart(
                f"the database refuses its superuser: {self._layout.passwords / 'postgres'} does not fit "
                "the data beside it; restore both from the same backup"
            ) from exc
        return True

    def _last_words(self) -> str:
        """Return the last lines of the server's output at its start and of its newest log file."""
        newest = max(self._layout.logs.glob("*.log"), key=lambda path: path.stat().st_mtime, default=None)
        files = [path for path in (self._layout.startup_log, newest) if path is not None and path.exists()]
        lines = [line for path in files for line in path.read_text(errors="replace").splitlines()[-8:]]
        return f"its logs in {self._layout.root} end:\n" + "\n".join(lines)


def _launch(
    config: Config, layout: Layout, settings: Mapping[str, str], *, detached: bool
) -> subprocess.Popen[bytes]:
    """Start the server and return at once; the caller holds the operation lock, and no server runs.

    Detached, the server has no parent of ours, and the returned process has ended already. Otherwise it is
    our child, in its own process group, and stops at the end of the calling thread.
    """
    user = find_server_user(layout.data)
    binaries = ensure_binaries(config)
    # Without our PG… variables.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    ensure_cluster(layout, binaries, user, environment)
    sockets = prepare_socket_folder(layout, user)
    port = config.db_port
    write_settings(
        layout,
        sockets=sockets,
        port=port or _DEFAULT_PORT,
        loopback=port is not None,
        has_lz4=binaries.accepts("wal_compression", "lz4"),
    )
    lock = _claim(layout)
    try:
        clear_remains(layout, sockets)
        command = _command(layout, binaries, user, sockets, settings, detached=detached)
        with layout.startup_log.open("wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environment,
                pass_fds=[lock],
                process_group=None if detached else 0,
            )
        if detached:
            child.wait()  # setsid ends at once; the server runs on without us
        return child
    finally:
        os.close(lock)


def _postmaster_to_keep(layout: Layout, *, patience: float = 0.0) -> int | None:
    """Return the process id of a server still running and not about to stop; None without one.

    Wait for the end of a stopping server. For `patience` seconds any server may be about to stop: the
    server of a supervisor killed just now takes a moment to notice.
    """
    begun = time.monotonic()
    while True:
        pid = find_postmaster(layout)
        waited = time.monotonic() - begun
        if pid is not None and not is_stopping(layout) and waited >= patience:
            return pid
        if pid is None and (not is_alive(layout) or waited >= _INSTANT):
            return None
        time.sleep(0.02)


def _claim(layout: Layout) -> int:
    """Take the lock of a living server; before that, end the processes left by a dead postmaster."""
    for _ in range(3):
        lock = try_lock(layout.server_lock)
        if lock is not None:
            return lock
        end_leftovers(layout, grace=1.0)
    raise UnableToStart(f"another process keeps taking {layout.server_lock}: try again")


def _command(
    layout: Layout,
    binaries: Binaries,
    user: ServerUser,
    sockets: Path,
    settings: Mapping[str, str],
    *,
    detached: bool,
) -> list[str]:
    folders = [layout.data, layout.logs, sockets, binaries.folder]
    words = [system_tool("setsid"), "--fork"] if detached else []
    words += command_prefix(user, folders=folders, parent_death_signal=None if detached else "INT")
    words += [binaries.program("postgres"), "-D", str(layout.data)]
    for name, value in {"config_file": str(layout.settings), **settings}.items():
        words += ["-c", f"{name}={value}"]
    return words
