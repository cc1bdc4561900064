"""What a first start creates, and who may log in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, Role
from joulebook.embedded.layout import Layout

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
    with psycopg.connect(running.superuser_url(), autocommit=True) as conn:
        conn.execute("DROP ROLE joulebook_writer")
        conn.execute("ALTER ROLE joulebook_reader PASSWORD 'other'")
    running.start()
    assert ask(running.url("writer"), "SELECT current_user") == ("joulebook_writer",)
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
