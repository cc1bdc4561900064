"""Create the roles of TimescaleDB's users, each with its rights on the database as a whole."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.utils import Error
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

READER, WRITER = "joulebook_reader", "joulebook_writer"

DATABASE_RIGHTS = """
DO $$ BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO joulebook_reader, joulebook_writer', current_database());
    -- the careful path of a batch stages its rows in a temporary table
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO joulebook_writer', current_database());
    EXECUTE format(
        'ALTER ROLE joulebook_reader IN DATABASE %I SET default_transaction_read_only = on',
        current_database());
    EXECUTE format('ALTER ROLE joulebook_reader IN DATABASE %I SET statement_timeout = %L',
        current_database(), '30s');
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO joulebook_reader, joulebook_writer;
"""
TAKE_RIGHTS_BACK = """
DO $$ BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM joulebook_reader, joulebook_writer', current_database());
    EXECUTE format('ALTER ROLE joulebook_reader IN DATABASE %I RESET ALL', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
END $$;
REVOKE USAGE ON SCHEMA public FROM joulebook_reader, joulebook_writer;
"""

MAKE_YOURSELF = """the owner may not create the role {role}. Have an administrator run, once:
    CREATE ROLE {role} LOGIN PASSWORD '…';
    GRANT {role} TO {owner} WITH ADMIN OPTION;"""
EXTENSION_MISSING = """TimescaleDB is not installed in the database {database}, and only an administrator may do it.
Have one run, once, in that database:
    CREATE EXTENSION timescaledb;"""


def create_extension(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Install TimescaleDB in the database, or say what an administrator must do."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
        if cursor.fetchone():
            return
        try:
            cursor.execute("CREATE EXTENSION timescaledb")
        except Error as exc:
            database = schema_editor.connection.settings_dict["NAME"]
            raise RuntimeError(EXTENSION_MISSING.format(database=database)) from exc


def create_roles(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create the roles that are missing, with the passwords of the addresses in the environment."""
    addresses = {READER: settings.CONFIG.telemetry_url, WRITER: settings.CONFIG.telemetry_writer_url}
    with schema_editor.connection.cursor() as cursor:
        for role, address in addresses.items():
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
            if cursor.fetchone():
                continue
            fields = conninfo_to_dict(address) if address else {}
            try:
                if fields.get("user") == role:
                    cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD %s", [fields.get("password")])
                else:
                    cursor.execute(f"CREATE ROLE {role} NOLOGIN")
            except Error as exc:
                owner = schema_editor.connection.settings_dict["USER"]
                raise RuntimeError(MAKE_YOURSELF.format(role=role, owner=owner)) from exc


def drop_roles(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the roles, unless another database of the same server still uses them or others made them."""
    with schema_editor.connection.cursor() as cursor:
        for role in (READER, WRITER):
            cursor.execute("SAVEPOINT drop_role")
            try:
                cursor.execute(f"DROP ROLE IF EXISTS {role}")
            except Error as exc:
                if not isinstance(
                    exc.__cause__, errors.DependentObjectsStillExist | errors.InsufficientPrivilege
                ):
                    raise
                cursor.execute("ROLLBACK TO SAVEPOINT drop_role")


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.RunPython(create_extension, migrations.RunPython.noop),
        migrations.RunPython(create_roles, drop_roles),
        migrations.RunSQL(DATABASE_RIGHTS, TAKE_RIGHTS_BACK),
    )
