"""Debian's VictoriaMetrics, started for a test on a port and in a folder of its own."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
from pathlib import Path

from ...conftest import free_port

PROGRAM = shutil.which("victoria-metrics")


class VictoriaMetrics:
    """A running VictoriaMetrics that keeps everything."""

    def __init__(self, folder: Path) -> None:
        """Start the server in `folder` and return when it answers."""
        self.port = free_port()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(PROGRAM), f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{self.port}",
                    "-retentionPeriod=100y", "-memory.allowedBytes=128MiB",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"VictoriaMetrics does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def load(self, lines: bytes) -> None:
        """Store JSON lines as it exports them, and let queries see them."""
        assert self._send("POST", "/api/v1/import", lines) == 204
        assert self._send("GET", "/internal/force_flush") == 200

    def stop(self) -> None:
        """End the server, and wait for it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _send(self, method: str, path: str, body: bytes = b"") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return self._send("GET", "/health") == 200
        except OSError:
            return False
