"""`joulebook import` from end to end: what it stores, says, records, and answers with its exit code."""

from __future__ import annotations

import gzip
import json
import math
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

DATA = Path(__file__).parents[4] / "shared" / "data"
UCI = DATA / "uci" / "household_power_consumption_first12k.txt"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not here: {DATA}")

Command = Callable[..., subprocess.CompletedProcess[str]]
TEXT = "t,P,E\n2024-01-13 00:00,1,10\n2024-01-13 00:01,2.5,\n2024-01-13 00:02,3,30\n"


@pytest.fixture
def own_device(transactional_db: None, telemetry: dict[str, str], device: Device) -> str:
    """The id of Alice's device in Berlin, committed, so that the command sees it."""
    return device.device_id


@pytest.fixture
def readings(tmp_path: Path) -> Callable[[str], str]:
    """Write a text to a file and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "readings.csv"
        path.write_text(text)
        return str(path)

    return write


def stored_columns(url: str, device_id: str) -> dict[str, list[float]]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT metric, array_agg(value ORDER BY time) FROM readings JOIN series ON series.id = series_id "
            "WHERE device_id = %s GROUP BY metric",
            (device_id,),
        ).fetchall()
    return dict(rows)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def record(import_id: int) -> Any:
    from joulebook.web.imports.models import Import

    return Import.objects.select_related("device", "user").get(pk=import_id)


@needs_data
def test_the_household_sample_is_stored_whole_and_a_second_run_stores_nothing(
    joulebook: Command, own_device: str, telemetry: dict[str, str]
) -> None:
    truth = json.loads(UCI.with_name(UCI.name + ".truth.json").read_text())
    first = joulebook("import", str(UCI), "--device", own_device)
    assert first.returncode == 0, first.stderr
    assert "Rows   12,257 read = 12,257 imported + 0 rejected" in first.stdout
    assert (
        "Cells  85,799 = 85,785 stored + 0 duplicate + 0 in conflict + 14 without a value + 0 malformed"
        in first.stdout
    )
    stored = stored_columns(telemetry["reader"], own_device)
    assert set(stored) == set(truth["values"])
    for metric, figures in truth["values"].items():
        values = stored[metric]
        assert (len(values), min(values), max(values)) == (figures["valid"], figures["min"], figures["max"])
        assert math.fsum(values) == figures["sum"]
    told = joulebook("import", str(UCI), "--device", own_device)
    assert (told.returncode, told.stdout) == (0, "")
    assert "already, read with the same settings; nothing was read again" in told.stderr
    second = joulebook("import", str(UCI), "--device", own_device, "--force", "--json")
    assert second.returncode == 0
    report = report_of(second)
    assert report["cells"] == {
        "all": 85_799, "stored": 0, "replaced": 0, "duplicate": 85_785, "conflict": 0, "na": 14, "malformed": 0,
    }  # fmt: skip
    assert {c["column"]: c["na"] for c in report["columns"]} == dict.fromkeys(truth["values"], 2)
    again = joulebook("import", str(UCI), "--device", own_device, "--force")
    assert "Nothing was stored: every reading of this file was there already." in again.stdout
    # The device stands in Berlin, one hour ahead of UTC in December.
    assert report["first_time"] == "2006-12-16T16:24:00Z"


def test_an_import_is_recorded_and_its_readings_carry_its_id(
    joulebook: Command, own_device: str, telemetry: dict[str, str], readings: Callable[[str], str]
) -> None:
    import hashlib

    done = joulebook(
        "import",
        readings(TEXT),
        "--device",
        own_device,
        "--user",
        "alice",
        "--json",
        "--tz",
        "UTC",
        "--map",
        "P=power:W",
    )
    assert done.returncode == 0, done.stderr
    report = report_of(done)
    kept = record(report["import_id"])
    assert (kept.device.device_id, kept.user.get_username(), kept.file_name) == (
        own_device,
        "alice",
        "readings.csv",
    )
    assert kept.file_sha256 == report["file"]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (kept.state, kept.problem, kept.profile["tz"]) == ("done", "", "UTC")
    assert (kept.rows_read, kept.rows_rejected) == (3, 0)
    assert (kept.cells_stored, kept.cells_duplicate, kept.cells_conflict) == (5, 0, 0)
    assert (kept.cells_na, kept.cells_malformed) == (1, 0)
    assert kept.created_at <= kept.finished_at <= datetime.now(UTC)
    assert kept.device.metrics.get(name="power").unit == "W"
    with psycopg.connect(telemetry["reader"]) as conn:
        ids = conn.execute(
            "SELECT DISTINCT import_id FROM readings JOIN series ON series.id = series_id WHERE device_id = %s",
            (own_device,),
        ).fetchall()
    assert ids == [(report["import_id"],)]


def test_a_dry_run_says_the_same_and_stores_nothing(
    joulebook: Command, own_device: str, telemetry: dict[str, str], readings: Callable[[str], str]
) -> None:
    from joulebook.web.imports.models import Import

    path = readings(TEXT + "broken,1,2\n2024-01-13 00:04,x,2\n")
    done = joulebook("import", path, "--device", own_device, "--dry-run")
    assert done.returncode == 3
    assert "Cells  8 = 6 readable + 1 without a value + 1 malformed" in done.stdout
    assert "Rows   5 read = 4 imported + 1 rejected" in done.stdout
    assert "Nothing was stored: this was a dry run." in done.stdout
    for part in ("time format", "%Y-%m-%d %H:%M", "guessed: fits the first lines", "the device's zone"):
        assert part in done.stdout
    assert stored_columns(telemetry["reader"], own_device) == {}
    assert not Import.objects.filter(device__device_id=own_device).exists()


def test_a_dry_run_needs_no_database_of_readings(joulebook: Command, tmp_path: Path) -> None:
    home = {"JOULEBOOK_HOME": str(tmp_path / "home"), "JOULEBOOK_TELEMETRY_URL": ""}
    (tmp_path / "home").mkdir()
    path = tmp_path / "readings.csv"
    path.write_text(TEXT)
    assert (
        joulebook(
            "user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase", **home
        ).returncode
        == 0
    )
    assert joulebook("device", "add", "d1", "--owner", "alice", **home).returncode == 0
    done = joulebook("import", str(path), "--device", "d1", "--dry-run", **home)
    assert (done.returncode, done.stderr) == (0, "")
    real = joulebook("import", str(path), "--device", "d1", **home)
    assert real.returncode == 1
    assert "joulebook" in real.stderr
    assert "Traceback" not in real.stderr


def test_rows_and_cells_that_are_refused_are_listed_with_line_column_and_text(
    joulebook: Command, own_device: str, readings: Callable[[str], str]
) -> None:
    path = readings(TEXT + "2024-01-13 25:00,1,2\n2024-01-13 00:04,12 W,2\n2024-01-13 00:00,7,10\n")
    done = joulebook("import", path, "--device", own_device)
    assert done.returncode == 3
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["5", "(whole", "row)", "time_malformed", "2024-01-13", "25:00"] in lines
    assert ["6", "P", "value_type", "12", "W"] in lines
    assert ["7", "P", "conflict", "7.0"] in lines
    assert "6 readings stored." in done.stdout


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, (), "there is no file"),
        ("", (), "is empty"),
        (
            "a,b\n1,2\n3,4\n",
            (),
            "no column of the file looks like a date; name the time's column with --time-column",
        ),
        ("t,P\n01/02/2024,1\n", (), "can be 1 February 2024 or 2 January 2024"),
        (TEXT, ("--time-column", "when"), "--time-column 'when': the file has no such column; it has"),
        (TEXT, ("--time-format", "%H"), "--time-format '%H' must name a year"),
        (TEXT, ("--tz", "Nowhere"), "'Nowhere' is not a time zone"),
        (TEXT, ("--delimiter", "ab"), "--delimiter 'ab' cannot be used"),
        (TEXT, ("--encoding", "klingon"), "'klingon' is not a text encoding"),
        (TEXT, ("--thousands", "x"), "--thousands 'x' cannot be used"),
        (TEXT, ("--map", "P"), "--map 'P' must be COLUMN=METRIC"),
        (TEXT, ("--map", "Q=q"), "--map 'Q': the file has no such column"),
        (TEXT, ("--user", "nobody_here"), "there is no user 'nobody_here'"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_remedy(
    joulebook: Command,
    own_device: str,
    tmp_path: Path,
    content: str | None,
    options: tuple[str, ...],
    message: str,
) -> None:
    path = tmp_path / "readings.csv"
    if content is not None:
        path.write_text(content)
    done = joulebook("import", str(path), "--device", own_device, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stdout == ""


def test_an_empty_folder_and_an_unknown_device_are_refused(
    joulebook: Command, own_device: str, tmp_path: Path
) -> None:
    folder = joulebook("import", str(tmp_path), "--device", own_device)
    assert (folder.returncode, "is a folder without a file" in folder.stderr) == (1, True)
    device = joulebook("import", str(tmp_path), "--device", "no_such_device")
    assert device.returncode == 1
    assert (
        "there is no device 'no_such_device'; create it with: joulebook device add no_such_device"
        in device.stderr
    )


def test_a_gzip_file_that_is_cut_off_stores_what_is_readable_and_fails(
    joulebook: Command, own_device: str, telemetry: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress(long_text(200_000).encode())[:-50_000])
    done = joulebook("import", str(path), "--device", own_device, "--tz", "UTC", "--json")
    assert done.returncode == 1
    assert "cut off" in done.stderr
    assert "importing the file again is harmless" in done.stderr
    report = report_of(done)
    assert (
        report["cells"]["stored"]
        == sum(map(len, stored_columns(telemetry["reader"], own_device).values()))
        > 100_000
    )
    assert (record(report["import_id"]).state, "cut off" in record(report["import_id"]).problem) == (
        "failed",
        True,
    )


def long_text(rows: int) -> str:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    lines = (
        f"{start + timedelta(minutes=n):%Y-%m-%d %H:%M},{n % 977 * 0.37:.2f},{n % 13}" for n in range(rows)
    )
    return "t,P,E\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, "cancel"])
def test_an_import_that_is_stopped_keeps_what_was_stored_and_a_second_run_completes_it(
    joulebook: Command,
    own_device: str,
    telemetry: dict[str, str],
    tmp_path: Path,
    stop: signal.Signals | str,
) -> None:
    from joulebook.web.imports.models import Import
    from joulebook.web.imports.operations import cancel_import

    rows = 300_000
    path = tmp_path / "long.csv"
    path.write_text(long_text(rows))
    words = [
        sys.executable,
        "-m",
        "joulebook",
        "import",
        str(path),
        "--device",
        own_device,
        "--tz",
        "UTC",
        "--json",
    ]
    running = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 60
    begun = "SELECT 1 FROM import_progress WHERE device_id = %s AND checkpoint IS NOT NULL"
    with psycopg.connect(telemetry["reader"], autocommit=True) as conn:
        while not conn.execute(begun, [own_device]).fetchone() and time.monotonic() < deadline:
            time.sleep(0.005)
    # However fast the machine is, the import is not over before it is asked to stop.
    running.send_signal(signal.SIGSTOP)
    if isinstance(stop, signal.Signals):
        running.send_signal(stop)
    else:
        cancel_import(Import.objects.get(device__device_id=own_device))
        time.sleep(1.1)  # once a second the command asks whether somebody wants it to stop
    running.send_signal(signal.SIGCONT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == (1 if stop == "cancel" else 130), err
    assert "cancelled, on its page" in err if stop == "cancel" else "stopped; " in err
    assert "what was stored until then stays" in err
    assert "Traceback" not in err
    assert "WARNING" not in err
    report = json.loads(out)
    kept = sum(map(len, stored_columns(telemetry["reader"], own_device).values()))
    assert 0 < report["cells"]["stored"] == kept < 2 * rows
    assert record(report["import_id"]).state == "cancelled"
    again = report_of(joulebook("import", str(path), "--device", own_device, "--tz", "UTC", "--json"))
    assert (again["cells"]["stored"], again["cells"]["duplicate"]) == (2 * rows - kept, kept)
    assert record(again["import_id"]).state == "done"


def test_progress_is_told_on_standard_error_only(joulebook: Command, own_device: str, tmp_path: Path) -> None:
    path = tmp_path / "quick.csv"
    path.write_text(TEXT)
    done = joulebook("import", str(path), "--device", own_device)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_gets_a_bar(own_device: str, tmp_path: Path) -> None:
    import pty

    path = tmp_path / "long.csv"
    path.write_text(long_text(50_000))
    controller, terminal = pty.openpty()
    words = [sys.executable, "-m", "joulebook", "import", str(path), "--device", own_device, "--tz", "UTC"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=terminal, text=True, env=env)
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(controller)
    assert running.communicate(timeout=60)[0].endswith("100,000 readings stored.\n")
    assert running.returncode == 0
    assert b"long.csv" in shown
    assert b"readings/s" in shown


def refused_record(device_id: str) -> Any:
    from joulebook.web.imports.models import Import

    return Import.objects.get(device__device_id=device_id, state=Import.State.REFUSED)


def test_an_import_that_replaces_says_how_much_and_one_that_does_not_lists_conflicts(
    joulebook: Command, own_device: str, readings: Callable[[str], str], telemetry: dict[str, str]
) -> None:
    assert joulebook("import", readings(TEXT), "--device", own_device).returncode == 0
    path = readings(TEXT.replace("2.5", "7") + "2024-01-13 00:03,4,40\n")
    done = joulebook("import", path, "--device", own_device, "--on-conflict", "replace", "--user", "alice")
    assert done.returncode == 0, done.stderr
    assert "= 2 stored + 1 replaced + 4 duplicate + 0 in conflict + 1 without a value" in done.stdout
    assert "2 readings stored, 1 replaced." in done.stdout
    assert stored_columns(telemetry["writer"], own_device) == {"P": [1, 7, 3, 4], "E": [10, 30, 40]}
    done = joulebook("import", readings(TEXT), "--device", own_device, "--force", "--json")
    assert (done.returncode, report_of(done)["cells"]["conflict"]) == (3, 1)
    kept = record(report_of(done)["import_id"])
    assert (kept.state, kept.lease, kept.leased_by, kept.on_conflict) == ("done", 1, "", "keep")
    assert [each.device_id for each in kept.devices.all()] == [own_device]


def test_strict_stores_nothing_of_a_file_with_one_bad_cell_and_all_of_a_good_one(
    joulebook: Command, own_device: str, readings: Callable[[str], str], telemetry: dict[str, str]
) -> None:
    path = readings(TEXT.replace("2.5", "2,5x"))
    done = joulebook("import", path, "--device", own_device, "--strict")
    assert done.returncode == 3
    assert "refused by --strict, nothing stored" in done.stdout
    assert "nothing was stored" in refused_record(own_device).problem
    assert stored_columns(telemetry["writer"], own_device) == {}
    done = joulebook("import", readings(TEXT), "--device", own_device, "--strict")
    assert done.returncode == 0, done.stderr
    assert stored_columns(telemetry["writer"], own_device) == {"P": [1, 2.5, 3], "E": [10, 30]}


def test_all_rejected_rows_and_cells_are_written_as_csv_with_conflicts(
    joulebook: Command, own_device: str, readings: Callable[[str], str], tmp_path: Path
) -> None:
    assert joulebook("import", readings(TEXT), "--device", own_device).returncode == 0
    path = readings(TEXT.replace("2.5,", "7,x") + "broken,=1+1,2\n")
    done = joulebook("import", path, "--device", own_device, "--rejected", str(tmp_path / "rejected.csv"))
    assert done.returncode == 3
    lines = (tmp_path / "rejected.csv").read_text().splitlines()
    assert sorted(lines[1:]) == [
        '3,E,value_type,x,,', '3,P,conflict,7.0,,', '5,,time_malformed,broken,"broken,=1+1,2",',
    ]  # fmt: skip
    assert lines[0] == "line,column,code,text,row,file"


def test_a_saved_profile_reads_the_next_file_and_a_built_in_one_answers_its_question(
    joulebook: Command,
    own_device: str,
    readings: Callable[[str], str],
    telemetry: dict[str, str],
    tmp_path: Path,
) -> None:
    saved = tmp_path / "meter.json"
    done = joulebook(
        "import",
        readings(TEXT),
        "--device",
        own_device,
        "--dry-run",
        "--save-profile",
        str(saved),
        "--map",
        "P=power:kW",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(saved.read_text())["name"] == "meter"
    other = readings("Station 7\n\nE,t,P\n5,2024-01-14 00:00,6\n")
    done = joulebook("import", other, "--device", own_device, "--profile", str(saved))
    assert done.returncode == 0, done.stderr
    assert stored_columns(telemetry["writer"], own_device) == {"power": [6], "E": [5]}
    open_order = readings("t,Q\n03/04/2024 00:00,1\n04/04/2024 00:00,2\n")
    assert joulebook("import", open_order, "--device", own_device).returncode == 1
    done = joulebook("import", open_order, "--device", own_device, "--profile", "day-first", "--json")
    assert report_of(done)["first_time"] == "2024-04-02T22:00:00Z"
    done = joulebook("import", open_order, "--device", own_device, "--profile", "nope")
    assert done.returncode == 1
    assert "there are hobo-ymd" in done.stderr


def test_a_long_file_in_a_zip_archive_is_stored_by_key(
    joulebook: Command, own_device: str, telemetry: dict[str, str], tmp_path: Path
) -> None:
    rows = "".join(f"2024-01-13 {h:02d}:00;{key};{h}\n" for h in range(12) for key in ("Import", "Export"))
    with zipfile.ZipFile(tmp_path / "meter.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../meter.csv", "time;register;kWh\n" + rows)
    done = joulebook("import", str(tmp_path / "meter.zip"), "--device", own_device, "--map", "Export=out:kWh")
    assert done.returncode == 0, done.stderr
    hours = [float(hour) for hour in range(12)]
    assert stored_columns(telemetry["writer"], own_device) == {"Import": hours, "out": hours}
    again = joulebook(
        "import", str(tmp_path / "meter.zip"), "--device", own_device, "--map", "Export=out:kWh", "--force"
    )
    assert "Nothing was stored: every reading of this file was there already." in again.stdout
