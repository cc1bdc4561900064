"""Runs imports beside the worker's other tasks: a few at a time, of different users, each in time slices."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connections

from joulebook.config import Config
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.imports.progress import LeaseLost
from joulebook.web.corrections.models import Correction
from joulebook.web.imports import leases
from joulebook.web.imports.models import Import
from joulebook.web.leases import MOST_ATTEMPTS, lease_holders
from joulebook.worker.heartbeat import Heartbeat
from joulebook.worker.import_runner import INTERNAL_ERROR, UNDO_INTERNAL_ERROR, Ending, ImportRunner
from joulebook.worker.lock import WorkerLock
from joulebook.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)

State = Import.State

MOST_OPEN = 4
"""Imports open at a time in one worker; each takes a read-ahead thread and some tens of megabytes."""

SLICE_SECONDS = 2.0
"""Time spent on one import while others of this worker wait for their turn."""

TURN_SECONDS = 30.0
"""An open import gives up its slot after this time if all slots are taken and another user waits."""

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 2.0


@dataclass
class _OpenImport:
    """An import claimed by this worker and in work."""

    import_: Import
    runner: ImportRunner
    steps: Generator[bool, None, Ending]
    since: float | None = None
    """When it first progressed after the claim; before, it may have to read again a long part of its file."""


class ImportScheduler:
    """Claims imports and runs them until stopped; several schedulers may run side by side."""

    def __init__(
        self,
        config: Config,
        url: str,
        *,
        most_open: int = MOST_OPEN,
        slice_seconds: float = SLICE_SECONDS,
        turn_seconds: float = TURN_SECONDS,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        """Prepare to connect to `url` as the writer. Django is set up by the caller."""
        self._url = url
        self._most_metrics = config.device_metrics
        self._most_open = most_open
        self._slice_seconds = slice_seconds
        self._turn_seconds = turn_seconds
        self._lock = WorkerLock(config.home)
        self._open: list[_OpenImport] = []
        self._conn: Connection | None = None
        self._is_unavailable = False
        self._are_accounts_unavailable = False
        self._metrics = metrics
        if metrics is not None:
            metrics.open_imports.set_function(lambda: len(self._open))

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set, then release all open imports: another worker takes them at once."""
        with self._lock, Heartbeat() as heartbeat:
            try:
                try:
                    # A lease in the name of a dead worker may still be taken over, so its lock stays.
                    self._lock.remove_dead(except_names=lease_holders(Import, Correction))
                except DatabaseError as exc:
                    log.warning("locks of dead workers stay, the accounts database does not answer: %s", exc)
                while not stopping.is_set():
                    rest = self._take_turn(stopping, heartbeat)
                    heartbeat.hold(each.import_ for each in self._open)
                    stopping.wait(rest)
            finally:
                self._release_all()
                self._disconnect()
                connections.close_all()

    def _take_turn(self, stopping: threading.Event, heartbeat: Heartbeat) -> float:
        """Claim imports for free slots, work a slice on each, and return the seconds to rest."""
        try:
            close_old_connections()
            self._claim()
            heartbeat.hold(each.import_ for each in self._open)
            for each in tuple(self._open):
                if not stopping.is_set():
                    self._work_slice(each, stopping)
        except DatabaseUnavailable as exc:
            if not self._is_unavailable:
                log.warning("imports wait while the readings' database is unavailable: %s", exc)
            self._is_unavailable = True
            self._release_all()
            self._disconnect()
            return _RETRY_SECONDS
        except (OperationalError, InterfaceError) as exc:
            if not self._are_accounts_unavailable:
                log.warning("imports wait, the accounts database does not answer: %s", exc)
            self._are_accounts_unavailable = True
            return _RETRY_SECONDS
        except Exception:
            log.exception("imports were ended by an error, and are tried again")
            self._release_all(is_failure=True)
            self._disconnect()
            return _RETRY_SECONDS
        self._are_accounts_unavailable = False
        if self._open:
            return 0.0
        self._disconnect()
        return _POLL_SECONDS

    def _claim(self) -> None:
        """Claim imports while slots are free; free one if another user has waited long enough."""
        while True:
            users = {each.import_.user_id for each in self._open}
            if not leases.is_anything_waiting(skipped_users=users, is_dead=self._lock.is_dead):
                return
            if len(self._open) >= self._most_open and not self._free_slot():
                return
            # Connect first: a claimed import can then begin at once.
            if self._conn is None:
                self._conn = connect(self._url)
                if self._is_unavailable:
                    log.info("the readings' database is back, importing again")
                self._is_unavailable = False
            import_ = leases.claim_next(self._lock.name, skipped_users=users, is_dead=self._lock.is_dead)
            if import_ is None:
                return
            runner = ImportRunner(self._conn, import_, most_metrics=self._most_metrics)
            opened = _OpenImport(import_, runner, runner.run())
            self._open.append(opened)
            if import_.attempts > MOST_ATTEMPTS:
                log.error("import %d: begun %d times without progress", import_.pk, MOST_ATTEMPTS)
                # Only once: if recording the report is the fault, the import ends without a report.
                if import_.state == State.RUNNING and import_.attempts == MOST_ATTEMPTS + 1:
                    runner.reload_report()
                self._end(opened, _too_many_attempts(import_))

    def _free_slot(self) -> bool:
        """Release the import open for the longest time, if any has had its turn; return whether one was."""
        now = time.monotonic()
        # Counting from the first progress, each turn brings an import nearer to its end.
        had_turn = {
            each.since: each
            for each in self._open
            if each.since is not None and now - each.since >= self._turn_seconds
        }
        if not had_turn:
            return False
        self._release(had_turn[min(had_turn)])
        return True

    def _work_slice(self, opened: _OpenImport, stopping: threading.Event) -> None:
        """Work on an import for one slice, or until it ends, is stopped, or is another worker's."""
        if opened.runner.ending is not None:
            self._end(opened, opened.runner.ending)
            return
        until = time.monotonic() + self._slice_seconds
        while not stopping.is_set() and self._step(opened) and time.monotonic() < until:
            pass

    def _step(self, opened: _OpenImport) -> bool:
        """Run one step; return whether another may follow."""
        try:
            has_progressed = next(opened.steps)
        except StopIteration as exc:
            self._end(opened, exc.value)
            return False
        except LeaseLost as exc:
            log.warning("import %d: %s", opened.import_.pk, exc)
            self._close(opened)
            return False
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("import %d: attempt %d failed", opened.import_.pk, opened.import_.attempts)
            if opened.import_.attempts >= MOST_ATTEMPTS:
                self._end(opened, _too_many_attempts(opened.import_))
            else:
                self._release(opened, is_failure=True)
            return False
        if has_progressed and opened.since is None:
            opened.since = time.monotonic()
        return True

    def _end(self, opened: _OpenImport, ending: Ending) -> None:
        opened.runner.end(ending)
        if self._metrics is not None:
            self._metrics.ended_imports.labels(ending.state.value).inc()
        self._close(opened)

    def _release(self, opened: _OpenImport, *, is_failure: bool = False) -> None:
        self._close(opened)
        # After a failure without the report, because the report may be the cause.
        report = None if is_failure else opened.runner.report
        leases.release(opened.import_, is_failure=is_failure, report=report)

    def _release_all(self, *, is_failure: bool = False) -> None:
        for each in tuple(self._open):
            try:
                self._release(each, is_failure=is_failure)
            except Exception as exc:  # noqa: BLE001 - the other imports are released all the same
                log.warning("import %d stays claimed until its lease expires: %r", each.import_.pk, exc)

    def _close(self, opened: _OpenImport) -> None:
        self._open.remove(opened)
        opened.steps.close()

    def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


def _too_many_attempts(import_: Import) -> Ending:
    is_undoing = import_.state == State.UNDOING
    return Ending(State.FAILED, UNDO_INTERNAL_ERROR if is_undoing else INTERNAL_ERROR)
