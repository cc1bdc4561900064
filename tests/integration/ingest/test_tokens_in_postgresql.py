"""Tokens of accounts that are kept in PostgreSQL: its restarts and its silences."""

from __future__ import annotations

import asyncio
import hashlib
import time

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from joulebook.ingest.access.tokens import TokenDirectory
from joulebook.telemetry.errors import DatabaseUnavailable

from ..drills.faults import stopped, writing_backends

TABLES = """
CREATE TABLE auth_user (id int, is_active bool);
CREATE TABLE devices_device (
    id int, device_id text, owner_id int, time_zone text DEFAULT 'UTC', time_without_offset text DEFAULT 'utc'
);
CREATE TABLE devices_devicetoken (
    prefix text, token_hash text, device_id int, revoked_at timestamptz,
    time_field text DEFAULT '', device_field text DEFAULT '', values_field text DEFAULT '', line_unit text DEFAULT ''
);
CREATE TABLE devices_gatewaytoken (
    id int, prefix text, token_hash text, owner_id int, revoked_at timestamptz,
    time_field text DEFAULT '', device_field text DEFAULT '', values_field text DEFAULT '', line_unit text DEFAULT ''
);
CREATE TABLE devices_gatewaytoken_devices (gatewaytoken_id int, device_id int);
INSERT INTO auth_user VALUES (1, true);
INSERT INTO devices_device VALUES (1, 'device_a', 1);
"""


@pytest.fixture
def accounts(telemetry, device_id):
    """The accounts' tables in a schema of the test's own, with tokens `t0` to `t9` of one device."""
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
        schema = sql.Identifier(device_id)
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        conn.execute(sql.SQL("SET search_path = {}").format(schema))
        conn.execute(TABLES)
        for number in range(10):
            digest = hashlib.sha256(b"t%d" % number).hexdigest()
            conn.execute("INSERT INTO devices_devicetoken VALUES (%s, %s, 1)", [f"p{number}", digest])
        yield make_conninfo(telemetry["superuser"], options=f"-csearch_path={device_id}")
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def test_a_token_is_found_after_an_idle_connection_was_closed_and_after_a_silence(telemetry, accounts):
    before = writing_backends(telemetry)

    async def run() -> None:
        tokens = TokenDirectory(accounts, timeout=1)
        try:
            assert (await tokens.grant_of(b"t0")).devices == {"device_a"}
            assert await tokens.grant_of(b"unknown") is None
            (pid,) = writing_backends(telemetry) - before
            with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
                conn.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            assert (await tokens.grant_of(b"t1")).token == "p1"
            (pid,) = writing_backends(telemetry) - before
            begin = time.monotonic()
            with stopped(pid):
                with pytest.raises(DatabaseUnavailable, match="has not answered for 1 s"):
                    await tokens.grant_of(b"t2")
                assert 0.9 < time.monotonic() - begin < 30
                assert (await tokens.grant_of(b"t2")).token == "p2"  # over a fresh connection
        finally:
            tokens.close()

    asyncio.run(run())
