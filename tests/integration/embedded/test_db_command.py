"""`joulebook db`, as a person or a script meets it."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase

COMMAND = [sys.executable, "-c", "from joulebook.cli.db import app; app(prog_name='joulebook db')"]


def db(config: Config, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JOULEBOOK_", "PG"))}
    own = {"JOULEBOOK_HOME": str(config.home), "JOULEBOOK_CACHE": str(config.cache)}
    environment = kept | own | variables
    return subprocess.run([*COMMAND, *words], check=False, capture_output=True, text=True, env=environment)


def test_start_status_and_stop_agree(config: Config) -> None:
    stopped = db(config, "status")
    assert (stopped.returncode, stopped.stdout.split()[:2]) == (3, ["state", "stopped"])
    started = db(config, "start")
    assert (started.returncode, started.stdout) == (0, "")
    running = db(config, "status")
    assert running.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in running.stdout.splitlines())
    assert lines["state"] == "running"
    assert lines["edition"] in {"apache", "timescale"}
    assert int(lines["postgresql"].split(".")[0]) >= 15
    assert lines["timescaledb"].count(".") == 2
    assert lines["address"] == str(EmbeddedDatabase(config).socket)
    assert db(config, "start").returncode == 0
    assert db(config, "stop").returncode == 0
    assert db(config, "status").returncode == 3


@pytest.mark.parametrize("role", ["reader", "writer", "owner"])
def test_url_is_alone_on_standard_output_and_works(config: Config, role: str) -> None:
    db(config, "start")
    printed = db(config, "url", "--role", role).stdout
    assert printed.count("\n") == 1
    with psycopg.connect(printed.strip()) as conn:
        assert conn.execute("SELECT current_user").fetchone() == (f"joulebook_{role}",)


def test_url_of_a_new_home_is_an_error_without_a_traceback(config: Config) -> None:
    done = db(config, "url", JOULEBOOK_HOME=str(config.home / "new"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "joulebook db start" in done.stderr
    assert "Traceback" not in done.stderr


def test_url_names_the_variable_that_a_server_of_ones_own_lacks(config: Config) -> None:
    done = db(config, "url", "--role", "writer", JOULEBOOK_TELEMETRY_URL="postgresql://reader:secret@h/j")
    assert done.returncode == 1
    assert done.stderr.startswith("JOULEBOOK_TELEMETRY_WRITER_URL is not set")
    assert "secret" not in done.stderr


def test_psql_acts_for_the_role_and_keeps_the_password_off_the_command_line(config: Config) -> None:
    db(config, "start")
    done = db(config, "psql", "--role", "writer", "--", "-At", "-c", "SELECT current_user")
    assert (done.returncode, done.stdout) == (0, "joulebook_writer\n")
    seen = db(config, "psql", "--", "-c", r"\! tr '\0' '\n' < /proc/$PPID/cmdline")
    password = EmbeddedDatabase(config).url("reader").split(":")[2].split("@")[0]
    assert "--dbname=" in seen.stdout
    assert password not in seen.stdout


def test_psql_hands_on_what_psql_says(config: Config) -> None:
    db(config, "start")
    done = db(config, "psql", "--", "-c", "SELECT no_such_column")
    assert done.returncode == 1
    assert "no_such_column" in done.stderr


def test_a_server_of_ones_own_is_neither_started_nor_stopped(config: Config) -> None:
    db(config, "start")
    url = EmbeddedDatabase(config).url("reader")
    elsewhere = {"JOULEBOOK_HOME": str(config.home / "other"), "JOULEBOOK_TELEMETRY_URL": url}
    assert "nothing to start" in db(config, "start", **elsewhere).stderr
    assert "nothing to stop" in db(config, "stop", **elsewhere).stderr
    status = db(config, "status", **elsewhere)
    assert status.returncode == 0
    assert "your own" in status.stdout
    assert url.split(":")[2].split("@")[0] not in status.stdout
    assert not (config.home / "other").exists()
    assert EmbeddedDatabase(config).is_running()


def test_status_of_a_server_of_ones_own_that_is_down_is_stopped(config: Config) -> None:
    done = db(config, "status", JOULEBOOK_TELEMETRY_URL="postgresql://reader:secret@127.0.0.1:1/j")
    assert done.returncode == 3
    assert "stopped" in done.stdout
    assert "127.0.0.1:1/j" in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_a_setting_that_cannot_be_used_is_an_error_without_a_traceback(config: Config) -> None:
    done = db(config, "start", JOULEBOOK_DB_PORT="none")
    assert done.returncode == 1
    assert "JOULEBOOK_DB_PORT='none'" in done.stderr
    assert "Traceback" not in done.stderr
