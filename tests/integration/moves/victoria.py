"""Debian's VictoriaMetrics, started for a test on a port and in a folder of its own."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..foreign_server import ForeignServer

PROGRAM = shutil.which("victoria-metrics")


class VictoriaMetrics(ForeignServer):
    """A running VictoriaMetrics that keeps everything."""

    name = "VictoriaMetrics"

    def command(self, folder: Path) -> Sequence[str]:
        return [
            str(PROGRAM), f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y", "-memory.allowedBytes=128MiB",
        ]  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def load(self, lines: bytes) -> None:
        """Store JSON lines as it exports them, and let queries see them."""
        assert self._send("POST", "/api/v1/import", lines) == 204
        assert self._send("GET", "/internal/force_flush") == 200

    def _send(self, method: str, path: str, body: bytes = b"") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self._send("GET", "/health") == 200
        except OSError:
            return False
