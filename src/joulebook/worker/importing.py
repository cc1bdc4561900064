"""Runs imports beside the worker's other tasks: a few at a time, of different users, a slice each in turn."""

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
from joulebook.web.imports import leases
from joulebook.web.imports.leases import MOST_ATTEMPTS, Standing
from joulebook.web.imports.models import Import
from joulebook.worker.heart import Heart
from joulebook.worker.import_work import (
    ENDED_BY_AN_ERROR,
    NOT_THEIRS,
    UNDOING_ENDED_BY_AN_ERROR,
    Ending,
    Work,
)
from joulebook.worker.metrics import WorkerMetrics
from joulebook.worker.presence import Presence

log = logging.getLogger(__name__)

State = Import.State

MOST_OPEN = 4
"""Imports that one worker keeps open; each takes a thread that reads ahead, and some tens of megabytes."""

SLICE_SECONDS = 2.0
"""How long one import is worked on while others of this worker's wait for their turn."""

TURN_SECONDS = 30.0
"""After this an open import makes room where all places are taken and somebody else waits for one."""

_POLL_SECONDS = 1.0
_AWAY_SECONDS = 2.0


@dataclass
class _Open:
    """An import that this worker has claimed and is at work on."""

    import_: Import
    work: Work
    steps: Generator[bool, None, Ending]
    since: float | None = None
    """When it first got on after it was claimed; until then it may have read much again to get there."""
    ending: Ending | None = None
    """How it ended, where that is still to be recorded."""


class ImportKeeper:
    """Claims imports and does them until it is stopped; harmless beside others of its kind."""

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
        self._presence = Presence(config.home)
        self._open: list[_Open] = []
        self._conn: Connection | None = None
        self._is_unavailable = False
        self._are_accounts_unavailable = False
        self._metrics = metrics
        if metrics is not None:
            metrics.open_imports.set_function(lambda: len(self._open))

    def run(self, stopping: threading.Event) -> None:
        """Work until `stopping` is set; then give back what is open: another worker takes it at once."""
        with self._presence, Heart() as heart:
            try:
                self._forget_the_dead()
                while not stopping.is_set():
                    rest = self._turn(stopping, heart)
                    heart.hold(each.import_ for each in self._open)
                    stopping.wait(rest)
            finally:
                self._give_back_all()
                self._disconnect()
                connections.close_all()

    def _turn(self, stopping: threading.Event, heart: Heart) -> float:
        """Claim what there is room for, work a slice on each, and return how many seconds to rest."""
        try:
            close_old_connections()
            self._claim()
            heart.hold(each.import_ for each in self._open)
            for each in tuple(self._open):
                if not stopping.is_set():
                    self._slice(each, stopping)
        except DatabaseUnavailable as exc:
            self._warn_unavailable(exc)
            self._give_back_all()
            self._disconnect()
            return _AWAY_SECONDS
        except (OperationalError, InterfaceError) as exc:
            if not self._are_accounts_unavailable:
                log.warning("imports wait, the accounts database does not answer: %s", exc)
            self._are_accounts_unavailable = True
            return _AWAY_SECONDS
        except Exception:
            log.exception("imports were ended by an error, and are tried again")
            self._give_back_all(is_failure=True)
            self._disconnect()
            return _AWAY_SECONDS
        self._are_accounts_unavailable = False
        if self._open:
            return 0.0
        self._disconnect()
        return _POLL_SECONDS

    def _claim(self) -> None:
        """Claim imports as long as there is room; make room where somebody has waited long enough."""
        while True:
            users = {each.import_.user_id for each in self._open}
            if not self._is_anything_waiting(users):
                return
            if len(self._open) >= self._most_open and not self._make_room():
                return
            # Nothing is claimed that could not be begun at once.
            conn = self._connected()
            import_ = leases.claim_next(
                self._presence.name, passing_over=users, is_gone=self._presence.is_gone
            )
            if import_ is None:
                return
            self._begin(conn, import_)

    def _is_anything_waiting(self, users: set[int | None]) -> bool:
        return leases.is_anything_waiting(passing_over=users, is_gone=self._presence.is_gone)

    def _make_room(self) -> bool:
        """Give back the import that was open longest, if one has had its turn."""
        now = time.monotonic()
        # Each turn brings an import nearer to its end, however long it took to come to where it was.
        had_turn = {
            each.since: each
            for each in self._open
            if each.since is not None and now - each.since >= self._turn_seconds
        }
        if not had_turn:
            return False
        self._give_back(had_turn[min(had_turn)])
        return True

    def _begin(self, conn: Connection, import_: Import) -> None:
        work = Work(conn, import_, most_metrics=self._most_metrics)
        opened = _Open(import_, work, work.steps())
        self._open.append(opened)
        if import_.attempts <= MOST_ATTEMPTS:
            return
        log.error("import %d: begun %d times without getting on", import_.pk, MOST_ATTEMPTS)
        # Only once: if it is the account that cannot be recorded, the import ends without.
        if import_.state == State.RUNNING and import_.attempts == MOST_ATTEMPTS + 1:
            work.count_again()
        self._end(opened, _given_up(import_))

    def _slice(self, opened: _Open, stopping: threading.Event) -> None:
        """Work on an import for a while, or until it ends, is cancelled, or is somebody else's."""
        if opened.ending is not None:
            self._end(opened, opened.ending)
            return
        until = time.monotonic() + self._slice_seconds
        while not stopping.is_set():
            standing = leases.standing(opened.import_)
            if standing is Standing.LOST:
                self._let_go(opened)
                log.warning("import %d: taken over by another worker", opened.import_.pk)
                return
            if standing is Standing.CANCELLING:
                self._stop(opened, Ending(State.CANCELLED))
                return
            if standing is Standing.FORBIDDEN:
                self._stop(opened, Ending(State.FAILED, NOT_THEIRS))
                return
            if not self._step(opened) or time.monotonic() >= until:
                return

    def _step(self, opened: _Open) -> bool:
        """Do one step; say whether there may be another."""
        try:
            has_got_on = next(opened.steps)
        except StopIteration as exc:
            self._end(opened, exc.value)
            return False
        except LeaseLost as exc:
            log.warning("import %d: %s", opened.import_.pk, exc)
            self._let_go(opened)
            return False
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("import %d: attempt %d failed", opened.import_.pk, opened.import_.attempts)
            self._failed(opened)
            return False
        if has_got_on:
            if opened.since is None:
                opened.since = time.monotonic()
            leases.got_on(opened.import_)
        return True

    def _failed(self, opened: _Open) -> None:
        """Have an import tried again in a while, or give it up where that was the last attempt."""
        if opened.import_.attempts >= MOST_ATTEMPTS:
            self._end(opened, _given_up(opened.import_))
            return
        self._give_back(opened, is_failure=True)

    def _stop(self, opened: _Open, ending: Ending) -> None:
        """End an import before its file has ended, with the account of what is stored of it."""
        opened.steps.close()
        opened.work.count_again()
        self._end(opened, ending)

    def _end(self, opened: _Open, ending: Ending) -> None:
        """Record how an import ended. If we die before, the next worker finds nothing left to do but that."""
        opened.ending = ending
        leases.finish(opened.import_, ending.state, report=opened.work.report, problem=ending.problem)
        if self._metrics is not None:
            self._metrics.ended_imports.labels(ending.state.value).inc()
        self._let_go(opened)

    def _give_back(self, opened: _Open, *, is_failure: bool = False) -> None:
        self._let_go(opened)
        # After a failure without its account, which may be what has failed.
        report = None if is_failure else opened.work.report
        leases.release(opened.import_, is_failure=is_failure, report=report)

    def _give_back_all(self, *, is_failure: bool = False) -> None:
        for each in tuple(self._open):
            try:
                self._give_back(each, is_failure=is_failure)
            except Exception as exc:  # noqa: BLE001 - the others are to be given back all the same
                log.warning("import %d is given back when its lease has run out: %r", each.import_.pk, exc)

    def _let_go(self, opened: _Open) -> None:
        self._open.remove(opened)
        opened.steps.close()

    def _connected(self) -> Connection:
        if self._conn is None:
            self._conn = connect(self._url)
            if self._is_unavailable:
                log.info("the readings' database is back, importing again")
            self._is_unavailable = False
        return self._conn

    def _forget_the_dead(self) -> None:
        """Remove the locks of dead workers that have left nothing to be taken over."""
        try:
            self._presence.forget_gone(leases.workers())
        except DatabaseError as exc:
            log.warning("locks of dead workers stay, the accounts database does not answer: %s", exc)

    def _disconnect(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()

    def _warn_unavailable(self, exc: DatabaseUnavailable) -> None:
        if not self._is_unavailable:
            log.warning("imports wait while the readings' database is unavailable: %s", exc)
        self._is_unavailable = True


def _given_up(import_: Import) -> Ending:
    is_undoing = import_.state == State.UNDOING
    return Ending(State.FAILED, UNDOING_ENDED_BY_AN_ERROR if is_undoing else ENDED_BY_AN_ERROR)
