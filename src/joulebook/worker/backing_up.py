"""Makes the daily backups, in a process of their own: neither imports nor rollups wait for one."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

from joulebook.backup.kept import next_due
from joulebook.config import Config

log = logging.getLogger(__name__)

RETRY = timedelta(hours=1)
"""How long after a backup failed the next one is tried, where one is not due earlier."""

_LOOK_SECONDS = 60.0
_POLL_SECONDS = 0.5
_END_SECONDS = 5.0


class BackupKeeper:
    """Runs `joulebook backup` when one is due; harmless beside others of its kind, of which one succeeds."""

    def __init__(self, config: Config, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._config = config
        self._look_seconds = look_seconds

    def run(self, stopping: threading.Event) -> None:
        """Make backups until `stopping` is set; one that is being made then is ended, and made later."""
        folder = self._config.backup_folder
        if folder is None:
            return
        retry_at = time.monotonic()
        while not stopping.is_set():
            try:
                due = next_due(self._config, folder)
                is_due = due is None or due <= datetime.now(UTC)
                if is_due and time.monotonic() >= retry_at and not self._make(stopping, due):
                    retry = min(RETRY, self._config.backup_every)
                    retry_at = time.monotonic() + retry.total_seconds()
            except OSError as exc:
                log.error("BACKUP FAILED: %s cannot be read: %s", folder, exc)  # noqa: TRY400 - told in full
            stopping.wait(self._look_seconds)

    def _make(self, stopping: threading.Event, due: datetime | None) -> bool:
        """Make one; return whether it was made. A failure is told as an error, with the age of the last."""
        process = subprocess.Popen(
            [sys.executable, "-m", "joulebook", "backup"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.extend(process.communicate()), daemon=True)
        reader.start()
        while process.poll() is None and not stopping.wait(_POLL_SECONDS):
            pass
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return False
        reader.join(_END_SECONDS)
        output, errors = (_one_line(text) for text in (*told, "", "")[:2])
        if process.returncode == 0:
            log.info("backup made: %s", output)
            return True
        newest = (
            f"the newest is of {due - self._config.backup_every:%Y-%m-%d %H:%MZ}" if due else "there is none"
        )
        log.error("BACKUP FAILED (%s): %s", newest, errors or f"exit code {process.returncode}")
        return False


def _one_line(text: str) -> str:
    return ", ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
