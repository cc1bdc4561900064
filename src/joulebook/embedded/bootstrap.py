"""Makes the cluster, its roles and its database; every step can be repeated after an interruption."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from joulebook.embedded.binaries import Binaries
from joulebook.embedded.errors import UnableToStart
from joulebook.embedded.layout import Layout
from joulebook.embedded.passwords import ensure_passwords, read_password
from joulebook.embedded.server_user import ServerUser, command_prefix

DATABASE = "joulebook"
OWNER = "joulebook_owner"
# The attributes of each role; migrations grant its rights in the database.
_ROLES = {OWNER: "LOGIN CREATEROLE", "joulebook_writer": "LOGIN", "joulebook_reader": "LOGIN"}

# Every role may call these by default, and only a superuser can revoke it: large objects, notifications,
# advisory locks, records in the write-ahead log, TimescaleDB's jobs. docs/how-to/use-your-own-timescaledb.md
# has the same text for the user's own servers.
LIMIT_READER = """
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN
        SELECT oid FROM pg_proc
        WHERE pronamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
          AND (proname ~ '^(lo_|pg_advisory_|pg_try_advisory_)'
               OR proname IN ('loread', 'lowrite', 'pg_notify', 'pg_logical_emit_message', 'add_job'))
          AND (has_function_privilege('public', oid, 'EXECUTE')
               OR NOT has_function_privilege('joulebook_owner', oid, 'EXECUTE')
               OR NOT has_function_privilege('joulebook_writer', oid, 'EXECUTE'))
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO joulebook_owner, joulebook_writer', routine);
    END LOOP;
END $$;
"""


def ensure_cluster(layout: Layout, binaries: Binaries, user: ServerUser, environment: dict[str, str]) -> None:
    """Create the folders, the passwords and the database cluster, as far as they are missing.

    Raises `UnableToStart` if initdb fails.
    """
    ensure_passwords(layout.passwords)
    layout.logs.mkdir(mode=0o700, exist_ok=True)
    user.take_over_tree(layout.logs)
    password_file = layout.root / "initdb.password"
    password_file.unlink(missing_ok=True)
    if layout.data.exists():
        user.take_over_tree(layout.data)
        return
    shutil.rmtree(layout.unfinished_data, ignore_errors=True)
    layout.unfinished_data.mkdir(mode=0o700)
    user.take_over(layout.unfinished_data)
    try:
        password_file.touch(mode=0o600, exist_ok=False)
        password_file.write_text(read_password(layout.passwords, "postgres") + "\n")
        user.take_over(password_file)
        _initdb(layout, binaries, user, password_file, environment)
    finally:
        password_file.unlink(missing_ok=True)
    layout.unfinished_data.rename(layout.data)


def _initdb(
    layout: Layout, binaries: Binaries, user: ServerUser, password_file: Path, environment: dict[str, str]
) -> None:
    folders = [layout.unfinished_data, binaries.folder]
    locale = ["--locale=C.UTF-8"]
    if binaries.major >= 17:  # PostgreSQL's own: no new C library changes it
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [
        *command_prefix(user, folders=folders, parent_death_signal="KILL"),
        binaries.program("initdb"),
        f"--pgdata={layout.unfinished_data}",
        "--username=postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--data-checksums",
        *locale,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", env=environment)
    if done.returncode != 0:
        raise UnableToStart(
            f"initdb could not create {layout.data}: {(done.stderr or done.stdout).strip()[-1500:]}"
        )


def ensure_roles_and_database(superuser_url: str, database_url: str, passwords: Path) -> None:
    """Create the roles, the database and its TimescaleDB extension; bring passwords and extension up to date.

    Both addresses are for the superuser: `superuser_url` leads to the database `postgres`, and `database_url`
    to Joulebook's database.
    """
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        for role, attributes in _ROLES.items():
            _ensure_role(conn, role, attributes, read_password(passwords, role))
        if conn.info.server_version >= 160000:
            # Migrations set the other roles' defaults as the owner: CREATEROLE alone no longer suffices.
            conn.execute(
                f"GRANT joulebook_writer, joulebook_reader TO {OWNER} "
                "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
            )
        found = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if found is None:
            create_database(conn, DATABASE)
        # Every role could connect to these, and make temporary tables and large objects there.
        conn.execute("REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC")
    ensure_extension(database_url)


def create_database(conn: psycopg.Connection, name: str, *, template: str | None = None) -> None:
    """Create a database that belongs to the role of the owner, as a copy of `template` if given.

    The connection must be the superuser's.
    """
    # TimescaleDB's background worker visits every database open to connections, template1 too, and a
    # database cannot be copied during such a visit.
    conn.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template or "template0")
        )
    )


def ensure_extension(url: str) -> None:
    """Create TimescaleDB in a database, or bring it to the version of the library on this machine.

    Then revoke the rights that every role has by default and that the reader must not have.
    """
    # A new library refuses every other statement until the extension is updated: this must be the first one.
    with psycopg.connect(url, autocommit=True) as conn:
        try:
            conn.execute("ALTER EXTENSION timescaledb UPDATE")
        except psycopg.errors.UndefinedObject:
            conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        conn.execute(LIMIT_READER)


def _ensure_role(conn: psycopg.Connection, role: str, attributes: str, password: str) -> None:
    name = sql.Identifier(role)
    found = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if found is None:
        conn.execute(sql.SQL("CREATE ROLE {}").format(name))
    # The verifier is computed here, so the password itself is in no statement and no log.
    verifier = conn.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    conn.execute(
        sql.SQL("ALTER ROLE {} WITH {} PASSWORD {}").format(
            name, sql.SQL(attributes), sql.Literal(verifier.decode())
        )
    )
