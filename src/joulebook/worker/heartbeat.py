"""Renews the leases of a worker's imports in a thread of its own, because one step may take long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from types import TracebackType

from django.db import DatabaseError, close_old_connections, connections

from joulebook.web import leases
from joulebook.web.imports.models import Import

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""Seconds between two renewals. A lease expires after a minute, so several may be missed."""


class Heartbeat:
    """Renews leases from entering until leaving."""

    def __init__(self, *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._beat_seconds = beat_seconds
        self._held: tuple[Import, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="joulebook-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._held = ()
        self._stopping.set()
        self._thread.join()

    def hold(self, imports: Iterable[Import]) -> None:
        """Renew the leases of these imports from now on, in place of the previous ones."""
        self._held = tuple(imports)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._beat_seconds):
                held = self._held
                if not held:
                    continue
                try:
                    close_old_connections()
                    leases.renew(held)
                except DatabaseError as exc:
                    log.warning("imports got no heartbeat, the accounts database does not answer: %s", exc)
        finally:
            connections.close_all()
