"""Debian's InfluxDB, started for a test on ports and in a folder of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ....conftest import free_port

PROGRAM = shutil.which("influxd")

_SETTINGS = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[ifql]
  enabled = false
"""


class InfluxDB:
    """A running InfluxDB with one database."""

    def __init__(self, folder: Path) -> None:
        """Start the server in `folder` and return when it answers."""
        self.port = free_port()
        self.log = folder / "log"
        self.http = http.client.HTTPConnection("127.0.0.1", self.port)
        settings = folder / "settings.conf"
        settings.write_text(_SETTINGS.format(folder=folder, port=self.port, rpc_port=free_port()))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "run", "-config", str(settings)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"InfluxDB does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)
        self.query("CREATE DATABASE odd")

    def stop(self) -> None:
        """End the server, and wait for it."""
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def write(self, body: bytes, *, precision: str) -> int:
        """Write line protocol and return the status of the answer.

        Its errors quote a line in a header as it was sent, which stricter clients refuse to read.
        """
        self.http.request("POST", f"/write?db=odd&precision={precision}", body=body)
        answer = self.http.getresponse()
        answer.read()
        return answer.status

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the series that a query finds, with times in nanoseconds."""
        self.http.request("POST", f"/query?db=odd&epoch=ns&q={quote(query)}")
        results = json.loads(self.http.getresponse().read())["results"]
        assert not any("error" in result for result in results), results
        return [series for result in results for series in result.get("series", [])]

    def _answers(self) -> bool:
        probe = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            probe.request("GET", "/ping")
            return probe.getresponse().status == 204
        except OSError:
            return False
        finally:
            probe.close()
