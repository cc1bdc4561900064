"""Three years of a solar station, straight from the gzip file: every column equals the truth, twice."""

from __future__ import annotations

import json
import math
import subprocess
import uuid
from collections.abc import Callable
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


def test_the_whole_station_is_stored_as_it_is_and_a_second_run_stores_nothing(
    joulebook: Callable[..., subprocess.CompletedProcess[str]], telemetry: dict[str, str]
) -> None:
    truth: dict[str, Any] = json.loads(Path(str(STATION).removesuffix(".gz") + ".truth.json").read_text())
    owner, device_id = f"owner_{uuid.uuid4().hex[:12]}", f"station_{uuid.uuid4().hex[:12]}"
    joulebook("user", "add", owner, "--password-stdin", stdin="a long enough pass phrase")
    joulebook("device", "add", device_id, "--owner", owner, "--tz", "Europe/Copenhagen")

    first = joulebook("import", str(STATION), "--device", device_id, "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report["rows"]["read"] == report["rows"]["imported"] == truth["data_rows"]
    assert report["cells"] == {
        "all": truth["totals"]["cells"], "stored": truth["totals"]["valid"], "replaced": 0, "duplicate": 0,
        "conflict": 0, "na": truth["totals"]["na"], "malformed": truth["totals"]["malformed"],
    }  # fmt: skip
    # The header names UTC, and it goes before the zone of the device.
    assert (report["first_time"], report["last_time"]) == ("2015-01-01T00:00:00Z", "2017-12-31T23:59:00Z")
    stored = stored_values(telemetry["reader"], device_id)
    for column in report["columns"]:
        figures = truth["values"][column["column"]]
        values = stored.get(column["metric"], np.empty(0))
        assert len(values) == column["stored"] == figures["valid"]
        assert column["na"] == figures["na"]
        assert math.fsum(values.tolist()) == figures["sum"]
        assert (values.min(initial=np.inf), values.max(initial=-np.inf)) == (
            (figures["min"], figures["max"]) if figures["valid"] else (np.inf, -np.inf)
        )
    assert set(stored) == {name for name, figures in truth["values"].items() if figures["valid"]}

    second = joulebook("import", str(STATION), "--device", device_id, "--force")
    assert second.returncode == 0, second.stderr
    assert "Nothing was stored: every reading of this file was there already." in second.stdout
    assert f"0 stored + {truth['totals']['valid']:,} duplicate + 0 in conflict" in second.stdout
