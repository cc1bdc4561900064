"""Start, stop and everything unclean in between."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, EmbeddedError, UnableToStart
from joulebook.embedded.binaries import ensure_binaries
from joulebook.embedded.layout import Layout
from joulebook.embedded.processes import find_postmaster, server_processes
from joulebook.embedded.server_user import command_prefix, find_server_user

from ...conftest import free_port
from .conftest import NewHome, configure
from .servers import answers, compute, environment, gone, kept, kill, write

START = """\
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
EmbeddedDatabase(Config.from_environ()).start()
"""


def test_the_server_is_asked_what_it_was_built_with(database: EmbeddedDatabase, config: Config) -> None:
    binaries = ensure_binaries(config)
    assert binaries.accepts("wal_compression", "off")
    assert not binaries.accepts("wal_compression", "none such")
    database.start()
    with psycopg.connect(database.url("reader")) as conn:
        (used,) = conn.execute("SHOW wal_compression").fetchone()
    assert used == ("lz4" if binaries.accepts("wal_compression", "lz4") else "off")


def test_starting_twice_is_harmless(database: EmbeddedDatabase) -> None:
    database.start()
    pid = database.pid()
    database.start()
    assert database.pid() == pid
    assert answers(database)


def test_stopping_leaves_no_process_and_may_be_repeated(database: EmbeddedDatabase, layout: Layout) -> None:
    database.start()
    assert len(server_processes(layout)) > 3
    database.stop()
    assert server_processes(layout) == []
    assert not database.is_running()
    database.stop()


def test_a_home_without_a_database_can_be_stopped(tmp_path: Path) -> None:
    EmbeddedDatabase(Config.from_environ({"JOULEBOOK_HOME": str(tmp_path / "none")})).stop()
    assert not (tmp_path / "none").exists()


def test_stopping_disconnects_clients(database: EmbeddedDatabase) -> None:
    database.start()
    with closing(psycopg.connect(database.url("reader"))) as conn:
        database.stop()
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")


def test_a_server_that_does_not_listen_to_reason_is_stopped_all_the_same(
    database: EmbeddedDatabase, layout: Layout
) -> None:
    database.start()
    write(database, value=1)
    pid = database.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    database.stop(patience=0.2)
    assert gone(layout, within=0)
    database.start()
    assert kept(database) == [1]


def test_processes_that_start_at_once_agree_on_one_server(config: Config, layout: Layout) -> None:
    command = [sys.executable, "-c", START]
    starters = [subprocess.Popen(command, env=environment(config)) for _ in range(4)]
    assert [starter.wait(60) for starter in starters] == [0, 0, 0, 0]
    pid = find_postmaster(layout)
    parents = {
        Path(f"/proc/{each}/stat").read_text().split()[3] for each in server_processes(layout) if each != pid
    }
    assert parents == {str(pid)}


def test_a_first_start_that_is_killed_at_any_moment_is_completed_by_the_next(tmp_path: Path) -> None:
    config = configure(tmp_path / "home")
    for tenth in (3, 5, 7, 9, 12):
        with subprocess.Popen([sys.executable, "-c", START], env=environment(config)) as starter:
            time.sleep(tenth / 10)
            starter.kill()
    database = EmbeddedDatabase(config)
    database.start()
    for role in ("owner", "writer", "reader"):
        with psycopg.connect(database.url(role)) as conn:
            assert conn.execute("SELECT extname FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    database.stop()
    assert gone(Layout.below(config.home), within=0)
    shutil.rmtree(config.home)


def test_a_started_server_outlives_the_process_that_started_it(config: Config, layout: Layout) -> None:
    subprocess.run([sys.executable, "-c", START], check=True, env=environment(config))
    pid = find_postmaster(layout)
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert answers(EmbeddedDatabase(config))


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a client at work"])
def test_a_killed_server_starts_again_with_everything_committed(
    database: EmbeddedDatabase, layout: Layout, busy: bool
) -> None:
    database.start()
    write(database, value=1)
    with closing(psycopg.connect(database.superuser_url())) as client:
        if busy:
            compute(client)
        killed = kill(database)
        database.start()
        assert database.pid() not in (None, killed)
        assert client.info.backend_pid not in server_processes(layout)
        assert kept(database) == [1]


def test_stopping_ends_what_a_killed_server_left_behind(database: EmbeddedDatabase, layout: Layout) -> None:
    database.start()
    with closing(psycopg.connect(database.superuser_url())) as client:
        compute(client)
        kill(database)
        time.sleep(0.3)
        assert client.info.backend_pid in server_processes(layout)
        assert not database.is_running()
        database.stop()
        assert gone(layout, within=0)


def test_a_number_that_now_belongs_to_a_stranger_does_not_hinder_a_start(
    database: EmbeddedDatabase, layout: Layout
) -> None:
    """As in a container, where each start hands out the same few process numbers."""
    database.start()
    note = (layout.data / "postmaster.pid").read_text()
    socket_lock = layout.root / "run" / ".s.PGSQL.5432.lock"
    socket_note = socket_lock.read_text()
    pid = kill(database)
    assert gone(layout, within=10)
    # PostgreSQL takes no notice of other users' processes, so the stranger is one of the server's user.
    become = command_prefix(find_server_user(layout.data), folders=[])
    with subprocess.Popen([*become, "sleep", "600"]) as stranger:
        try:
            (layout.data / "postmaster.pid").write_text(note.replace(str(pid), str(stranger.pid), 1))
            socket_lock.write_text(socket_note.replace(str(pid), str(stranger.pid), 1))
            database.stop()
            database.start()
            assert answers(database)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_two_homes_run_side_by_side(new_home: NewHome) -> None:
    databases = [EmbeddedDatabase(new_home(name)) for name in ("one", "two")]
    for number, database in enumerate(databases):
        database.start()
        write(database, value=number)
    databases[0].stop()
    assert kept(databases[1]) == [1]
    databases[1].stop()


def test_a_loopback_port_is_opened_when_asked_for(new_home: NewHome) -> None:
    port = free_port()
    database = EmbeddedDatabase(new_home(db_port=str(port)))
    database.start()
    with psycopg.connect(database.url("reader"), host="127.0.0.1") as conn:
        assert conn.info.port == port
    assert answers(database)


def test_the_address_is_the_running_servers_even_if_the_port_setting_changed_since(new_home: NewHome) -> None:
    config = new_home(db_port=str(free_port()))
    EmbeddedDatabase(config).start()
    without = Config.from_environ({"JOULEBOOK_HOME": str(config.home)})
    assert answers(EmbeddedDatabase(without))


def test_the_users_own_settings_count(database: EmbeddedDatabase, layout: Layout) -> None:
    layout.own_settings.write_text("work_mem = '7MB'\n")
    database.start()
    with psycopg.connect(database.url("reader")) as conn:
        assert conn.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_a_start_that_fails_tells_the_servers_own_words(database: EmbeddedDatabase, layout: Layout) -> None:
    layout.own_settings.write_text("no_such_setting = 1\n")
    with pytest.raises(UnableToStart, match="unrecognized configuration parameter"):
        database.start()
    assert gone(layout, within=0)


def test_a_superuser_whose_password_was_lost_is_told_apart(
    database: EmbeddedDatabase, layout: Layout
) -> None:
    (layout.passwords / "postgres").write_text("not it\n")
    with pytest.raises(UnableToStart, match="passwords/postgres does not fit the data"):
        database.start()
    assert gone(layout, within=0)


def test_a_server_that_somebody_else_started_is_not_touched(
    database: EmbeddedDatabase, layout: Layout
) -> None:
    """A second server on the same data would destroy it."""
    command = ["/bin/sh", "-c", "echo; read line", "/usr/lib/postgres", "-D", str(layout.data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        try:
            for action in (database.start, database.foreground):
                with pytest.raises(EmbeddedError, match=f"process {stranger.pid} .*not started by Joulebook"):
                    action()
            database.stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_secrets_and_data_are_private(database: EmbeddedDatabase, layout: Layout) -> None:
    database.start()
    for folder in (layout.data, layout.logs, layout.passwords, database.socket):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for lock in (layout.operation_lock, layout.server_lock):  # who may open one may hold it for ever
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600, lock
    logs = [path for folder in (layout.logs, layout.root) for path in folder.glob("*.log")]
    secrets = [path.read_text().strip() for path in layout.passwords.iterdir()]
    assert len(logs) > 1
    assert not [path for path in logs if any(secret in path.read_text() for secret in secrets)]
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in server_processes(layout)]
    assert not [command for command in commands if any(secret in command for secret in secrets)]
