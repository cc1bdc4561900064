"""Debian's collectd, run for real: what it sends is stored with its time, and equals its own CSV files."""

from __future__ import annotations

import csv
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from ...conftest import Service
from .conftest import until

PROGRAM = shutil.which("collectd")

_SETTINGS = """
Hostname "{host}"
FQDNLookup false
Interval 1
BaseDir "{folder}"
PIDFile "{folder}/pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin logfile
<Plugin logfile>
  File "{folder}/log"
</Plugin>
LoadPlugin load
LoadPlugin memory
LoadPlugin cpu
LoadPlugin uptime
LoadPlugin csv
<Plugin csv>
  DataDir "{folder}/csv"
  StoreRates false
</Plugin>
LoadPlugin write_http
<Plugin write_http>
  <Node "joulebook">
    URL "{url}/api/readings"
    Header "Authorization: Bearer {token}"
    Format "JSON"
    StoreRates false
    BufferSize 4096
    LogHttpError true
  </Node>
</Plugin>
"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs Debian's collectd-core and libyajl2")


@pytest.fixture
def folder(tmp_path: Path, ingest: Service, device_token: str) -> Path:
    """The folder of a collectd that has run for some seconds and has ended in order."""
    settings = tmp_path / "collectd.conf"
    settings.write_text(
        _SETTINGS.format(folder=tmp_path, host="cellar.home", url=ingest.url, token=device_token)
    )
    process = subprocess.Popen([str(PROGRAM), "-f", "-C", str(settings)])
    try:

        def has_run() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            files = list(tmp_path.glob("csv/*/load/load-*"))
            return bool(files) and len(files[0].read_text().splitlines()) > 5

        until(has_run, what="collectd writes nothing", seconds=90)
        process.terminate()
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return tmp_path


def written(folder: Path) -> dict[tuple[str, int], float]:
    """Return what collectd wrote to its CSV files: {(metric, milliseconds since 1970): value}."""
    found = {}
    for file in folder.glob("csv/cellar.home/*/*"):
        kind = file.name.rsplit("-", 3)[0]
        with file.open() as lines:
            header, *rows = csv.reader(lines)
        for at, source in enumerate(header[1:], start=1):
            name = f"{file.parent.name}.{kind}{'' if source == 'value' else '.' + source}"
            for row in rows:
                if row[at] != "nan":
                    found[name + "{host=cellar.home}", round(float(row[0]) * 1_000)] = float(row[at])
    return found


def test_every_value_is_stored_at_collectd_s_time(folder, telemetry, device_id):
    expected = written(folder)
    assert len({metric for metric, _ in expected}) > 8
    with psycopg.connect(telemetry["reader"]) as conn:
        rows = conn.execute(
            "SELECT metric, (extract(epoch FROM time) * 1000)::float8, value, form "
            "FROM series JOIN readings ON series_id = series.id WHERE device_id = %s",
            [device_id],
        ).fetchall()
    stored = {(metric, round(time)): value for metric, time, value, _ in rows}
    assert {form for *_, form in rows} == {0}
    assert len(stored) == len(rows)
    log = (folder / "log").read_text()
    assert "HTTP Error" not in log, log[-2000:]
    # The files have six decimals, and the two forms may differ by a rounded millisecond.
    missing = [
        key
        for key, value in expected.items()
        if not any(stored.get((key[0], key[1] + off)) == pytest.approx(value, abs=1e-6) for off in (0, -1, 1))
    ]
    assert not missing, missing[:5]
    now = datetime.now(UTC).timestamp() * 1_000
    assert all(now - 600_000 < time <= now for _, time in stored)
