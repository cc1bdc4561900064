"""Runs corrections and their undos beside the worker's other tasks, one after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.db import DatabaseError, close_old_connections, connections

from joulebook.config import Config
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.corrections.run import (
    CorrectionLost,
    CorrectionNumberTaken,
    CorrectionRun,
    CorrectionUndo,
)
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.series import find_series
from joulebook.web.corrections.leases import claim_next, finish
from joulebook.web.corrections.models import Correction
from joulebook.web.leases import MOST_ATTEMPTS, release, renew
from joulebook.worker.lock import WorkerLock

log = logging.getLogger(__name__)

State = Correction.State

INTERNAL_ERROR = "ended by an error in Joulebook itself, see the worker's log; undo what it has changed"
UNDO_INTERNAL_ERROR = "undoing ended by an error in Joulebook itself, see the worker's log; undo it again"

_POLL_SECONDS = 1.0
_RETRY_SECONDS = 2.0


class CorrectionRunner:
    """Claims corrections and runs them until stopped; several runners may do so side by side."""

    def __init__(self, config: Config, url: str) -> None:
        """Prepare to connect to `url` as the writer. Django is set up by the caller."""
        self._url = url
        self._lock = WorkerLock(config.home)
        self._is_unavailable = False

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set; an open correction is then released, and another worker continues."""
        try:
            with self._lock:
                while not stopping.is_set():
                    stopping.wait(self._turn(stopping))
        finally:
            connections.close_all()

    def _turn(self, stopping: threading.Event) -> float:
        """Run the next correction, if there is one; return the seconds to rest."""
        try:
            close_old_connections()
            claimed = claim_next(self._lock.name, is_dead=self._lock.is_dead)
            if claimed is None:
                return _POLL_SECONDS
            try:
                with connect(self._url) as conn:
                    self._is_unavailable = False
                    run_claimed(conn, claimed, is_stopped=stopping.is_set)
            except DatabaseUnavailable as exc:
                if not self._is_unavailable:
                    log.warning("corrections wait while the readings' database is unavailable: %s", exc)
                self._is_unavailable = True
                release(claimed)
                return _RETRY_SECONDS
        except DatabaseError as exc:
            log.warning("corrections wait, the accounts database does not answer: %s", exc)
            return _RETRY_SECONDS
        except Exception:
            log.exception("corrections were ended by an error, and are tried again")
            return _RETRY_SECONDS
        return 0.0


def run_claimed(
    conn: Connection, correction: Correction, *, is_stopped: Callable[[], bool] = lambda: False
) -> None:
    """Run a claimed correction or undo to its end, or release it when stopped.

    Raises `DatabaseUnavailable`, and the exceptions of `is_stopped`; the caller then releases it.
    """
    is_undo = correction.state == State.UNDOING
    if correction.attempts > MOST_ATTEMPTS:
        finish(correction, State.FAILED, problem=UNDO_INTERNAL_ERROR if is_undo else INTERNAL_ERROR)
        return
    try:
        _run_steps(conn, correction, is_stopped)
    except CorrectionLost as exc:
        log.warning("correction %d: %s", correction.pk, exc)
    except CorrectionNumberTaken as exc:
        finish(correction, State.FAILED, problem=str(exc))
    except DatabaseUnavailable:
        raise
    except Exception:
        log.exception("correction %d: attempt %d failed", correction.pk, correction.attempts)
        release(correction)


def _run_steps(conn: Connection, correction: Correction, is_stopped: Callable[[], bool]) -> None:
    device = correction.device.device_id
    found = find_series(conn, [(device, metric) for metric in correction.metrics])
    edit = correction.edit({metric: number for (_, metric), number in found.items()})
    run = (CorrectionUndo if correction.state == State.UNDOING else CorrectionRun)(
        conn, number=correction.pk, lease=correction.lease, identity=correction.identity, edit=edit
    )
    while run.step():
        if not renew([correction], report=run.report, attempts=0):
            log.warning("correction %d: taken over by another worker", correction.pk)
            return
        if is_stopped():
            release(correction)
            return
    ending = State.UNDONE if correction.state == State.UNDOING else State.DONE
    finish(correction, ending, report=run.report)
