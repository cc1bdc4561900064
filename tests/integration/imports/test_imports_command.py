"""`joulebook imports` and `joulebook profiles`: what was imported, taking it back, and saved profiles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import Result
from django.db import connections
from typer.testing import CliRunner

from joulebook.cli import output
from joulebook.cli.main import app

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

Command = Callable[..., Result]
TEXT = "t,P\n2024-01-13 00:00,1\n2024-01-13 00:01,2.5\n2024-01-13 00:02,3x\n"


@pytest.fixture
def joulebook() -> Command:
    """The command line in this process, which spares the seconds of starting one."""
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def own_device(transactional_db: None, telemetry: dict[str, str], device: Device) -> str:
    """The id of Alice's device in Berlin, committed, so that the command sees it."""
    return device.device_id


@pytest.fixture
def imported(joulebook: Command, own_device: str, tmp_path: Path) -> int:
    """The number of an import of two readings and a cell that is none."""
    path = tmp_path / "meter.csv"
    path.write_text(TEXT)
    done = joulebook("import", str(path), "--device", own_device, "--user", "alice", "--json")
    assert done.exit_code == 3, done.stderr
    return int(json.loads(done.stdout)["import_id"])


def record(number: int) -> Any:
    from joulebook.web.imports.models import Import

    return Import.objects.get(pk=number)


def stored(url: str, device_id: str) -> int:
    with psycopg.connect(url) as conn:
        found = conn.execute(
            "SELECT count(*) FROM readings JOIN series ON series.id = series_id WHERE device_id = %s",
            (device_id,),
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_imports_are_listed_and_shown_to_people_and_to_scripts(
    joulebook: Command, imported: int, own_device: str
) -> None:
    listed = joulebook("imports", "list", "--device", own_device).stdout.splitlines()
    assert listed[0].split() == [
        "Number",
        "Begun",
        "State",
        "Device",
        "File",
        "By",
        "Rows",
        "Stored",
        "Rejected",
    ]
    (row,) = listed[1:]
    assert row.split()[0] == str(imported)
    assert row.split()[3:] == ["done", own_device, "meter.csv", "alice", "3", "2", "0"]
    told = json.loads(joulebook("imports", "list", "--state", "done", "--json", "--limit", "1").stdout)
    assert [(each["id"], each["device"], each["state"]) for each in told] == [(imported, own_device, "done")]
    shown = joulebook("imports", "show", str(imported)).stdout
    assert f"{imported}, done" in shown
    assert "2 stored, 0 replaced, 0 duplicate, 0 in conflict, 0 without a value, 1 malformed" in shown
    whole = json.loads(joulebook("imports", "show", str(imported), "--json").stdout)
    assert whole["counts"]["cells_malformed"] == 1


def test_what_is_not_there_is_said_with_the_remedy(joulebook: Command, own_device: str) -> None:
    missing = joulebook("imports", "show", "987654321")
    assert missing.exit_code == 1
    assert "there is no import 987654321; see them with: joulebook imports list" in missing.stderr
    wrong = joulebook("imports", "list", "--state", "gone")
    assert wrong.exit_code == 1
    assert "there are draft, queued, running" in wrong.stderr


def test_an_import_is_undone_without_a_worker_and_only_once(
    joulebook: Command, imported: int, own_device: str, telemetry: dict[str, str]
) -> None:
    assert stored(telemetry["reader"], own_device) == 2
    done = joulebook("imports", "undo", str(imported), "--user", "alice")
    assert done.exit_code == 0, done.stderr
    assert f"import {imported} of meter.csv is undone: 2 readings removed, 0 restored" in done.stdout
    assert stored(telemetry["reader"], own_device) == 0
    import_ = record(imported)
    assert (import_.state, import_.undone_by.username, import_.leased_by) == ("undone", "alice", "")
    assert import_.undone_at is not None
    again = joulebook("imports", "undo", str(imported))
    assert again.exit_code == 1
    assert f"import {imported} is undone" in again.stderr


def held_by_another(number: int) -> None:
    """Let a worker, of which there is a heartbeat, be at work on the import."""
    from django.utils import timezone

    from joulebook.web.imports.models import Import

    Import.objects.filter(pk=number).update(
        state="undoing", leased_by="another", heartbeat_at=timezone.now(), lease=5
    )


def test_a_worker_that_is_at_it_is_left_alone_and_its_work_gone_on_with_once_it_gives_it_back(
    joulebook: Command,
    imported: int,
    own_device: str,
    telemetry: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from joulebook.cli.imports import past_imports
    from joulebook.web.imports.models import Import

    held_by_another(imported)
    waits = threading.Event()

    def say(message: str) -> None:
        output.say(message)
        waits.set()

    monkeypatch.setattr(past_imports, "say", say)

    def give_back() -> None:
        waits.wait(60)
        Import.objects.filter(pk=imported).update(leased_by="", attempts=0)
        connections.close_all()

    thread = threading.Thread(target=give_back)
    thread.start()
    done = joulebook("imports", "undo", str(imported))
    thread.join()
    assert done.exit_code == 0, done.stderr
    assert "waiting for a worker" in done.stderr
    assert "2 readings removed" in done.stdout
    assert stored(telemetry["reader"], own_device) == 0


def test_undoing_ends_politely_and_leaves_the_import_to_whoever_goes_on(
    imported: int, own_device: str, telemetry: dict[str, str]
) -> None:
    held_by_another(imported)
    with subprocess.Popen(
        [sys.executable, "-m", "joulebook", "imports", "undo", str(imported)],
        env=os.environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "waiting for a worker" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
        assert "stopped; undoing continues" in process.stderr.read()
    assert (record(imported).state, record(imported).lease) == ("undoing", 5)
    assert stored(telemetry["reader"], own_device) == 2


def test_a_profile_is_saved_listed_used_and_removed(
    joulebook: Command, own_device: str, tmp_path: Path
) -> None:
    path, saved = tmp_path / "meter.csv", tmp_path / "meter.json"
    path.write_text(TEXT)
    joulebook(
        "import", str(path), "--device", own_device, "--dry-run", "--save-profile", str(saved), "--tz", "UTC"
    )
    done = joulebook("profiles", "save", "My meter", str(saved), "--owner", "alice")
    assert done.exit_code == 0, done.stderr
    listed = joulebook("profiles", "list").stdout
    assert "My meter" in listed
    assert "tmy3" in listed
    shown = json.loads(joulebook("profiles", "show", "My meter", "--owner", "alice").stdout)
    assert shown == {**json.loads(saved.read_text()), "name": "My meter"}
    words = ("import", str(path), "--device", own_device, "--dry-run", "--json", "--profile")
    assert json.loads(joulebook(*words, "My meter").stdout)["profile"] == shown
    unknown = joulebook(*words, "Your meter")
    assert unknown.exit_code == 1
    assert "there is no profile 'Your meter'; there are hobo-ymd" in unknown.stderr
    assert "My meter, and no file of that name" in unknown.stderr
    assert joulebook("profiles", "save", "tmy3", str(saved), "--owner", "alice").exit_code == 1
    assert joulebook("profiles", "remove", "My meter", "--owner", "alice").exit_code == 0
    missing = joulebook("profiles", "show", "My meter", "--owner", "alice")
    assert (missing.exit_code, "has no profile 'My meter'" in missing.stderr) == (1, True)
