"""Several files as one import, by command, page and API: one report, one undo, also after an interruption."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from joulebook.telemetry.connection import connect

from ...unit.files.many_files import STYLES, daily_files, in_archive, in_folder
from ..worker_process import keeping
from .working import wait_for_state

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

pytestmark = pytest.mark.django_db(transaction=True)

Command = Callable[..., subprocess.CompletedProcess[str]]
FILES, TRUTH = daily_files(659, rows=4)
"""Daily files of one inverter with three ways of writing dates: most are open by themselves."""


def stored(url: str, device: Device) -> dict[tuple[str, datetime], float]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT metric, time, value FROM readings JOIN series ON series.id = series_id WHERE device_id = %s",
            [device.device_id],
        ).fetchall()
    return {(metric, time): value for metric, time, value in rows}


@pytest.fixture
def in_utc(device: Device) -> Device:
    device.time_zone = "UTC"
    device.save()
    return device


def test_a_folder_of_659_daily_files_is_one_import_without_a_question(
    joulebook: Command, in_utc: Device, telemetry: dict[str, str], tmp_path: Path
) -> None:
    folder = in_folder(tmp_path / "inverter", {**FILES, "notes.txt": "cleaned the roof\n"})
    done = joulebook("import", str(folder), "--device", in_utc.device_id, "--json")
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert report["files"] == {"all": 660, "left_out": 1}
    assert [(each["file"], each["code"]) for each in report["problems"]] == [("notes.txt", "file_left_out")]
    assert report["cells"]["stored"] == len(TRUTH)
    assert report["rows"]["rejected"] == 0
    assert stored(telemetry["reader"], in_utc) == TRUTH
    again = joulebook("import", str(folder), "--device", in_utc.device_id)
    assert "already, read with the same settings" in again.stderr
    assert joulebook("imports", "undo", str(report["import_id"])).returncode == 0
    assert stored(telemetry["reader"], in_utc) == {}


def test_the_files_of_one_request_are_one_import_that_a_worker_stores(
    alice: User,
    in_utc: Device,
    client_of: Callable[..., Client],
    worker_urls: dict[str, str],
) -> None:
    from joulebook.web.imports.models import Import
    from joulebook.web.imports.operations import undo_import

    client = client_of(alice)

    def send(**more: str) -> Any:
        parts = [SimpleUploadedFile(name, content.encode()) for name, content in FILES.items()]
        return client.post("/api/imports", {"device": in_utc.device_id, "file": parts, **more})

    counted = send(dry_run="1")
    assert counted.status_code == 200, counted.content
    assert counted.json()["report"]["files"] == {"all": 659, "left_out": 0}
    assert counted.json()["report"]["cells"]["readable"] == len(TRUTH)
    answer = send()
    assert answer.status_code == 202, answer.content
    import_ = Import.objects.get(pk=answer.json()["id"])
    assert import_.file_name == "inverter-0000.csv and 658 more"
    with keeping(worker_urls["writer"]):
        wait_for_state(import_, "done")
        assert (import_.problem, import_.cells_stored) == ("", len(TRUTH))
        assert stored(worker_urls["reader"], in_utc) == TRUTH
        undo_import(import_, by=alice)
        wait_for_state(import_, "undone")
    assert stored(worker_urls["reader"], in_utc) == {}


def test_an_interrupted_import_continues_in_the_file_where_it_was(
    alice: User, in_utc: Device, worker_urls: dict[str, str], tmp_path: Path
) -> None:
    from joulebook.telemetry.files.guess.chosen import choose_layout
    from joulebook.telemetry.files.settings import Given
    from joulebook.telemetry.files.source import FileSource
    from joulebook.telemetry.imports.problems import read_problems
    from joulebook.web.imports import leases
    from joulebook.worker.import_runner import ImportRunner

    from .working import queue_file

    files, truth = daily_files(12, rows=6, styles=STYLES[2:])
    files["inverter-0004.csv"] += "broken;1;2\n"
    packed = in_archive(tmp_path / "all.zip", {**files, "inverter-0005.csv": "nothing"})
    truth = {key: value for key, value in truth.items() if key[1].day != 6}
    layout = choose_layout(FileSource(packed), Given(), profile=None, device_tz="UTC")
    import_ = queue_file(
        alice, in_utc, packed.read_bytes(), profile=layout.profile, columns=layout.columns,
        members=layout.members,
    )  # fmt: skip
    for number in range(20):
        claimed = leases.claim_next(f"worker {number}", only=import_.pk)
        assert claimed is not None
        with connect(worker_urls["writer"]) as conn:
            runner = ImportRunner(conn, claimed, most_metrics=9)
            steps = runner.run()
            try:
                next(steps)
                next(steps)
            except StopIteration as exc:
                runner.end(exc.value)
                break
            finally:
                steps.close()
        leases.release(claimed)
    import_.refresh_from_db()
    assert (import_.state, import_.problem) == ("done", "")
    assert stored(worker_urls["reader"], in_utc) == truth
    assert import_.report["files"] == {"all": 12, "left_out": 1}
    assert (import_.rows_read, import_.rows_rejected) == (11 * 6 + 1, 1)
    assert (import_.cells_stored, import_.cells_duplicate) == (len(truth), 0)
    with connect(worker_urls["reader"]) as conn:
        listed = [(each.file, each.line, each.code) for each in read_problems(conn, import_.pk)]
    assert listed == [
        ("inverter-0004.csv", 9, "time_malformed"),
        ("inverter-0005.csv", 0, "file_left_out"),
    ]
