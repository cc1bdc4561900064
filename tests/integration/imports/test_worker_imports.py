"""The worker's imports on a real TimescaleDB: stored, refused, failed, cancelled, undone, each to its end."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.utils import timezone

from joulebook.telemetry.connection import connect
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.run import ImportRun

from ..telemetry_database import addresses
from ..worker_process import keeping
from .working import (
    expected,
    held_up,
    lines_stored,
    queue_file,
    rows,
    stored,
    wait_for,
    wait_for_state,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def of_ben(make_user: Callable[[str], User]) -> tuple[User, Device]:
    """Another user with a device."""
    from joulebook.web.devices.operations import create_device

    ben = make_user("ben")
    return ben, create_device(f"device_{uuid.uuid4().hex[:12]}", owner=ben)


def upload_of(import_: Any) -> Any:
    from joulebook.web.imports.uploads.files import upload_path

    return upload_path(import_.upload)


def test_a_queued_file_is_stored_and_accounted_for(
    worker_urls: dict[str, str], alice: User, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    text = rows(500) + "broken,1,2\n2024-04-01 00:00:00,x,\n"
    import_ = queue_file(alice, device, text)
    upload = upload_of(import_)
    assert upload.exists()
    with caplog.at_level(logging.INFO), keeping(worker_urls["writer"]):
        wait_for_state(import_, "done")
    assert stored(worker_urls["reader"], device.device_id) == expected(500)
    assert (import_.rows_read, import_.rows_rejected, import_.cells_stored) == (502, 1, 1000)
    assert (import_.cells_na, import_.cells_malformed, import_.problem) == (1, 1, "")
    assert import_.report["cells"]["stored"] == 1000
    assert [problem["line"] for problem in import_.report["problems"]] == [502, 503]
    assert (import_.upload, import_.leased_by, import_.attempts) == ("", "", 0)
    assert import_.started_at <= import_.finished_at
    assert not upload.exists()
    assert dict(device.metrics.values_list("name", "unit")) == {"power": "W", "energy": "kWh"}
    with psycopg.connect(worker_urls["reader"]) as conn:
        ids = conn.execute("SELECT DISTINCT import_id FROM readings WHERE import_id = %s", [import_.pk])
        assert ids.fetchall() == [(import_.pk,)]
    told = [
        record.getMessage() for record in caplog.records if f"import {import_.pk}:" in record.getMessage()
    ]
    assert told == [
        f"import {import_.pk}: claimed (attempt 1)",
        f"import {import_.pk}: done, rows_read 502, rows_rejected 1, cells_stored 1000, cells_replaced 0, "
        "cells_duplicate 0, cells_conflict 0",
    ]


def test_of_a_damaged_file_what_was_readable_is_stored(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    whole = gzip.compress(rows(60_000).encode())
    cut = whole[: len(whole) * 3 // 4]
    readable = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(cut).count(b"\n") - 1
    import_ = queue_file(alice, device, cut, name="meter.csv.gz")
    path = upload_of(import_)
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed")
    assert import_.problem.startswith("meter.csv.gz is cut off")
    assert import_.problem.endswith(
        "what was stored until then stays, and can be undone; importing the file again is harmless"
    )
    assert str(path.parent) not in import_.problem
    count, times, total = stored(worker_urls["reader"], device.device_id)["power"]
    assert 25_000 < count == times == readable
    assert total == expected(count)["power"][2]
    assert import_.cells_stored == 2 * count
    assert not path.exists()


def test_a_strict_import_with_a_fault_stores_nothing_and_lists_the_faults(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    from joulebook.telemetry.connection import connect
    from joulebook.telemetry.imports.problems import read_problems

    import_ = queue_file(alice, device, rows(200) + "2024-04-01 00:00:00,x,1\n", is_strict=True)
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "refused")
    assert import_.problem == "1 problem(s) were found, so nothing was stored"
    assert (import_.rows_read, import_.cells_stored, import_.cells_malformed) == (201, 0, 1)
    assert stored(worker_urls["reader"], device.device_id) == {}
    assert device.metrics.count() == 0
    with connect(worker_urls["reader"]) as conn:
        assert [each.line for each in read_problems(conn, import_.pk)] == [202]


def test_a_strict_import_without_a_fault_is_stored(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    import_ = queue_file(alice, device, rows(200), is_strict=True)
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "done")
    assert stored(worker_urls["reader"], device.device_id) == expected(200)
    assert (import_.rows_read, import_.cells_stored) == (200, 400)


def test_a_damaged_strict_file_is_refused(worker_urls: dict[str, str], alice: User, device: Device) -> None:
    whole = gzip.compress(rows(60_000).encode(), compresslevel=0)
    import_ = queue_file(alice, device, whole[:-1000], name="meter.csv.gz", is_strict=True)
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "refused")
    assert import_.problem.endswith("; nothing was stored")
    assert stored(worker_urls["reader"], device.device_id) == {}


def test_cancelling_is_seen_within_a_slice_and_what_is_stored_can_be_undone(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    from joulebook.web.imports.operations import cancel_import, undo_import

    import_ = queue_file(alice, device, rows(150_000))
    with keeping(worker_urls["writer"]):
        with held_up(worker_urls["superuser"], import_):
            cancel_import(import_)
        wait_for_state(import_, "cancelled", seconds=20)
        count, times, _ = stored(worker_urls["reader"], device.device_id)["power"]
        assert 0 < count == times < 150_000
        assert import_.cells_stored == 2 * count
        undo_import(import_, by=alice)
        wait_for_state(import_, "undone")
    assert stored(worker_urls["reader"], device.device_id) == {}
    assert import_.undone_at is not None
    assert import_.undone_by == alice


def test_an_import_that_is_stopped_behind_a_crash_tells_what_the_database_has_kept(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    import_ = queue_file(alice, device, rows(10))
    profile, number = ImportProfile.from_json(import_.profile), import_.pk
    with (
        connect(worker_urls["writer"]) as conn,
        closing(
            ImportRun(
                conn, FileSource(upload_of(import_)), profile, import_.columns, import_id=number, lease=1,
                device_id=device.device_id, most_metrics=9, now=2_000_000_000_000_000, block_readings=8,
            )
        ) as run,
    ):  # fmt: skip
        assert run.step()
    # Given back, and told to stop, with more than what the database then turns out to have.
    changed = {"lease": 1, "is_cancelling": True, "cells_stored": 19, "rows_read": 9}
    type(import_).objects.filter(pk=number).update(**changed)
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "cancelled", seconds=20)
    assert (import_.cells_stored, import_.rows_read) == (run.report.stored, run.report.rows_read)
    assert 0 < import_.cells_stored < 19


def test_undoing_brings_back_what_a_replacing_import_overwrote(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    from joulebook.web.imports.operations import undo_import

    first = queue_file(alice, device, rows(300))
    other = rows(300).replace(",2,1.0\n", ",99,1.0\n")
    second = queue_file(alice, device, other, on_conflict="replace")
    with keeping(worker_urls["writer"]):
        wait_for_state(first, "done")
        wait_for_state(second, "done")
        assert second.cells_replaced == 1
        power = stored(worker_urls["reader"], device.device_id)["power"]
        assert power[2] == expected(300)["power"][2] + 97
        undo_import(second, by=alice)
        wait_for_state(second, "undone")
    assert stored(worker_urls["reader"], device.device_id) == expected(300)


def test_an_import_that_was_cancelled_before_it_began_is_undone_at_once(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    from joulebook.web.imports.operations import cancel_import, undo_import

    import_ = queue_file(alice, device, rows(3))
    cancel_import(import_)
    undo_import(import_, by=alice)
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "undone")


def test_a_small_file_of_bens_does_not_wait_for_a_large_one_of_alices(
    worker_urls: dict[str, str], alice: User, device: Device, of_ben: tuple[User, Device]
) -> None:
    large = queue_file(alice, device, rows(150_000))
    small = queue_file(*of_ben, rows(10))
    with keeping(worker_urls["writer"], slice_seconds=0.01):
        wait_for_state(small, "done")
        wait_for_state(large, "done")
    assert large.started_at < small.started_at < small.finished_at < large.finished_at
    assert (large.lease, small.lease) == (1, 1)
    assert stored(worker_urls["reader"], device.device_id) == expected(150_000)


def test_an_open_import_makes_room_where_all_places_are_taken(
    worker_urls: dict[str, str], alice: User, device: Device, of_ben: tuple[User, Device]
) -> None:
    large = queue_file(alice, device, rows(150_000))
    small = queue_file(*of_ben, rows(10))
    with keeping(worker_urls["writer"], most_open=1, slice_seconds=0.01, turn_seconds=0.01):
        wait_for_state(small, "done")
        wait_for_state(large, "done")
    assert large.started_at < small.started_at < small.finished_at < large.finished_at
    assert large.lease > 1
    assert (large.cells_stored, large.cells_duplicate, large.rows_read) == (300_000, 0, 150_000)
    assert stored(worker_urls["reader"], device.device_id) == expected(150_000)


def test_an_import_goes_on_by_itself_when_the_database_is_back(
    worker_urls: dict[str, str], alice: User, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    import_ = queue_file(alice, device, rows(150_000))
    with (
        caplog.at_level(logging.INFO),
        keeping(worker_urls["writer"]),
        psycopg.connect(worker_urls["superuser"], dbname="postgres", autocommit=True) as superuser,
    ):
        wait_for(lambda: lines_stored(worker_urls["reader"], import_), seconds=30, what="it does not begin")
        superuser.execute("ALTER DATABASE import_tests ALLOW_CONNECTIONS false")
        try:
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'import_tests'"
            )
            wait_for_state(import_, "queued")
            time.sleep(0.5)
        finally:
            superuser.execute("ALTER DATABASE import_tests ALLOW_CONNECTIONS true")
        assert import_.attempts == 0
        assert 0 < import_.rows_read < 150_000
        wait_for_state(import_, "done")
    assert import_.lease == 2
    assert (import_.cells_stored, import_.cells_duplicate, import_.rows_read) == (300_000, 0, 150_000)
    assert stored(worker_urls["reader"], device.device_id) == expected(150_000)
    told = [record.getMessage() for record in caplog.records]
    assert (
        sum(each.startswith("imports wait while the readings' database is unavailable") for each in told) == 1
    )
    assert "the readings' database is back, importing again" in told


def test_an_import_whose_command_was_killed_fails_with_what_it_had_stored(
    worker_urls: dict[str, str], alice: User, device: Device, tmp_path: Path
) -> None:
    from joulebook.web.imports.models import Import

    path = tmp_path / "meter.csv"
    path.write_text(rows(150_000))
    words = ["import", str(path), "--device", device.device_id, "--tz", "UTC"]
    command = subprocess.Popen(
        [sys.executable, "-m", "joulebook", *words],
        env={**os.environ, **addresses(worker_urls)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: Import.objects.filter(device=device).exists(), seconds=60, what="it does not begin")
        import_ = Import.objects.get(device=device)
        with held_up(worker_urls["superuser"], import_):
            command.kill()
            command.wait()
    finally:
        command.kill()
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed", seconds=20)
    assert import_.problem.startswith("the command importing it ended before the end of the file")
    found = stored(worker_urls["reader"], device.device_id)
    assert 0 < sum(count for count, _, _ in found.values()) == import_.cells_stored < 300_000


def test_a_device_that_was_handed_over_gets_nothing_of_a_queued_import(
    worker_urls: dict[str, str], alice: User, device: Device, of_ben: tuple[User, Device]
) -> None:
    import_ = queue_file(alice, device, rows(10))
    type(device).objects.filter(pk=device.pk).update(owner=of_ben[0])
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed")
    assert import_.problem.startswith("the user of the upload no longer owns all of its devices")
    assert stored(worker_urls["reader"], device.device_id) == {}


def test_a_disabled_user_imports_no_more(worker_urls: dict[str, str], alice: User, device: Device) -> None:
    import_ = queue_file(alice, device, rows(150_000))
    with keeping(worker_urls["writer"], slice_seconds=0.1):
        with held_up(worker_urls["superuser"], import_):
            type(alice).objects.filter(pk=alice.pk).update(is_active=False)
        wait_for_state(import_, "failed")
    count, times, _ = stored(worker_urls["reader"], device.device_id)["power"]
    assert 0 < count == times < 150_000
    assert import_.cells_stored == 2 * count


def test_a_missing_upload_is_told(worker_urls: dict[str, str], alice: User, device: Device) -> None:
    import_ = queue_file(alice, device, rows(10))
    upload_of(import_).unlink()
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed")
    assert (
        import_.problem == "the uploaded file is missing on the server; upload it again; nothing was stored"
    )


def test_an_upload_that_was_cut_short_on_the_disk_is_told(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    text = rows(100)
    import_ = queue_file(alice, device, text)
    lines = text.splitlines(keepends=True)
    upload_of(import_).write_text("".join(lines[:51]))
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed")
    assert import_.problem == (
        "the uploaded file was changed on the disk while it waited or was read; "
        "what was stored until then stays, and can be undone; importing the file again is harmless"
    )
    assert stored(worker_urls["reader"], device.device_id)["power"][0] == 50


def test_a_poisoned_import_is_given_up_after_five_attempts_and_others_go_on(
    worker_urls: dict[str, str],
    alice: User,
    device: Device,
    of_ben: tuple[User, Device],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from joulebook.web import leases

    monkeypatch.setattr(leases, "RETRY_AFTER", timedelta(seconds=0.05))
    poisoned = queue_file(alice, device, rows(10))
    # A fault that no file can cause, and so one that nothing expects.
    type(poisoned).objects.filter(pk=poisoned.pk).update(columns=5)
    other = queue_file(*of_ben, rows(10))
    with keeping(worker_urls["writer"]):
        wait_for_state(poisoned, "failed", seconds=30)
        wait_for_state(other, "done")
    assert "ended by an error in Joulebook itself" in poisoned.problem
    assert poisoned.attempts == leases.MOST_ATTEMPTS
    failures = [record for record in caplog.records if record.exc_info]
    assert len(failures) == leases.MOST_ATTEMPTS


def test_an_import_whose_end_cannot_be_recorded_ends_without_its_account(
    worker_urls: dict[str, str],
    alice: User,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from joulebook.web import leases as all_leases
    from joulebook.web.imports import leases
    from joulebook.worker import import_scheduler

    def fail(_report: object) -> dict[str, Any]:
        raise ValueError("a fault in the account")

    monkeypatch.setattr(all_leases, "RETRY_AFTER", timedelta(seconds=0))
    monkeypatch.setattr(leases, "report_fields", fail)
    monkeypatch.setattr(import_scheduler, "_RETRY_SECONDS", 0.05)
    import_ = queue_file(alice, device, rows(10))
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed", seconds=60)
    assert "ended by an error in Joulebook itself" in import_.problem
    assert import_.report is None
    assert stored(worker_urls["reader"], device.device_id) == expected(10)
    assert sum("imports were ended by an error" in record.getMessage() for record in caplog.records) <= 7


def test_an_import_whose_workers_always_died_is_given_up(
    worker_urls: dict[str, str], alice: User, device: Device
) -> None:
    import_ = queue_file(alice, device, rows(10))
    type(import_).objects.filter(pk=import_.pk).update(
        state="running", attempts=5, leased_by="dead", heartbeat_at=timezone.now() - timedelta(seconds=61)
    )
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "failed")
    assert "ended by an error in Joulebook itself" in import_.problem
    assert stored(worker_urls["reader"], device.device_id) == {}


def test_old_drafts_and_files_that_nobody_needs_are_removed(alice: User, device: Device) -> None:
    from joulebook.web.imports.models import Import
    from joulebook.web.imports.operations import create_draft, remove_old_drafts, remove_orphaned_uploads
    from joulebook.web.imports.uploads.files import upload_path, upload_writer

    def received() -> Any:
        with upload_writer() as writing:
            writing.write(b"t,P\n")
            return writing.finish()

    kept, old, stray, new = (received() for _ in range(4))
    draft = create_draft(alice, old, name="old.csv")
    Import.objects.filter(pk=draft.pk).update(created_at=timezone.now() - timedelta(days=7, minutes=1))
    create_draft(alice, kept, name="kept.csv")
    for upload in (kept, old, stray):
        day_before = time.time() - 2 * 86_400
        os.utime(upload_path(upload.name), (day_before, day_before))
    assert remove_old_drafts() == 1
    assert remove_orphaned_uploads() == 1
    assert [upload_path(each.name).exists() for each in (kept, old, stray, new)] == [True, False, False, True]
    assert list(Import.objects.values_list("file_name", flat=True)) == ["kept.csv"]
    upload_path(new.name).unlink()
