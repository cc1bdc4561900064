"""What the worker does, and how often."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from joulebook.backup.folder import next_due
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.retention import QUERIES_END, Retention, RetentionTimes
from joulebook.telemetry.rollups.roller import Roller
from joulebook.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=15)
"""How long a minute stays open after its end: readings that come later than that cost a mark."""

TURN_SECONDS = 5.0
"""How long a turn rolls up before it lets the worker's other tasks have theirs."""


class RollupKeeper:
    """Closes minutes as they pass and rolls up what is marked; harmless beside others of its kind."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to `url` as the writer."""
        self._url = url
        self._conn: Connection | None = None
        self._roller: Roller | None = None
        self._is_unavailable = False

    def turn(self) -> bool:
        """Close what has passed and roll up for a while; return False if the database is unavailable.

        That is told to the log once.
        """
        try:
            self._roll(until=time.monotonic() + TURN_SECONDS)
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
        """Let go of the connection; the next turn opens another."""
        conn, self._conn, self._roller = self._conn, None, None
        if conn is not None:
            conn.close()

    def _roll(self, until: float) -> None:
        if self._conn is None or self._roller is None:
            self._conn = connect(self._url)
            self._roller = Roller(self._conn)
        self._roller.close(datetime.now(UTC) - GRACE)
        while self._roller.roll() and time.monotonic() < until:
            pass


EVERY = timedelta(hours=1)
"""How long after something was found to be too old it is dropped, at the soonest."""


class RetentionKeeper:
    """Drops what is older than it is to be kept; harmless beside others of its kind."""

    def __init__(self, url: str, keep: RetentionTimes, *, patience: timedelta = QUERIES_END) -> None:
        """Prepare to connect to `url` as the writer."""
        self._url = url
        self._keep = keep
        self._patience = patience

    def turn(self) -> bool:
        """Drop what was found to be too old some time ago, and find what is too old now.

        Return False if the database is unavailable.
        """
        try:
            with connect(self._url) as conn:
                retention = Retention(conn, self._keep)
                for gone in retention.drop(patience=self._patience):
                    log.info("%s: dropped %d chunk(s) before %s", gone.table, gone.chunks, _day(gone.before))
                for table, instant in retention.move(datetime.now(UTC)).items():
                    log.info("%s: what is older than %s is no longer kept", table, _day(instant))
        except DatabaseUnavailable as exc:
            log.warning("nothing is dropped while the readings' database is unavailable: %s", exc)
            return False
        return True


def _day(instant: int) -> str:
    return f"{from_microseconds(instant):%Y-%m-%dT%H:%MZ}"


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


@dataclass(frozen=True)
class Task:
    """One piece of work that comes round; `run` returns False where it could not be done."""

    name: str
    interval: timedelta
    run: Callable[[], bool | None]


def remove_expired_sessions() -> None:
    """Remove sessions that nobody can use any more from the accounts database."""
    from django.core.management import call_command

    call_command("clearsessions")


def forget_old_sign_in_failures() -> None:
    """Remove counts of wrong passwords that no longer count."""
    from joulebook.web.accounts.throttle import remove_forgotten

    remove_forgotten()


def forget_unwanted_uploads() -> None:
    """Remove drafts that nobody has queued for long, and files that no import needs."""
    from joulebook.web.imports.uploads.orphans import remove_old_drafts, remove_unneeded_uploads

    remove_old_drafts()
    remove_unneeded_uploads()


def tasks(config: Config) -> tuple[Task, ...]:
    """Return everything that the worker does. Django is set up by the caller."""
    return (
        Task("roll readings up", timedelta(seconds=2), RollupKeeper(telemetry_url(config, "writer")).turn),
        Task(
            "drop what is too old", EVERY, RetentionKeeper(telemetry_url(config, "writer"), config.keep).turn
        ),
        Task("remove expired sessions", timedelta(hours=6), remove_expired_sessions),
        Task("forget old sign-in failures", timedelta(hours=1), forget_old_sign_in_failures),
        Task("forget unwanted uploads", timedelta(hours=1), forget_unwanted_uploads),
    )


def beside(
    config: Config, metrics: WorkerMetrics | None = None
) -> tuple[Callable[[threading.Event], None], ...]:
    """Return what the worker does all the time, in threads of its own. Django is set up by the caller."""
    from joulebook.worker.importing import ImportKeeper

    importing = ImportKeeper(config, telemetry_url(config, "writer"), metrics=metrics)
    return (importing.run, BackupKeeper(config).run)
