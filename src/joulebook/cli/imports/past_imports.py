"""Imports on record: list them, show one with its report, undo one.

The command undoes an import itself, under a lease like a worker's, or waits for a worker already at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any

import typer
from django.db.models import Q
from pydantic import TypeAdapter
from rich.table import Table

from joulebook.cli.imports.options import EXIT_STOPPED
from joulebook.cli.output import fail, print_table, result, say
from joulebook.cli.progress import show_progress
from joulebook.cli.signals import interruptible
from joulebook.cli.user import find_user
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.logs import quieted
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.imports.progress import LeaseLost, read_progress
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.web.imports import leases
from joulebook.web.imports.api.answers import (
    ImportAnswer,
    WholeImportAnswer,
    has_begun,
    import_answer,
    read_run_details,
    whole_import,
)
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import UnableToImport, undo_import
from joulebook.worker.heartbeat import Heartbeat
from joulebook.worker.import_runner import ImportRunner
from joulebook.worker.lock import WorkerLock

_MOST_PROBLEMS = 20
_POLL_SECONDS = 1.0

State = Import.State

Show = Callable[[float], None]
"""Called with the share already undone, 0 to 1."""


def print_imports(*, device_id: str | None, states: list[str], limit: int, as_json: bool) -> None:
    """Print up to `limit` imports as a table or as JSON, the newest first."""
    imports = Import.objects.select_related("device", "user").prefetch_related("devices").order_by("-pk")
    if device_id is not None:
        into = Q(device__device_id=device_id) | Q(devices__device_id=device_id)
        imports = imports.filter(into).distinct()
    for state in states:
        if state not in State.values:
            fail(f"there is no state {state!r}; there are {', '.join(State.values)}")
    if states:
        imports = imports.filter(state__in=states)
    found = list(imports[:limit])
    if as_json:
        answers = [import_answer(each) for each in found]
        result(TypeAdapter(list[ImportAnswer]).dump_json(answers, indent=2).decode())
        return
    if not found:
        say("no imports; import a file with: joulebook import FILE --device ID")
        return
    table = Table("Number", "Begun", "State", "Device", "File", "By", box=None, pad_edge=False)
    for name in ("Rows", "Stored", "Rejected"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            str(each.pk),
            f"{each.created_at:%Y-%m-%d %H:%MZ}",
            each.state,
            each.device.device_id if each.device else "",
            each.file_name,
            each.user.get_username() if each.user else "",
            f"{each.rows_read:,}",
            f"{each.cells_stored + each.cells_replaced:,}",
            f"{each.rows_rejected:,}",
        )
    print_table(table)


def print_import(number: int, *, as_json: bool) -> None:
    """Print one import with its report, as tables or as JSON."""
    import_, details = _find_import(number), None
    if has_begun(import_):
        try:
            with connect(telemetry_url(Config.from_environ(), "reader")) as conn:
                details = read_run_details(conn, import_)
        except DatabaseUnavailable:
            say("the database of the readings does not answer; its part of the report is missing here")
    answer = whole_import(import_, details)
    if as_json:
        result(answer.model_dump_json(indent=2))
    else:
        _print_tables(answer)


def _find_import(number: int) -> Import:
    """Return the import, or end the command with the remedy."""
    import_ = Import.objects.select_related("device", "user").filter(pk=number).first()
    if import_ is None:
        fail(f"there is no import {number}; see them with: joulebook imports list")
    return import_


def _print_tables(answer: WholeImportAnswer) -> None:
    counts = answer.counts
    facts = {
        "Import": f"{answer.id}, {answer.state}",
        "File": f"{answer.file.name} ({answer.file.size:,} bytes, "
        f"SHA-256 {answer.file.sha256 or 'not known'})",
        "Devices": ", ".join(answer.devices) or answer.device or "not chosen yet",
        "By": answer.user or "",
        "Times": ", ".join(
            f"{word} {at:%Y-%m-%d %H:%M:%SZ}"
            for word, at in (
                ("begun", answer.started_at or answer.created_at),
                ("ended", answer.finished_at),
                ("undone", answer.undone_at),
            )
            if at is not None
        ),
        "Problem": answer.problem,
        "Progress": "" if answer.progress is None else f"{100 * answer.progress.share:.1f} % of the file",
        "Rows": f"{counts.rows_read:,} read, {counts.rows_rejected:,} rejected",
        "Cells": f"{counts.cells_stored:,} stored, {counts.cells_replaced:,} replaced, "
        f"{counts.cells_duplicate:,} duplicate, {counts.cells_conflict:,} in conflict, "
        f"{counts.cells_na:,} without a value, {counts.cells_malformed:,} malformed",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in facts.items():
        if text:
            table.add_row(name, text)
    print_table(table)
    if answer.problems:
        table = Table("Line", "Column", "Problem", "Text", box=None, pad_edge=False)
        for each in answer.problems[:_MOST_PROBLEMS]:
            table.add_row(str(each.line), each.column or "(whole row)", each.code, each.text)
        result("")
        print_table(table)


def undo(number: int, *, user_name: str | None) -> None:
    """Undo an import, or wait for a worker undoing it, and print the outcome."""
    import_ = _find_import(number)
    if import_.state != State.UNDOING:
        try:
            undo_import(import_, by=find_user(user_name) if user_name else None)
        except UnableToImport as exc:
            fail(f"import {number} is {import_.state}: {exc}")
    config = Config.from_environ()
    try:
        # The messages of leases are for a worker's log; the command shows a bar.
        with quieted("joulebook.web"), connect(telemetry_url(config, "writer")) as conn:
            with interruptible(), show_progress(f"undoing import {import_.pk}") as show:
                _run_until_undone(import_, conn, show, config=config)
            undone = _undo_state(import_, conn)
    except DatabaseUnavailable as exc:
        fail(
            "the database of the readings does not answer; start it with: joulebook db start\n"
            f"Undoing continues from here when a worker runs, or with this command again. ({exc})"
        )
    except KeyboardInterrupt:
        say("stopped; undoing continues from here when a worker runs, or with this command again")
        raise typer.Exit(EXIT_STOPPED) from None
    if import_.state != State.UNDONE:
        fail(f"import {import_.pk} is not undone: {import_.problem}")
    result(
        f"import {import_.pk} of {import_.file_name} is undone: {undone.get('removed', 0):,} readings "
        f"removed, {undone.get('restored', 0):,} restored to their earlier values"
    )
    if import_.problem:
        say(import_.problem)


def _run_until_undone(import_: Import, conn: Connection, show: Show, *, config: Config) -> None:
    is_wait_reported = False
    with WorkerLock(config.home) as lock, Heartbeat() as heartbeat:
        while import_.state == State.UNDOING:
            claimed = leases.claim_next(lock.name, only=import_.pk, is_dead=lock.is_dead)
            if claimed is None:
                if not is_wait_reported:
                    say("waiting for a worker busy with this import, or with another one for the same device")
                is_wait_reported = True
                show(_undone_share(import_, conn))
                time.sleep(_POLL_SECONDS)
            else:
                heartbeat.hold([claimed])
                _run_steps(claimed, conn, show, most_metrics=config.device_metrics)
                heartbeat.hold([])
            import_.refresh_from_db()


def _run_steps(claimed: Import, conn: Connection, show: Show, *, most_metrics: int) -> None:
    """Run the steps of a claimed import to their end; release it if they are interrupted."""
    runner = ImportRunner(conn, claimed, most_metrics=most_metrics)
    try:
        with closing(runner.run()) as steps:
            while True:
                try:
                    next(steps)
                except StopIteration as exc:
                    runner.end(exc.value)
                    return
                show(_undone_share(claimed, conn))
    except LeaseLost:
        return
    except BaseException:
        leases.release(claimed)
        raise


def _undone_share(import_: Import, conn: Connection) -> float:
    """Return the share of the import's time range already undone, 0 to 1; an undo runs from its end back."""
    undo = _undo_state(import_, conn)
    report = import_.report or {}
    first, last = report.get("first_time"), report.get("last_time")
    if not first or not last or "end" not in undo:
        return 0.0
    begin, end = (to_microseconds(datetime.fromisoformat(text)) for text in (first, last))
    at = int(undo["end"])
    return min(1.0, max(0.0, (end - at) / max(end - begin, MICROSECONDS)))


def _undo_state(import_: Import, conn: Connection) -> dict[str, Any]:
    progress = read_progress(conn, import_.pk)
    return (progress.undo if progress is not None else None) or {}
