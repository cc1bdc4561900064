"""When a token was last used: seen by the owner soon, written seldom, and never in the way of readings."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from django.utils import timezone
from psycopg import sql
from psycopg.conninfo import make_conninfo
from websockets.sync.client import connect

from joulebook.ingest.access.token_use import TokenUse
from joulebook.web.devices.models import DeviceToken, GatewayToken
from joulebook.web.devices.operations import issue_gateway_token

from ...conftest import HOME, Service, free_port

NOT_WRITTEN = "the last use of tokens could not be written"
SQLITE = f"sqlite://{HOME / 'joulebook.sqlite3'}"


@pytest.fixture(scope="module")
def service(telemetry):
    """An ingest for one test after the other."""
    service = Service("ingest", free_port())
    yield service
    service.stop()


@pytest.fixture
def own(service):
    """An ingest that a test may stop."""
    if not service.is_running():
        service.start(path="/readyz")
    return service


def written(of=DeviceToken, *, after: datetime | None = None, seconds: float = 20) -> datetime:
    """Wait until a use of the only token is written (a later one than `after`), and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        at = of.objects.get().last_used_at
        if at is not None and (after is None or at > after):
            return at
        time.sleep(0.1)
    raise AssertionError(f"nothing later than {after} was written")


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class TestOverTheNetwork:
    def test_line_protocol_and_gateways_count_too(self, own, transactional_db, device):
        token = issue_gateway_token([device], name="barn")
        headers = {"Authorization": f"Token {token}"}
        body = f"power,device={device.device_id} value=1"
        assert httpx.post(f"{own.url}/write", content=body, headers=headers).status_code == 204
        assert timezone.now() - written(GatewayToken) < timedelta(seconds=20)

    def test_a_locked_accounts_database_holds_no_reading_up_and_is_written_later(self, own, device_token):
        told = own.log.read_text().count(NOT_WRITTEN)
        with sqlite3.connect(HOME / "joulebook.sqlite3", isolation_level=None) as lock:
            lock.execute("BEGIN IMMEDIATE")
            headers = {"Authorization": f"Bearer {device_token}"}
            with httpx.Client(headers=headers) as http:
                took = []
                deadline = time.monotonic() + 60
                while own.log.read_text().count(NOT_WRITTEN) == told:
                    began = time.monotonic()
                    packet = {"timestamp": "2026-05-01T00:00:00Z", f"m{len(took)}": 1}
                    assert http.post(f"{own.url}/api/readings", json=packet).json()["accepted"] == 1
                    took.append(time.monotonic() - began)
                    assert began < deadline, "the lock was never met"
                    time.sleep(0.05)
            assert sorted(took)[len(took) // 2] < 1.9, "a lock is waited for longer"
            lock.execute("ROLLBACK")
        assert DeviceToken.objects.get().last_used_at is None
        written()
        assert own.log.read_text().count(NOT_WRITTEN) == told + 1

    def test_a_first_use_is_seen_within_seconds_and_the_last_one_when_ingest_stops(self, own, device_token):
        def post() -> int:
            headers = {"Authorization": f"Bearer {device_token}"}
            return httpx.post(f"{own.url}/api/readings", json={"power": 1}, headers=headers).status_code

        assert DeviceToken.objects.get().last_used_at is None
        assert post() == 200
        first = written()
        assert timedelta(0) <= timezone.now() - first < timedelta(seconds=20)
        time.sleep(1.1)
        assert post() == 200
        own.stop()
        assert first < written(after=first, seconds=1) <= timezone.now()

    def test_an_open_connection_is_a_use(self, own, device_id, device_token):
        address = own.url.replace("http://", "ws://") + f"/ws/device/{device_id}"
        with connect(address, additional_headers={"Authorization": f"Bearer {device_token}"}):
            first = written()
            time.sleep(5)
        own.stop()
        written(after=first, seconds=1)

    def test_a_token_that_is_refused_is_not_used(self, own, device_token):
        DeviceToken.objects.update(revoked_at=timezone.now())
        headers = {"Authorization": f"Bearer {device_token}"}
        assert httpx.post(f"{own.url}/api/readings", json={"power": 1}, headers=headers).status_code == 401
        own.stop()
        assert DeviceToken.objects.get().last_used_at is None


def use(database_url: str, token: str, *, every: float = 60, seconds: float = 0.0) -> None:
    """Use a token again and again for so many seconds, and write as ingest would, only faster."""

    async def run() -> None:
        uses = TokenUse(database_url, every=every, look=0.05, timeout=1)
        task = asyncio.create_task(uses.run())
        until = time.monotonic() + seconds
        uses.note(digest_of(token))
        while time.monotonic() < until:
            uses.note(digest_of(token))
            await asyncio.sleep(0.01)
        task.cancel()
        await uses.close()

    asyncio.run(run())


class TestInSqlite:
    def test_uses_within_a_minute_are_one_write(self, device_token):
        def version() -> int:
            return int(looking.execute("PRAGMA data_version").fetchone()[0])

        with sqlite3.connect(HOME / "joulebook.sqlite3") as looking:
            seen = [version()]

            async def run() -> None:
                uses = TokenUse(SQLITE, look=0.05)
                task = asyncio.create_task(uses.run())
                for _ in range(100):
                    uses.note(digest_of(device_token))
                    await asyncio.sleep(0.01)
                    if (now := version()) != seen[-1]:
                        seen.append(now)
                task.cancel()
                await uses.close()

            asyncio.run(run())
        assert len(seen) == 2

    def test_it_never_moves_backwards(self, device_token):
        later = timezone.now().replace(microsecond=0) + timedelta(hours=1)
        DeviceToken.objects.update(last_used_at=later)
        use(SQLITE, device_token)
        assert DeviceToken.objects.get().last_used_at == later

    def test_an_earlier_moment_of_another_process_moves_on(self, device_token):
        DeviceToken.objects.update(last_used_at=timezone.now() - timedelta(hours=1))
        use(SQLITE, device_token)
        assert timezone.now() - DeviceToken.objects.get().last_used_at < timedelta(seconds=60)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE devices_devicetoken SET token_hash = 'x'",
            "UPDATE devices_devicetoken SET revoked_at = NULL",
            "DELETE FROM devices_devicetoken",
            "UPDATE devices_device SET owner_id = 1",
            "SELECT password FROM auth_user",
            "INSERT INTO devices_gatewaytoken (prefix) VALUES ('x')",
            "DROP TABLE devices_devicetoken",
            "PRAGMA synchronous = OFF",
            "ATTACH 'other' AS other",
        ],
    )
    def test_its_connection_may_do_nothing_else(self, device_token, statement):
        from joulebook.ingest.access.accounts import _SqliteAccounts

        conn = _SqliteAccounts(HOME / "joulebook.sqlite3")._open_for_last_use()
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
            conn.execute(statement)
        conn.close()

    def test_a_file_that_may_only_be_read_or_is_missing_is_said_once(self, tmp_path, caplog):
        with caplog.at_level(logging.WARNING):
            use(f"sqlite://{tmp_path / 'none.sqlite3'}", "token", seconds=0.5)
        assert [record.message[:44] for record in caplog.records] == [
            "the last use of tokens could not be written,"
        ]
        assert not (tmp_path / "none.sqlite3").exists()


TABLES = """
CREATE TABLE devices_devicetoken (token_hash text UNIQUE, revoked_at timestamptz, last_used_at timestamptz);
CREATE TABLE devices_gatewaytoken (token_hash text UNIQUE, revoked_at timestamptz, last_used_at timestamptz);
"""
RIGHTS = """
GRANT USAGE ON SCHEMA {0} TO joulebook_reader;
GRANT SELECT, UPDATE (last_used_at) ON devices_devicetoken, devices_gatewaytoken TO joulebook_reader;
"""


@pytest.fixture
def postgresql(telemetry, device_id):
    """The tokens' tables in PostgreSQL with token `t`, and a role that has the documented rights alone."""
    schema = sql.Identifier(device_id)
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        conn.execute(sql.SQL("SET search_path = {}").format(schema))
        conn.execute(TABLES)
        conn.execute(sql.SQL(RIGHTS).format(schema))
        conn.execute("INSERT INTO devices_gatewaytoken VALUES (%s)", [hashlib.sha256(b"t").hexdigest()])

        def last_used() -> datetime | None:
            return conn.execute("SELECT last_used_at FROM devices_gatewaytoken").fetchone()[0]

        options = f"-csearch_path={device_id} -cdefault_transaction_read_only=off"
        yield make_conninfo(telemetry["reader"], options=options), conn, last_used
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


class TestInPostgresql:
    def test_the_right_to_update_one_column_is_enough(self, postgresql):
        url, _, last_used = postgresql
        use(url, "t")
        assert datetime.now(UTC) - last_used() < timedelta(seconds=60)

    def test_it_never_moves_backwards(self, postgresql):
        url, conn, last_used = postgresql
        conn.execute("UPDATE devices_gatewaytoken SET last_used_at = now() + interval '1 hour'")
        before = last_used()
        use(url, "t")
        assert last_used() == before

    def test_without_that_right_it_is_said_once(self, postgresql, caplog):
        url, conn, last_used = postgresql
        conn.execute("REVOKE UPDATE (last_used_at) ON devices_gatewaytoken FROM joulebook_reader")
        with caplog.at_level(logging.WARNING):
            use(url, "t", seconds=0.5)
        assert "permission denied" in caplog.text
        assert len(caplog.records) == 1
        assert last_used() is None

    def test_a_table_that_is_locked_is_left_alone_and_written_later(self, postgresql):
        url, conn, last_used = postgresql

        async def run() -> None:
            uses = TokenUse(url, look=0.05, timeout=0.3)
            task = asyncio.create_task(uses.run())
            with conn.transaction():
                conn.execute("LOCK TABLE devices_gatewaytoken")
                uses.note(digest_of("t"))
                await asyncio.sleep(1)
            until = time.monotonic() + 60
            while last_used() is None:
                assert time.monotonic() < until, "it is not written later"
                await asyncio.sleep(0.05)
            task.cancel()
            began = time.monotonic()
            await uses.close()
            assert time.monotonic() - began < 30

        asyncio.run(run())
