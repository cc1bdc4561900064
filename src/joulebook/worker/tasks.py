"""The worker's tasks and their intervals: roll-ups, retention, backups, and clean-up.

Django's models are imported inside the tasks using them, after the caller has set Django up.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from joulebook.backup.folder import next_due
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.retention import QUERIES_END, Retention, RetentionTimes
from joulebook.telemetry.rollups.roller import Roller
from joulebook.worker.loop import Task
from joulebook.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=15)
"""A minute is closed this long after its end; later readings mark it for another roll-up."""

TURN_SECONDS = 5.0
"""Longest time for rolling up in one turn, so that the worker's other tasks get theirs."""


class RollupTask:
    """Closes past minutes and rolls up marked buckets; several workers may do so side by side."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to `url` as the writer."""
        self._url = url
        self._conn: Connection | None = None
        self._roller: Roller | None = None
        self._is_unavailable = False

    def turn(self) -> bool:
        """Close past minutes and roll up for a while; return False if the database is unavailable.

        The log gets one warning for that.
        """
        try:
            until = time.monotonic() + TURN_SECONDS
            if self._conn is None or self._roller is None:
                self._conn = connect(self._url)
                self._roller = Roller(self._conn)
            self._roller.close(datetime.now(UTC) - GRACE)
            while self._roller.roll() and time.monotonic() < until:
                pass
        except DatabaseUnavailable as exc:
            self.close()
            if not self._is_unavailable:
                log.warning("readings are not rolled up while their database is unavailable: %s", exc)
            self._is_unavailable = True
            return False
        else:
            if self._is_unavailable:
                log.info("the readings' database is back, rolling up again")
            self._is_unavailable = False
            return True

    def close(self) -> None:
        """Close the connection; the next turn opens another."""
        conn, self._conn, self._roller = self._conn, None, None
        if conn is not None:
            conn.close()


RETENTION_INTERVAL = timedelta(hours=1)
"""The interval of retention: readings found too old are dropped by a later run."""


class RetentionTask:
    """Drops readings past retention; several workers may do so side by side."""

    def __init__(self, url: str, keep: RetentionTimes, *, patience: timedelta = QUERIES_END) -> None:
        """Prepare to connect to `url` as the writer."""
        self._url = url
        self._keep = keep
        self._patience = patience

    def turn(self) -> bool:
        """Drop chunks found too old some time ago, and find those too old now.

        Returns False if the database is unavailable.
        """
        try:
            with connect(self._url) as conn:
                retention = Retention(conn, self._keep)
                for dropped in retention.drop(patience=self._patience):
                    log.info(
                        "%s: dropped %d chunk(s) before %s",
                        dropped.table,
                        dropped.chunks,
                        _day(dropped.before),
                    )
                for table, instant in retention.move(datetime.now(UTC)).items():
                    log.info("%s: readings before %s are past retention", table, _day(instant))
        except DatabaseUnavailable as exc:
            log.warning("nothing is dropped while the readings' database is unavailable: %s", exc)
            return False
        return True


def _day(instant: int) -> str:
    return f"{from_microseconds(instant):%Y-%m-%dT%H:%MZ}"


RETRY = timedelta(hours=1)
"""Time from a failed backup to the next attempt, unless a backup is due earlier."""

_CHECK_SECONDS = 60.0
_POLL_SECONDS = 0.5
_END_SECONDS = 5.0


class BackupTask:
    """Runs `joulebook backup` when one is due; of several workers, one succeeds."""

    def __init__(self, config: Config, *, check_seconds: float = _CHECK_SECONDS) -> None:
        self._config = config
        self._check_seconds = check_seconds

    def run(self, stopping: threading.Event) -> None:
        """Make backups until `stopping` is set; a backup running then is ended, and made again later."""
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
                log.error("BACKUP FAILED: %s cannot be read: %s", folder, exc)  # noqa: TRY400 - the message says it all
            stopping.wait(self._check_seconds)

    def _make(self, stopping: threading.Event, due: datetime | None) -> bool:
        """Make a backup; return whether it was made.

        A failure is logged with the time of the newest backup: one interval before `due`, None if there is
        none.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "joulebook", "backup"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        outputs: list[str] = []
        reader = threading.Thread(target=lambda: outputs.extend(process.communicate()), daemon=True)
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
        output, errors = (
            ", ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
            for text in (*outputs, "", "")[:2]
        )
        if process.returncode == 0:
            log.info("backup made: %s", output)
            return True
        newest = (
            f"the newest is of {due - self._config.backup_every:%Y-%m-%d %H:%MZ}" if due else "there is none"
        )
        log.error("BACKUP FAILED (%s): %s", newest, errors or f"exit code {process.returncode}")
        return False


def remove_expired_sessions() -> None:
    """Remove expired sessions from the accounts database."""
    from django.core.management import call_command

    call_command("clearsessions")


def remove_old_sign_in_failures() -> None:
    """Remove expired counts of wrong passwords."""
    from joulebook.web.accounts.throttle import remove_forgotten

    remove_forgotten()


def remove_unwanted_uploads() -> None:
    """Remove old drafts with their files, and uploaded files without an import."""
    from joulebook.web.imports.operations import remove_old_drafts, remove_orphaned_uploads

    remove_old_drafts()
    remove_orphaned_uploads()


def periodic_tasks(config: Config) -> tuple[Task, ...]:
    """Return the periodic tasks; their names are labels of metrics. Django is set up by the caller."""
    url = telemetry_url(config, "writer")
    return (
        Task("roll readings up", timedelta(seconds=2), RollupTask(url).turn),
        Task("drop what is too old", RETENTION_INTERVAL, RetentionTask(url, config.keep).turn),
        Task("remove expired sessions", timedelta(hours=6), remove_expired_sessions),
        Task("forget old sign-in failures", timedelta(hours=1), remove_old_sign_in_failures),
        Task("forget unwanted uploads", timedelta(hours=1), remove_unwanted_uploads),
    )


def continuous_tasks(
    config: Config, metrics: WorkerMetrics | None = None
) -> tuple[Callable[[threading.Event], None], ...]:
    """Return the work for threads of their own: imports, corrections, and backups.

    Django is set up by the caller.
    """
    from joulebook.worker.correction_runner import CorrectionRunner
    from joulebook.worker.import_scheduler import ImportScheduler

    url = telemetry_url(config, "writer")
    imports = ImportScheduler(config, url, metrics=metrics)
    return (imports.run, CorrectionRunner(config, url).run, BackupTask(config).run)
