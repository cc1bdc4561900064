"""A backup that is made under load is restored into an empty home: nothing differs from the backup's instant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ..imports.working import rows
from .conftest import ROWS, changed, store
from .fingerprints import of_folder
from .homes import Home, Sender, until

RUNNING = 4
"""The number of the import that runs while the backup is made."""


def state_of(home: Home, number: int) -> str:
    listed = home.run("imports", "list")
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == [str(number)]]
    return line.split()[3]


def upload(home: Home, url: str, content: str, device: str) -> None:
    token = home.run("user", "token", "alice").strip()
    answer = httpx.post(
        f"{url}/api/imports",
        params={"device": device, "name": "running.csv", "on_conflict": "replace", "tz": "UTC"},
        headers={"Authorization": f"Bearer {token}"},
        content=content.encode(),
        timeout=120,
    )
    assert answer.status_code == 202, answer.text


@contextmanager
def held_up(home: Home, number: int, log: Path) -> Iterator[None]:
    """Hold an import up once its first block is stored: it commits the next one when the block has ended."""
    begun = "SELECT checkpoint IS NOT NULL FROM import_progress WHERE import_id = %s"
    with home.connect("owner") as conn:
        until(lambda: conn.execute(begun, [number]).fetchone() == (True,), what=log.read_text)
        with conn.transaction():
            conn.execute("SELECT FROM import_progress WHERE import_id = %s FOR UPDATE", [number])
            yield


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "size", [pytest.param(30_000, id="short"), pytest.param(1_500_000, id="long", marks=pytest.mark.slow)]
)
def test_everything_equals_the_instant_of_the_backup(
    homes: Callable[..., Home], source: Home, tmp_path: Path, size: int
) -> None:
    store(source, tmp_path, "base.csv", rows(size), "device_002")
    before_running = source.values("device_002")
    token = source.run("device", "token", "live_001").strip()
    target, look = tmp_path / "backup", tmp_path / "seen.json"
    with source.service("ingest") as ingest, source.service("web") as web:
        with Sender(ingest.url, token) as sender:
            upload(source, web.url, changed(rows(size)), "device_002")
            with source.worker() as log:
                with held_up(source, RUNNING, log):
                    until(lambda: sender.acknowledged >= 5, what=lambda: "nothing is sent")
                    at_least = sender.acknowledged
                    made = source.watched("backup", str(target), look=str(look))
                    at_most = sender.sent
                    assert made.returncode == 0, made.stderr
                    uploads = of_folder(source.path / "uploads")
                    assert len(uploads) == 1
                until(lambda: state_of(source, RUNNING) == "done", what=log.read_text)
            after_running = source.values("device_002")
    seen = json.loads(look.read_text())

    restored = homes(f"restored-{size}")
    told = restored.try_("restore", str(target))
    assert told.returncode == 0, told.stderr
    assert "all users sign in again" in told.stderr
    restored.run("db", "start")
    now = restored.fingerprints()
    differing = [
        f"{database}.{table}: {now[database].get(table)} in place of {was}"
        for database, tables in seen.items()
        for table, was in tables.items()
        if now[database].get(table) != was
    ]
    assert {name: set(now[name]) for name in now} == {name: set(seen[name]) for name in seen}
    assert int(seen["telemetry"]["import_replaced"][0]) > ROWS
    if of_folder(restored.path / "uploads") != uploads:
        differing.append("uploads")

    # Of what a device sent there is all that was acknowledged before, nothing that was sent after, and no gap.
    stored = restored.values("live_001")
    batches = len(stored) // (Sender.METRICS * Sender.PACKETS)
    assert at_least <= batches <= at_most
    assert len(stored) == batches * Sender.METRICS * Sender.PACKETS
    assert {value for _, _, value in stored} == set(map(float, range(batches * Sender.PACKETS)))

    # An undo gives back the same as in the original.
    for home in (source, restored):
        home.run("imports", "undo", "2")
    undone = restored.values("device_001")
    differing += [f"undo: {one}" for one in set(undone) ^ set(source.values("device_001"))]
    assert [value for metric, _, value in undone if metric == "P"] == [float(row) for row in range(ROWS)]

    # The import that was running goes on, and can be undone as well.
    with restored.worker() as log:
        until(lambda: state_of(restored, RUNNING) == "done", what=log.read_text)
        differing += [f"running: {one}" for one in set(restored.values("device_002")) ^ set(after_running)]
        restored.run("imports", "undo", str(RUNNING))
        differing += [f"undone: {one}" for one in set(restored.values("device_002")) ^ set(before_running)]
        until(lambda: rolled_up(restored), what=log.read_text)
    assert "buckets differing  0" in restored.run("verify", "--full")
    print(  # noqa: T201 - a drill reports its figures
        f"\nbackup under load: {len(stored):,} live readings in it, {at_most - batches} later batches left out, "
        f"differing: {len(differing)}"
    )
    assert differing == []


def rolled_up(home: Home) -> bool:
    with home.connect() as conn:
        return conn.execute("SELECT FROM rollup_dirty LIMIT 1").fetchone() is None
