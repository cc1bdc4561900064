"""Debian's InfluxDB, started for a test on ports and in a folder of its own."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ....conftest import free_port
from ...foreign_server import ForeignServer

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


class InfluxDB(ForeignServer):
    """A running InfluxDB with one database."""

    name = "InfluxDB"

    def __init__(self, folder: Path) -> None:
        """Start the server in `folder`, and create the database when it answers."""
        super().__init__(folder)
        self.query("CREATE DATABASE odd")

    @cached_property
    def http(self) -> http.client.HTTPConnection:
        """The connection for writes and queries."""
        return http.client.HTTPConnection("127.0.0.1", self.port)

    def command(self, folder: Path) -> Sequence[str]:
        settings = folder / "settings.conf"
        settings.write_text(_SETTINGS.format(folder=folder, port=self.port, rpc_port=free_port()))
        return [str(PROGRAM), "run", "-config", str(settings)]

    def stop(self) -> None:
        """End the connection and the server, and wait for it."""
        self.http.close()
        super().stop()

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

    def answers(self) -> bool:
        probe = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            probe.request("GET", "/ping")
            return probe.getresponse().status == 204
        except OSError:
            return False
        finally:
            probe.close()
