"""What a first start creates, and who may log in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, Role
from joulebook.embedded.bootstrap import LIMIT_READER
from joulebook.embedded.layout import Layout

REPOSITORY = Path(__file__).parents[3]
ROLES: tuple[Role, ...] = ("owner", "writer", "reader")


@pytest.fixture
def running(database: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    database.start()
    yield database
    database.stop()


def ask(url: str, question: str) -> tuple[object, ...]:
    with psycopg.connect(url) as conn:
        row = conn.execute(question).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row


def test_each_role_logs_in_and_none_is_a_superuser(running: EmbeddedDatabase) -> None:
    question = (
        "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    )
    assert {ask(running.url(role), question) for role in ROLES} == {
        ("joulebook_owner", False, True, False),
        ("joulebook_writer", False, False, False),
        ("joulebook_reader", False, False, False),
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_password_is_refused(running: EmbeddedDatabase, role: Role) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(running.url(role), password="wrong")


def test_no_password_is_refused_to_the_superuser_too(running: EmbeddedDatabase) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(running.superuser_url(), password="")


def test_the_database_belongs_to_the_owner_and_has_timescaledb(running: EmbeddedDatabase) -> None:
    question = (
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), current_setting('timezone'), "
        "(SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb') "
        "FROM pg_database WHERE datname = current_database()"
    )
    assert ask(running.url("reader"), question) == ("joulebook_owner", "UTF8", "UTC", 1)


def test_the_owner_makes_hypertables(running: EmbeddedDatabase) -> None:
    with psycopg.connect(running.url("owner")) as conn:
        conn.execute("CREATE TABLE t (time timestamptz NOT NULL, value float8)")
        conn.execute("SELECT create_hypertable('t', by_range('time'))")
        conn.execute(
            "INSERT INTO t SELECT '2026-01-01'::timestamptz + n * '1 day'::interval, n FROM generate_series(1, 30) n"
        )
        buckets = conn.execute(
            "SELECT count(*) FROM (SELECT time_bucket('1 month', time) FROM t GROUP BY 1) b"
        )
        assert buckets.fetchone() == (1,)


def test_the_owner_may_set_the_other_roles_defaults(running: EmbeddedDatabase) -> None:
    with psycopg.connect(running.url("owner")) as conn:
        conn.execute("ALTER ROLE joulebook_reader SET default_transaction_read_only = on")
        conn.execute("ALTER ROLE joulebook_writer SET statement_timeout = '5min'")
    assert ask(running.url("reader"), "SELECT current_setting('transaction_read_only')") == ("on",)


def test_the_owner_cannot_act_as_the_superuser(running: EmbeddedDatabase) -> None:
    with psycopg.connect(running.url("owner")) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SET ROLE postgres")


def test_a_lost_role_is_made_again_with_its_password(running: EmbeddedDatabase) -> None:
    with psycopg.connect(running.superuser_url(database="joulebook"), autocommit=True) as conn:
        conn.execute("DROP OWNED BY joulebook_writer")
        conn.execute("DROP ROLE joulebook_writer")
        conn.execute("ALTER ROLE joulebook_reader PASSWORD 'other'")
    running.start()
    question = "SELECT current_user, pg_try_advisory_xact_lock(1)"
    assert ask(running.url("writer"), question) == ("joulebook_writer", True)
    assert ask(running.url("reader"), "SELECT current_user") == ("joulebook_reader",)


def test_setting_up_goes_on_where_it_was_cut(running: EmbeddedDatabase) -> None:
    with psycopg.connect(running.superuser_url(), autocommit=True) as conn:
        conn.execute("DROP DATABASE joulebook WITH (FORCE)")
        conn.execute("DROP ROLE joulebook_owner, joulebook_writer, joulebook_reader")
    running.start()
    assert ask(running.url("owner"), "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'") == (
        1,
    )


def test_an_initdb_that_was_cut_is_begun_anew(database: EmbeddedDatabase, layout: Layout) -> None:
    layout.data.rename(layout.unfinished_data)
    (layout.unfinished_data / "PG_VERSION").unlink()
    (layout.root / "initdb.password").write_text("left behind")
    database.start()
    assert ask(database.url("reader"), "SELECT current_user") == ("joulebook_reader",)
    assert not layout.unfinished_data.exists()
    assert not (layout.root / "initdb.password").exists()


def test_a_scratch_database_is_cloned_from_a_template(database: EmbeddedDatabase, config: Config) -> None:
    database.start(settings={"timescaledb.max_background_workers": "0"})
    database.create_database("template")
    with psycopg.connect(database.url("owner", database="template")) as conn:
        conn.execute("CREATE TABLE t (time timestamptz NOT NULL)")
        conn.execute("SELECT create_hypertable('t', by_range('time'))")
    database.create_database("scratch", template="template")
    with closing(psycopg.connect(database.url("owner", database="scratch"), autocommit=True)) as conn:
        conn.execute("INSERT INTO t VALUES ('2026-01-01')")
        database.drop_database("scratch")
    with pytest.raises(psycopg.OperationalError, match='database "scratch" does not exist'):
        psycopg.connect(database.url("owner", database="scratch"))
    database.drop_database("scratch")
    with psycopg.connect(database.url("owner", database="template")) as conn:
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)


REFUSED_TO_THE_READER = [
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_notify('joulebook_connections', 'x')",
    "SELECT pg_advisory_lock(7406001)",
    "SELECT pg_advisory_xact_lock_shared(7406001)",
    "SELECT pg_try_advisory_lock(1, 2)",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "CREATE TEMPORARY TABLE t (n int)",
    "CREATE TABLE t (n int)",
    "CREATE SCHEMA t",
    "CREATE SEQUENCE t",
    "CREATE VIEW t AS SELECT 1",
    "CREATE TYPE t AS (n int)",
    "CREATE FUNCTION t() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE EXTENSION btree_gist",
    "CREATE ROLE t",
    "CREATE DATABASE t",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "SELECT pg_read_file('postgresql.conf')",
    "INSERT INTO series (device_id, metric) VALUES ('x', 'y')",
    "INSERT INTO readings (series_id, time, value) VALUES (1, now(), 1)",
    "UPDATE readings SET value = 1",
    "DELETE FROM readings",
    "TRUNCATE readings",
    "SELECT nextval(pg_get_serial_sequence('series', 'id'))",
    "DROP TABLE readings",
    "SET ROLE joulebook_writer",
    "SET SESSION AUTHORIZATION joulebook_writer",
]


@pytest.mark.parametrize("statement", REFUSED_TO_THE_READER)
def test_the_reader_creates_and_changes_nothing_and_locks_nobody_out(
    telemetry: dict[str, str], statement: str
) -> None:
    with psycopg.connect(telemetry["reader"], autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(statement)


@pytest.mark.parametrize("database", ["postgres", "template1"])
@pytest.mark.parametrize("role", ["reader", "writer"])
def test_no_role_gets_into_a_database_where_it_could_create_something(
    telemetry: dict[str, str], role: str, database: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(telemetry[role], dbname=database)


@pytest.mark.parametrize("role", ["owner", "writer"])
def test_roles_that_write_lock_and_notify_each_other(telemetry: dict[str, str], role: str) -> None:
    with psycopg.connect(telemetry[role]) as conn:
        conn.execute("SELECT pg_advisory_xact_lock_shared(4711), pg_try_advisory_xact_lock(4712)")
        conn.execute("SELECT pg_notify('nobody_listens', 'x')")


def test_what_an_administrator_runs_on_a_server_of_ones_own_is_what_we_run_on_ours() -> None:
    page = (REPOSITORY / "docs/how-to/use-your-own-timescaledb.md").read_text()
    assert LIMIT_READER.strip() in page
