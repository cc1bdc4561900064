"""Gives heartbeats to the imports that a worker holds, in a thread of its own: a step may take long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from types import TracebackType

from django.db import DatabaseError, close_old_connections, connections

from joulebook.web.imports import leases
from joulebook.web.imports.models import Import

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""How often: a lease runs out after a minute, so that some beats may be missed."""


class Heart:
    """Beats from entering until leaving."""

    def __init__(self, *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._beat_seconds = beat_seconds
        self._held: tuple[Import, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="joulebook-heart", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._held = ()
        self._stopping.set()
        self._thread.join()

    def hold(self, imports: Iterable[Import]) -> None:
        """Say which imports are held from now on, in place of those before."""
        self._held = tuple(imports)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._beat_seconds):
                self._beat()
        finally:
            connections.close_all()

    def _beat(self) -> None:
        held = self._held
        if not held:
            return
        try:
            close_old_connections()
            leases.keep(held)
        except DatabaseError as exc:
            log.warning("imports got no heartbeat, the accounts database does not answer: %s", exc)
