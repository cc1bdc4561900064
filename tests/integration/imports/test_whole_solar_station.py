"""A solar station, straight from the gzip file: every column equals the truth, twice.

The whole of it, three years, is a drill; the suite takes its first ten weeks.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

STATION = Path(__file__).parents[4] / "shared" / "data" / "big" / "dtu_solar_station_2015-2017_1min.csv.gz"

pytestmark = [
    pytest.mark.skipif(not STATION.is_file(), reason=f"the real file is not here: {STATION}"),
    pytest.mark.timeout(600),
]


def stored_values(url: str, device_id: str) -> dict[str, np.ndarray]:
    """Return every stored value by metric."""
    with psycopg.connect(url) as conn, conn.cursor(binary=True) as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SELECT id, metric FROM series WHERE device_id = %s", (device_id,))
        found = {}
        for series_id, metric in cursor.fetchall():
            cursor.execute(
                "SELECT string_agg(float8send(value), ''::bytea) FROM readings WHERE series_id = %s",
                (series_id,),
            )
            (packed,) = cursor.fetchone() or (b"",)
            found[metric] = np.frombuffer(packed, ">f8")
        return found


@dataclass(frozen=True)
class Sample:
    """A file, and what is in it: of each column how many numbers, their sum, least and greatest; and N/A."""

    path: Path
    rows: int
    first_and_last: tuple[str, str]
    columns: dict[str, dict[str, Any]]

    def total(self, figure: str) -> int:
        return sum(column[figure] for column in self.columns.values())


def whole_station() -> Sample:
    """Return the file as it is, with the truth that came with it."""
    truth = json.loads(Path(str(STATION).removesuffix(".gz") + ".truth.json").read_text())
    first_and_last = ("2015-01-01T00:00:00Z", "2017-12-31T23:59:00Z")
    sample = Sample(STATION, truth["data_rows"], first_and_last, truth["values"])
    assert (sample.total("valid"), sample.total("na")) == (truth["totals"]["valid"], truth["totals"]["na"])
    return sample


def first_rows(count: int, folder: Path) -> Sample:
    """Return the first rows as a file of their own, with the truth as Python's own csv and float have it."""
    with gzip.open(STATION, "rt", newline="") as file:
        lines = list(islice(file, count + 1))
    path = folder / "station.csv.gz"
    path.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=1))
    table = csv.DictReader(lines)
    rows = list(table)
    time, *names = table.fieldnames or []
    columns = {}
    for name in names:
        values = [float(row[name]) for row in rows if row[name]]
        columns[name] = {
            "valid": len(values), "na": count - len(values), "sum": math.fsum(values),
            "min": min(values, default=None), "max": max(values, default=None),
        }  # fmt: skip
    first, last = (f"{rows[at][time].replace(' ', 'T')}Z" for at in (0, -1))
    return Sample(path, count, (first, last), columns)


@pytest.mark.parametrize("rows", [100_000, pytest.param(None, marks=pytest.mark.slow, id="whole")])
def test_the_station_is_stored_as_it_is_and_a_second_run_stores_nothing(
    joulebook: Callable[..., subprocess.CompletedProcess[str]],
    telemetry: dict[str, str],
    tmp_path: Path,
    rows: int | None,
) -> None:
    sample = whole_station() if rows is None else first_rows(rows, tmp_path)
    owner, device_id = f"owner_{uuid.uuid4().hex[:12]}", f"station_{uuid.uuid4().hex[:12]}"
    joulebook("user", "add", owner, "--password-stdin", stdin="a long enough pass phrase")
    joulebook("device", "add", device_id, "--owner", owner, "--tz", "Europe/Copenhagen")

    first = joulebook("import", str(sample.path), "--device", device_id, "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report["rows"]["read"] == report["rows"]["imported"] == sample.rows
    valid, na = sample.total("valid"), sample.total("na")
    assert valid > sample.rows * 5
    assert report["cells"] == {
        "all": valid + na, "stored": valid, "replaced": 0, "duplicate": 0, "conflict": 0, "na": na,
        "malformed": 0,
    }  # fmt: skip
    # The header names UTC, and it goes before the zone of the device.
    assert (report["first_time"], report["last_time"]) == sample.first_and_last
    stored = stored_values(telemetry["reader"], device_id)
    for column in report["columns"]:
        figures = sample.columns[column["column"]]
        values = stored.get(column["metric"], np.empty(0))
        assert len(values) == column["stored"] == figures["valid"]
        assert column["na"] == figures["na"]
        assert math.fsum(values.tolist()) == figures["sum"]
        assert (values.min(initial=np.inf), values.max(initial=-np.inf)) == (
            (figures["min"], figures["max"]) if figures["valid"] else (np.inf, -np.inf)
        )
    assert set(stored) == {name for name, figures in sample.columns.items() if figures["valid"]}

    second = joulebook("import", str(sample.path), "--device", device_id, "--force")
    assert second.returncode == 0, second.stderr
    assert "Nothing was stored: every reading of this file was there already." in second.stdout
    assert f"0 stored + {valid:,} duplicate + 0 in conflict" in second.stdout
