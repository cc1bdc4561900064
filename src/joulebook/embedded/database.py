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
from joulebook.embedded.account import Account, command_prefix, database_account
from joulebook.embedded.binaries import Binaries, ensure_binaries
from joulebook.embedded.bootstrap import (
    DATABASE,
    create_database,
    ensure_cluster,
    ensure_extension,
    ensure_roles_and_database,
    superuser_hint,
)
from joulebook.embedded.errors import EmbeddedError, UnableToStart
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import held, try_lock
from joulebook.embedded.passwords import read_password
from joulebook.embedded.processes import (
    end_leftovers,
    find_postmaster,
    forget_stranger,
    is_alive,
    is_ready,
    running_port,
    stop_postmaster,
)
from joulebook.embedded.settings import write_settings
from joulebook.embedded.sockets import prepare_socket_folder, socket_folder

Role = Literal["owner", "writer", "reader"]

_DEFAULT_PORT = 5432  # names the Unix socket when no loopback port is asked for


class EmbeddedDatabase:
    """The database server that Joulebook runs for itself; one for each JOULEBOOK_HOME."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._layout = Layout.below(config.home)

    def start(self, *, settings: Mapping[str, str] | None = None) -> None:
        """Start the server in the background and return when it accepts connections.

        Finds or fetches the programs and creates cluster, roles and database where needed. A server
        that runs already is left as it is. `settings` are PostgreSQL settings for this start alone.
        Raises `EmbeddedError`.
        """
        self._layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        with held(self._layout.operation_lock):
            if find_postmaster(self._layout) is None:
                self._launch(settings or {}, detached=True)
            self._wait(120.0)
            self._bootstrap()

    def foreground(self, *, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start the server as a child of this process that dies with it, and return the child at once.

        It has a process group of its own, so that Ctrl-C reaches only the caller, who stops it by
        SIGINT or `stop`. The kernel stops it when the calling *thread* ends, so call this from the
        main thread. Call `wait_until_ready` next. Raises `EmbeddedError` when a server runs already.
        """
        self._layout.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        with held(self._layout.operation_lock):
            pid = find_postmaster(self._layout)
            if pid is not None:
                raise UnableToStart(
                    f"the database in {self._layout.data} runs already as process {pid}: "
                    "stop it with `joulebook db stop`"
                )
            return self._launch(settings or {}, detached=False)

    def wait_until_ready(self, timeout: float = 120.0) -> None:
        """Wait until the server accepts connections, then complete roles, database and extension.

        `timeout` in seconds; crash recovery may take some. Raises `UnableToStart` when the server
        ends or does not answer in time.
        """
        self._wait(timeout)
        with held(self._layout.operation_lock):
            self._bootstrap()

    def stop(self, *, patience: float = 60.0) -> None:
        """Stop the server and return when no process of it is left; harmless when it is down.

        Clients are disconnected. After `patience` seconds the server is stopped without its final
        checkpoint, which loses nothing and costs a recovery at the next start.
        """
        if not self._layout.root.exists():
            return
        with held(self._layout.operation_lock):
            if is_alive(self._layout):
                stop_postmaster(self._layout, patience=patience)

    def is_running(self) -> bool:
        """Say whether the server runs and accepts connections."""
        return is_alive(self._layout) and is_ready(self._layout)

    def pid(self) -> int | None:
        """Return the process id of the running server; None when it is down."""
        return find_postmaster(self._layout)

    @property
    def socket(self) -> Path:
        """The folder of the server's Unix socket."""
        return socket_folder(self._layout)

    def size_on_disk(self) -> int:
        """Return the bytes that the data folder takes, write-ahead log included; 0 before the first start."""
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
        """Create a further database of the owner's with TimescaleDB in it, or a copy of `template`.

        A template must have no connections: start the server with
        `timescaledb.max_background_workers` = 0 to keep TimescaleDB's own away from it.
        """
        with psycopg.connect(self.superuser_url(), autocommit=True) as conn:
            create_database(conn, name, template=template)
        if template is None:
            ensure_extension(self.superuser_url(database=name))

    def drop_database(self, name: str) -> None:
        """Drop a database, its connections included; harmless when there is none."""
        if name == DATABASE:
            raise EmbeddedError(f"{DATABASE!r} holds the readings and is not dropped")
        with psycopg.connect(self.superuser_url(), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _url(self, role: str, database: str) -> str:
        password = read_password(self._layout.passwords, role)
        port = running_port(self._layout) or self._config.db_port or _DEFAULT_PORT
        host = quote(str(socket_folder(self._layout)), safe="")
        name = quote(database, safe="")
        return f"postgresql://{role}:{quote(password, safe='')}@/{name}?host={host}&port={port}"

    def _launch(self, settings: Mapping[str, str], *, detached: bool) -> subprocess.Popen[bytes]:
        """Prepare everything and start the server; the operation lock is held by the caller."""
        account = database_account(self._layout.data)
        binaries = ensure_binaries(self._config)
        environment = _environment()
        ensure_cluster(self._layout, binaries, account, environment)
        sockets = prepare_socket_folder(self._layout, account)
        port = self._config.db_port
        write_settings(self._layout, sockets=sockets, port=port or _DEFAULT_PORT, loopback=port is not None)
        lock = self._claim()
        try:
            forget_stranger(self._layout)
            command = self._command(binaries, account, sockets, settings, detached=detached)
            return _spawn(command, lock, self._layout.startup_log, environment, detached=detached)
        finally:
            os.close(lock)

    def _claim(self) -> int:
        """Take the lock that says that the server lives; end first what a dead postmaster left behind."""
        for _ in range(3):
            lock = try_lock(self._layout.server_lock)
            if lock is not None:
                return lock
            end_leftovers(self._layout, grace=5.0)
        raise UnableToStart(f"another process keeps taking {self._layout.server_lock}: try again")

    def _command(
        self,
        binaries: Binaries,
        account: Account,
        sockets: Path,
        settings: Mapping[str, str],
        *,
        detached: bool,
    ) -> list[str]:
        folders = [self._layout.data, self._layout.logs, sockets, binaries.folder]
        signal_name = None if detached else "INT"
        words = ["setsid", "--fork"] if detached else []
        words += command_prefix(account, folders=folders, parent_death_signal=signal_name)
        words += [binaries.program("postgres"), "-D", str(self._layout.data)]
        for name, value in settings.items():
            words += ["-c", f"{name}={value}"]
        return words

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not is_alive(self._layout):
                raise UnableToStart(f"the database did not start: {self._last_words()}")
            if is_ready(self._layout) and self._accepts():
                return
            time.sleep(0.02)
        raise UnableToStart(f"the database did not answer within {timeout:.0f} s: {self._last_words()}")

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.superuser_url(), connect_timeout=5).close()
        except psycopg.OperationalError as exc:
            if "password authentication failed" in str(exc):
                raise superuser_hint(exc, self._layout) from exc
            return False
        return True

    def _bootstrap(self) -> None:
        ensure_roles_and_database(
            self.superuser_url(), self.superuser_url(database=DATABASE), self._layout.passwords
        )

    def _last_words(self) -> str:
        """Return the end of the server's newest log file."""
        files = sorted(self._layout.logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
        lines = [line for path in files[-2:] for line in path.read_text(errors="replace").splitlines()]
        return f"its log in {self._layout.logs} ends:\n" + "\n".join(lines[-12:])


def _environment() -> dict[str, str]:
    """Return the server's environment: ours could carry PG… variables that change it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _spawn(
    command: list[str], lock: int, log: Path, environment: dict[str, str], *, detached: bool
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
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
        child.wait()  # setsid leaves at once; the server goes on without us
    return child
