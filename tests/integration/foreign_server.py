"""A database of another maker, started for a test on a port and in a folder of its own."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ..conftest import free_port


class ForeignServer(ABC):
    """A running server; its log is in its folder."""

    name: str

    def __init__(self, folder: Path) -> None:
        """Start the server in `folder` and return when it answers."""
        self.port = free_port()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self.command(folder), stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{self.name} does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    @abstractmethod
    def command(self, folder: Path) -> Sequence[str]:
        """Return the command that listens on `port` and keeps its data in `folder`."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether it is ready."""

    def stop(self) -> None:
        """End the server, and wait for it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
