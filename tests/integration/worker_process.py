"""Workers for tests: `joulebook worker` as a process, and its keeper of imports in a thread."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .telemetry_database import addresses


@contextmanager
def keeping(url: str, **settings: Any) -> Iterator[None]:
    """Keep imports in a thread of this process, as a worker does, until the block ends."""
    from joulebook.config import Config
    from joulebook.worker.import_scheduler import ImportScheduler

    stopping = threading.Event()
    keeper = ImportScheduler(Config.from_environ(), url, **settings)
    thread = threading.Thread(target=keeper.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(60)
    assert not thread.is_alive()


class Worker:
    """A `joulebook worker` process."""

    def __init__(self, urls: dict[str, str], log: Path) -> None:
        self.log = log
        self._environment = {**os.environ, **addresses(urls)}
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "joulebook", "worker"],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> float:
        """Ask it to end; return how many seconds that took."""
        begin = time.monotonic()
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, self.log.read_text()[-3000:]
        return time.monotonic() - begin

    def peak_mb(self) -> int:
        """Return the most memory that it has had, in megabytes."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) // 1024
