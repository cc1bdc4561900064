"""Debian's InfluxDB beside us, where it is installed: started with a configuration and folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.ports import free_port

DATABASE = "bench"

# As InfluxDB is configured by default, its fsync of every write included; only less talkative.
_CONFIGURATION = """
reporting-enabled = false
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{home}/meta"
  logging-enabled = false
[data]
  dir = "{home}/data"
  wal-dir = "{home}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[logging]
  level = "error"
  suppress-logo = true
"""


@dataclass(frozen=True)
class Influxd:
    """A running InfluxDB with a database."""

    home: Path
    port: int
    version: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def write_path(self) -> str:
        """What line protocol is posted to; times are in nanoseconds."""
        return f"/write?db={DATABASE}"

    def query(self, text: str) -> dict[str, object]:
        """Return what it answers to a statement. Raises RuntimeError."""
        answer = httpx.post(f"{self.url}/query", params={"db": DATABASE, "q": text}, timeout=120)
        if answer.status_code != 200 or b'"error"' in answer.content:
            raise RuntimeError(answer.text[:500])
        return dict(answer.json())


@contextmanager
def running_influxd(home: Path) -> Iterator[Influxd | None]:
    """Start InfluxDB in this folder, or give None where it is not installed; stop it afterwards."""
    program = shutil.which("influxd")
    if program is None:
        yield None
        return
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()[
        1
    ]
    port = free_port()
    configuration = home / "influxdb.conf"
    configuration.write_text(_CONFIGURATION.format(home=home, port=port, backup=free_port()))
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([program, "-config", str(configuration)], stdout=log, stderr=log)
    try:
        influxd = Influxd(home, port, version.removeprefix("v").partition("~")[0])
        _wait(influxd, process, home / "log")
        influxd.query(f"CREATE DATABASE {DATABASE}")
        yield influxd
    finally:
        process.terminate()
        process.wait(timeout=40)


def _wait(influxd: Influxd, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{influxd.url}/ping").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"influxd does not answer: {log.read_text(errors='replace')[-500:]}")
