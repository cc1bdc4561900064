"""Takes an import back from the command line: itself, under a lease like a worker's, or beside a worker."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from joulebook.cli.output import fail, result, say
from joulebook.cli.progress import show_progress
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.imports.progress import LeaseLost, read_progress
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds

if TYPE_CHECKING:
    from joulebook.web.imports.models import Import

EXIT_STOPPED = 130
_POLL_SECONDS = 1.0

Show = Callable[[float], None]


def take_back(import_: Import) -> None:
    """Take an import in the state `undoing` back, or watch a worker do it, and tell what became of it."""
    from joulebook.web.imports import leases

    config = Config.from_environ()
    # What it tells is for a worker's log; people get a bar.
    logging.getLogger(leases.__name__).setLevel(logging.WARNING)
    try:
        with connect(telemetry_url(config, "writer")) as conn:
            before = signal.signal(signal.SIGTERM, _interrupt)
            try:
                with show_progress(f"undoing import {import_.pk}") as show:
                    _until_undone(import_, conn, show, config=config)
            finally:
                signal.signal(signal.SIGTERM, before)
            _tell(import_, conn)
    except DatabaseUnavailable as exc:
        fail(
            "the database of the readings does not answer; start it with: joulebook db start\n"
            f"Undoing goes on where it is now when a worker runs, or this command again. ({exc})"
        )
    except KeyboardInterrupt:
        say("stopped; undoing goes on where it is now when a worker runs, or this command again")
        raise typer.Exit(EXIT_STOPPED) from None


def _until_undone(import_: Import, conn: Connection, show: Show, *, config: Config) -> None:
    from joulebook.web.imports import leases
    from joulebook.worker.heart import Heart
    from joulebook.worker.presence import Presence

    is_told = False
    with Presence(config.home) as presence, Heart() as heart:
        while import_.state == import_.State.UNDOING:
            claimed = leases.claim_next(presence.name, only=import_.pk, is_gone=presence.is_gone)
            if claimed is None:
                if not is_told:
                    say("a worker is at it, or at another import for the same device; waiting for that")
                is_told = True
                show(_share(import_, conn))
                time.sleep(_POLL_SECONDS)
            else:
                heart.hold([claimed])
                _work(claimed, conn, show, most_metrics=config.device_metrics)
                heart.hold([])
            import_.refresh_from_db()


def _work(claimed: Import, conn: Connection, show: Show, *, most_metrics: int) -> None:
    """Do what there is to do for a claimed import; give it back where that is interrupted."""
    from joulebook.web.imports import leases
    from joulebook.worker.import_work import Work

    try:
        with closing(Work(conn, claimed, most_metrics=most_metrics).steps()) as steps:
            while True:
                try:
                    next(steps)
                except StopIteration as exc:
                    leases.finish(claimed, exc.value.state, problem=exc.value.problem)
                    return
                show(_share(claimed, conn))
    except LeaseLost:
        return
    except BaseException:
        leases.release(claimed)
        raise


def _share(import_: Import, conn: Connection) -> float:
    """Return how much of the import's time is taken back, from its end to its beginning; 0 to 1."""
    undo = _undo(import_, conn)
    report = import_.report or {}
    first, last = report.get("first_time"), report.get("last_time")
    if not first or not last or "end" not in undo:
        return 0.0
    begin, end = (to_microseconds(datetime.fromisoformat(text)) for text in (first, last))
    at = int(undo["end"])
    return min(1.0, max(0.0, (end - at) / max(end - begin, MICROSECONDS)))


def _tell(import_: Import, conn: Connection) -> None:
    if import_.state != import_.State.UNDONE:
        fail(f"import {import_.pk} is not undone: {import_.problem}")
    undo = _undo(import_, conn)
    result(
        f"import {import_.pk} of {import_.file_name} is undone: {undo.get('removed', 0):,} readings removed, "
        f"{undo.get('restored', 0):,} restored to what they were before"
    )
    if import_.problem:
        say(import_.problem)


def _undo(import_: Import, conn: Connection) -> dict[str, Any]:
    progress = read_progress(conn, import_.pk)
    return (progress.undo if progress is not None else None) or {}


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
