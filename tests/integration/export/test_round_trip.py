"""`joulebook export` and `joulebook import`: every bit comes back, and files are there whole or not at all."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

Command = Callable[..., subprocess.CompletedProcess[str]]
Put = Callable[..., None]
Stored = Callable[..., dict[tuple[str, int], bytes]]

SECOND = 1_000_000
AUTUMN = int(datetime(2025, 10, 26, 0, 0, tzinfo=UTC).timestamp()) * SECOND
"""Half an hour before Berlin's clocks show an hour for the second time."""

ODD = {
    # Numbers at the ends of what may be stored, and that are no short decimals.
    "power": [
        (AUTUMN + n * 600 * SECOND, value)
        for n, value in enumerate([0.0, -0.0, 1e100, -1e100, 1e-300, 5e-324, 0.1 + 0.2, 1 / 3, 1e15, 1e16, -1.5])
    ],
    # What a guess takes for a missing value, an identifier, or nothing at all.
    "temperature": [(AUTUMN + n * 60 * SECOND, value) for n, value in enumerate([20.0, -9999.0, -9999.0, 21.5])],
    "serial": [(AUTUMN + n * 60 * SECOND, 12_345_678_901_234.0) for n in range(8)],
    # Instants that no other metric has, and digits down to the microsecond.
    "events": [(1, 1.0), (AUTUMN + 1, 2.0), (AUTUMN + 123_456, 3.0), (AUTUMN + 7200 * SECOND, 4.0)],
    # Names that spreadsheets compute, that need quotes, or that mean something in a header.
    '=HYPERLINK("http://x","y")': [(AUTUMN, 1.0)],
    "-power": [(AUTUMN, -2.0)],
    "+1": [(AUTUMN, 3.0)],
    "@SUM(A1)": [(AUTUMN, 4.0)],
    "'=x": [(AUTUMN, 5.0)],
    "'plain": [(AUTUMN, 6.0)],
    "time": [(AUTUMN, 7.0)],
    "time_2": [(AUTUMN, 8.0)],
    "value": [(AUTUMN, 9.0)],
    "metric": [(AUTUMN, 10.0)],
    "a,b": [(AUTUMN, 11.0)],
    "a  b": [(AUTUMN, 12.0)],
    "a b": [(AUTUMN, 13.0)],
    "Leistung (kW) für 日本": [(AUTUMN, 14.0)],
    "2026-01-01": [(AUTUMN, 15.0)],
    "1234": [(AUTUMN, 16.0)],
    "NaN": [(AUTUMN, 17.0)],
}  # fmt: skip


@pytest.fixture
def devices(
    transactional_db: None, telemetry: dict[str, str], device: Device, alice: User
) -> tuple[str, str]:
    """The ids of two devices of Alice's in Berlin, committed, so that commands see them."""
    from joulebook.web.devices.operations import create_device

    other = f"{device.device_id}_2"
    create_device(other, owner=alice, time_zone="Europe/Berlin")
    return device.device_id, other


def come_back(joulebook: Command, devices: tuple[str, str], file: Path, *words: str) -> None:
    """Export the first device to the file and import that for the second."""
    exported = joulebook("export", devices[0], "-o", str(file), *words)
    assert exported.returncode == 0, exported.stderr
    imported = joulebook("import", str(file), "--device", devices[1])
    assert imported.returncode == 0, imported.stdout + imported.stderr


@pytest.mark.parametrize(
    ("layout", "name", "zone"),
    [
        ("wide", "a.csv", "UTC"),
        ("long", "a.csv", "UTC"),
        ("wide", "a.csv.gz", "Europe/Berlin"),
        ("long", "a.csv.gz", "Europe/Berlin"),
    ],
)
def test_what_was_exported_comes_back_bit_by_bit(
    joulebook: Command, devices: tuple[str, str], put: Put, stored_bits: Stored, tmp_path: Path,
    layout: str, name: str, zone: str,
) -> None:  # fmt: skip
    put(ODD)
    come_back(joulebook, devices, tmp_path / name, "--layout", layout, "--tz", zone)
    before = stored_bits(devices[0])
    assert len(before) == sum(map(len, ODD.values()))
    assert stored_bits(devices[1]) == before


@pytest.mark.parametrize(
    ("layout", "zone"),
    [("wide", "Australia/Lord_Howe"), ("long", "America/New_York"), ("wide", "Africa/Casablanca")],
)
def test_readings_over_the_changes_of_a_clock_come_back(
    joulebook: Command, devices: tuple[str, str], put: Put, stored_bits: Stored, tmp_path: Path,
    layout: str, zone: str,
) -> None:  # fmt: skip
    hours = np.arange(0, 366 * 24, 1 if layout == "wide" else 3)
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    put({"power": [(int(start + hour * 3600) * SECOND, hour / 7) for hour in hours.tolist()]})
    come_back(joulebook, devices, tmp_path / "a.csv", "--layout", layout, "--tz", zone)
    assert stored_bits(devices[1]) == stored_bits(devices[0])
    text = (tmp_path / "a.csv").read_text().splitlines()
    first = datetime.fromtimestamp(start, UTC).astimezone(ZoneInfo(zone))
    assert text[1].startswith(first.isoformat())


def test_random_numbers_come_back_in_every_bit(
    joulebook: Command, devices: tuple[str, str], put: Put, stored_bits: Stored, tmp_path: Path
) -> None:
    random = np.random.default_rng(20260301)
    bits = random.integers(0, 2**64, 12_000, dtype=np.uint64).view(np.float64)
    bits = bits[np.isfinite(bits) & (np.abs(bits) <= 1e100)]
    # Instants of any digits in a few weeks since 1970: each week with a reading costs every later query a chunk.
    weeks = random.integers(0, 2_950, 12) * 7 * 86_400
    times = np.unique(
        random.choice(weeks, len(bits)) * SECOND + random.integers(0, 7 * 86_400 * SECOND, len(bits))
    )
    put({"noise": list(zip(times.tolist(), bits.tolist(), strict=False)), "other": [(5, 1.0), (6, 2.0)]})
    come_back(joulebook, devices, tmp_path / "a.csv")
    assert stored_bits(devices[1]) == stored_bits(devices[0])


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_parquet_and_arrow_files_hold_every_bit(
    joulebook: Command, devices: tuple[str, str], put: Put, stored_bits: Stored, tmp_path: Path, layout: str
) -> None:
    put(ODD)
    parquet, arrow = tmp_path / "a.parquet", tmp_path / "a.arrows"
    assert joulebook("export", devices[0], "-o", str(parquet), "--layout", layout).returncode == 0
    assert joulebook("export", devices[0], "-o", str(arrow), "--layout", layout).returncode == 0
    table = pl.read_parquet(parquet)
    assert table.equals(pl.read_ipc_stream(arrow))
    if layout == "wide":
        assert "time_3" in table.columns
        table = table.unpivot(index="time", variable_name="name", value_name="number").drop_nulls("number")
        table = table.with_columns(pl.col("name").replace({"time_3": "time"}))
    found = {
        (metric, time): struct.pack(">d", value)
        for time, metric, value in table.with_columns(pl.col("time").to_physical()).iter_rows()
    }
    assert found == stored_bits(devices[0])


def test_a_mapping_renames_what_an_export_holds(
    joulebook: Command, devices: tuple[str, str], put: Put, stored_bits: Stored, tmp_path: Path
) -> None:
    put({"=x": [(AUTUMN, -9999.0)], "y": [(AUTUMN, 2.0)]})
    file = tmp_path / "a.csv"
    assert joulebook("export", devices[0], "-o", str(file)).returncode == 0
    done = joulebook("import", str(file), "--device", devices[1], "--map", "=x=power", "--map", "y=")
    assert done.returncode == 0, done.stderr
    assert list(stored_bits(devices[1])) == [("power", AUTUMN)]


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def some_readings(self, put: Put) -> None:
        put(
            {
                "power": [(AUTUMN + n * 3600 * SECOND, float(n)) for n in range(48)],
                "voltage": [(AUTUMN, 230.0)],
            }
        )

    def test_standard_output_gets_the_file_and_nothing_else(
        self, joulebook: Command, devices: tuple[str, str]
    ) -> None:
        done = joulebook("export", devices[0], "--from", "2025-10-26", "--to", "2025-10-26T01:00:00Z")
        assert done.stdout == '"time",power,voltage\n2025-10-26T00:00:00Z,0.0,230.0\n'
        assert "2 readings of 2 metrics exported" in done.stderr
        assert done.returncode == 0

    def test_the_end_of_the_name_says_the_format(
        self, joulebook: Command, devices: tuple[str, str], tmp_path: Path
    ) -> None:
        for name, begin in {
            "a.parquet": b"PAR1",
            "a.arrow": b"\xff" * 4,
            "a.csv.gz": b"\x1f\x8b",
            "a": b'"time"',
        }.items():
            assert joulebook("export", devices[0], "-o", str(tmp_path / name)).returncode == 0
            assert (tmp_path / name).read_bytes().startswith(begin)
        assert (
            joulebook("export", devices[0], "-o", str(tmp_path / "b.csv"), "--format", "parquet").returncode
            == 0
        )
        assert pl.read_parquet(tmp_path / "b.csv").height == 48

    def test_a_file_is_replaced_only_when_that_is_asked_for(
        self, joulebook: Command, devices: tuple[str, str], tmp_path: Path
    ) -> None:
        file = tmp_path / "a.csv"
        file.write_text("precious")
        refused = joulebook("export", devices[0], "-o", str(file))
        assert refused.returncode == 1
        assert "--force" in refused.stderr
        assert file.read_text() == "precious"
        assert (
            joulebook("export", devices[0], "-o", str(file), "--force", "--metric", "voltage").returncode == 0
        )
        assert file.read_text() == '"time",voltage\n2025-10-26T00:00:00Z,230.0\n'
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--range", "2h"], "--range '2h' is not one of 10m"),
            (["--range", "24h", "--from", "2026-01-01"], "cannot be combined"),
            (["--from", "2026-01-02", "--to", "2026-01-01"], "later"),
            (["--metric", "gas"], "has no metric 'gas'; it has: power, voltage"),
            (["--tz", "Berlin"], "--tz 'Berlin'"),
            (["-o", "/no/such/folder/a.csv"], "no folder /no/such/folder"),
            (["--format", "xlsx"], "xlsx"),
        ],
    )
    def test_what_cannot_be_done_is_said_and_leaves_no_file(
        self, joulebook: Command, devices: tuple[str, str], words: list[str], said: str
    ) -> None:
        done = joulebook("export", devices[0], *words, COLUMNS="200")
        assert done.returncode in {1, 2}
        assert said in done.stderr
        assert done.stdout == ""

    def test_a_device_that_is_not_there_is_named(self, joulebook: Command, devices: tuple[str, str]) -> None:
        done = joulebook("export", "nobody")
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no device 'nobody'" in done.stderr

    def test_a_range_ends_now(self, joulebook: Command, devices: tuple[str, str], put: Put) -> None:
        now = int(time.time())
        put({"power": [((now - 1800) * SECOND, 5.0)]})
        done = joulebook("export", devices[0], "--range", "1h", "--metric", "power")
        assert done.stdout.splitlines()[1].endswith("Z,5.0")
        assert len(done.stdout.splitlines()) == 2

    def test_stopping_it_leaves_no_file_behind(
        self, devices: tuple[str, str], put: Put, tmp_path: Path
    ) -> None:
        put({"m": [(AUTUMN + n * SECOND, n / 3) for n in range(400_000)]})
        command = [sys.executable, "-m", "joulebook", "export", devices[0], "-o", str(tmp_path / "a.csv.gz")]
        process = subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        assert (process.returncode, "stopped; no file was written" in said) == (130, True), said
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_is_full_is_said_and_leaves_no_file(
        self, joulebook: Command, devices: tuple[str, str], put: Put
    ) -> None:
        put({"m": [(AUTUMN + n * SECOND, n / 3) for n in range(30_000)]})
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "joulebook", "export", devices[0]], env=dict(os.environ), stdout=full,
                stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            )  # fmt: skip
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
