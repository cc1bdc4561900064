"""`joulebook import --watch`: what is dropped into a folder is imported, put away, and reported on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import Result
from django.db import connections
from typer.testing import CliRunner

from joulebook.cli.main import app

from .working import rows, stored, wait_for

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

GOOD = "t,P\n2024-01-13 00:00,1\n2024-01-13 00:01,2.5\n"
Watch = Callable[..., Result]


@pytest.fixture
def own_device(transactional_db: None, telemetry: dict[str, str], device: Device) -> str:
    """The id of Alice's device in Berlin, committed, so that the command sees it."""
    return device.device_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "drop"
    path.mkdir()
    return path


@pytest.fixture
def once(folder: Path, own_device: str) -> Watch:
    """Watch until the folder is empty, in this process."""
    words = (
        "import",
        str(folder),
        "--watch",
        "--once",
        "--device",
        own_device,
        "--settle",
        "0.1",
        "--tz",
        "UTC",
    )
    return lambda *more: CliRunner().invoke(app, (*words, *more))


@contextmanager
def watching(folder: Path, device_id: str) -> Iterator[subprocess.Popen[str]]:
    command = ["import", str(folder), "--watch", "--device", device_id, "--settle", "0.2", "--tz", "UTC"]
    with subprocess.Popen(
        [sys.executable, "-m", "joulebook", *command], env=os.environ, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("watching ")
        try:
            yield process
        finally:
            process.kill()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def report(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_each_file_goes_where_it_belongs_and_no_ones_fault_stops_the_others(
    once: Watch, folder: Path, own_device: str, telemetry: dict[str, str]
) -> None:
    files = {
        "a bad cell.csv": GOOD + "2024-01-13 00:02,x\n",
        "empty.csv": "",
        "good.csv": GOOD.replace("13", "14"),
        "open.csv": "t,P\n03/04/2024 00:00,1\n03/04/2024 00:01,2\n",
        "half.csv.part": GOOD,
        ".hidden.csv": GOOD,
        "picture.csv": "\x89PNG\r\n\x1a\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    done = once()
    assert done.exit_code == 3, done.stderr
    assert tree(folder) == {
        "half.csv.part",
        ".hidden.csv",
        *(f"imported/{name}{end}" for name in ("a bad cell.csv", "good.csv") for end in ("", ".report.json")),
        *(
            f"refused/{name}{end}"
            for name in ("empty.csv", "open.csv", "picture.csv")
            for end in ("", ".report.json")
        ),
    }
    told = report(folder / "imported" / "good.csv.report.json")
    assert (told["device"], told["problem"], told["cells"]["stored"]) == (own_device, None, 2)
    assert report(folder / "imported" / "a bad cell.csv.report.json")["cells"]["malformed"] == 1
    assert "--time-format" in report(folder / "refused" / "open.csv.report.json")["problem"]
    assert "empty.csv is empty" in report(folder / "refused" / "empty.csv.report.json")["problem"]
    assert stored(telemetry["reader"], own_device)["P"][0] == 4
    assert "imported/good.csv: import " in done.stderr


def test_a_same_file_again_is_recognised_and_put_away_under_a_number(once: Watch, folder: Path) -> None:
    (folder / "meter.csv").write_text(GOOD)
    assert once().exit_code == 0
    (folder / "meter.csv").write_text(GOOD)
    done = once()
    assert done.exit_code == 0, done.stderr
    told = report(folder / "imported" / "meter-2.csv.report.json")
    assert told["already_imported"] is True
    assert f"imported/meter-2.csv: import {told['import_id']} already" in done.stderr
    assert (folder / "imported" / "meter.csv").exists()


def test_an_empty_folder_ends_it_and_none_at_all_is_said(once: Watch, folder: Path) -> None:
    assert once().exit_code == 0
    folder.rmdir()
    done = once()
    assert (done.exit_code, "is no folder" in done.stderr) == (1, True)


@pytest.mark.parametrize("words", [["--dry-run"], ["--save-profile", "x"], ["--rejected", "x"]])
def test_what_makes_no_sense_for_many_files_is_refused(once: Watch, words: list[str]) -> None:
    done = once(*words)
    assert (done.exit_code, words[0] in done.stderr) == (1, True)


def test_while_the_database_is_away_files_wait(
    once: Watch, folder: Path, monkeypatch: pytest.MonkeyPatch, own_device: str, telemetry: dict[str, str]
) -> None:
    (folder / "meter.csv").write_text(GOOD)
    away = "postgresql://joulebook_writer:x@127.0.0.1:1/joulebook"
    monkeypatch.setenv("JOULEBOOK_TELEMETRY_URL", away)
    monkeypatch.setenv("JOULEBOOK_TELEMETRY_WRITER_URL", away)
    seen = []

    def come_back() -> None:
        time.sleep(1.5)
        seen.append(tree(folder))
        monkeypatch.delenv("JOULEBOOK_TELEMETRY_URL")
        monkeypatch.delenv("JOULEBOOK_TELEMETRY_WRITER_URL")

    thread = threading.Thread(target=come_back)
    thread.start()
    done = once()
    thread.join()
    assert done.exit_code == 0, done.stderr
    assert seen == [{"meter.csv"}]
    assert done.stderr.count("waiting, and trying again") == 1
    assert stored(telemetry["reader"], own_device)["P"][0] == 2


def test_it_takes_what_comes_whole_and_ends_politely_in_the_middle_of_a_file(
    folder: Path, tmp_path: Path, own_device: str, telemetry: dict[str, str], once: Watch
) -> None:
    from joulebook.web.imports.models import Import

    with watching(folder, own_device) as process:
        elsewhere = tmp_path / "meter.csv"
        elsewhere.write_text(GOOD)
        elsewhere.rename(folder / "meter.csv")
        wait_for(
            (folder / "imported" / "meter.csv").exists, seconds=30, what="the first file is not imported"
        )
        (folder / "large.csv").write_text(rows(200_000))
        wait_for(
            lambda: any("P" in of and of["P"][0] > 2 for of in [stored(telemetry["reader"], own_device)]),
            seconds=60,
            what="the second file is not begun",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert (folder / "large.csv").exists()
    cut_off = Import.objects.latest("pk")
    assert (cut_off.state, cut_off.file_name) == ("cancelled", "large.csv")
    assert 0 < cut_off.cells_stored < 400_000
    assert once().exit_code == 0
    told = report(folder / "imported" / "large.csv.report.json")["cells"]
    assert told["stored"] + told["duplicate"] == 400_000
    assert told["duplicate"] == cut_off.cells_stored


def test_a_folder_that_is_away_for_a_while_is_waited_for(once: Watch, folder: Path) -> None:
    (folder / "meter.csv").write_text(GOOD)
    late, away = folder / "late.csv", folder.with_name("away")
    late.write_text(GOOD.replace("13", "15"))

    def unplug() -> None:
        def is_first_imported() -> bool:
            os.utime(late)  # so that it is not whole yet
            return (folder / "imported" / "meter.csv").exists()

        wait_for(is_first_imported, seconds=30, what="nothing is imported")
        folder.rename(away)
        time.sleep(0.7)
        away.rename(folder)

    thread = threading.Thread(target=unplug)
    thread.start()
    done = once("--settle", "0.6")
    thread.join()
    assert done.exit_code == 0, done.stderr
    assert "waiting, and trying again" in done.stderr
    assert (folder / "imported" / "late.csv").exists()


def test_a_file_that_grows_while_it_is_imported_stays_until_it_is_whole(
    once: Watch, folder: Path, own_device: str, telemetry: dict[str, str]
) -> None:
    from joulebook.web.imports.models import Import

    path = folder / "meter.csv"
    path.write_text(rows(60_000))
    tail = rows(3, first=60_000).split("\n", 1)[1]

    def grow() -> None:
        wait_for(Import.objects.exists, seconds=30, what="nothing is imported")
        with path.open("a") as file:
            file.write(tail)
        connections.close_all()

    thread = threading.Thread(target=grow)
    thread.start()
    done = once()
    thread.join()
    assert done.exit_code == 0, done.stderr
    assert "meter.csv changed during its import" in done.stderr
    assert (folder / "imported" / "meter.csv").read_text().endswith(tail)
    assert not (folder / "imported" / "meter-2.csv").exists()
    assert stored(telemetry["reader"], own_device)["P"][:2] == (60_003, 60_003)
