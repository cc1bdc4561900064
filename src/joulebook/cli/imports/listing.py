"""`joulebook imports`: what was imported, what became of it, and taking it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import AsJson, fail, print_table, result, say
from joulebook.cli.user import find_user

if TYPE_CHECKING:
    from joulebook.web.imports.api.answers import Kept, ProblemAnswer
    from joulebook.web.imports.models import Import

app = typer.Typer(no_args_is_help=True, help="List imports, look at them, undo them.")

_MOST_LISTED = 20
_Number = Annotated[int, typer.Argument(metavar="NUMBER", help="the import's number", show_default=False)]


@app.command("list")
def list_imports(
    *,
    device: Annotated[
        str | None, typer.Option(metavar="ID", help="only for this device", show_default=False)
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="only in this state; repeatable", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="at most so many, the newest")] = 50,
    as_json: AsJson = False,
) -> None:
    """List imports, the newest first."""
    with accounts_database():
        from django.db.models import Q

        from joulebook.web.imports.models import Import

        imports = Import.objects.select_related("device", "user").prefetch_related("devices").order_by("-pk")
        if device is not None:
            imports = imports.filter(Q(device__device_id=device) | Q(devices__device_id=device)).distinct()
        for each in state or ():
            if each not in Import.State.values:
                fail(f"there is no state {each!r}; there are {', '.join(Import.State.values)}")
        if state:
            imports = imports.filter(state__in=state)
        found = list(imports[:limit])
        if as_json:
            result(_as_json(found))
        elif not found:
            say("no imports; import a file with: joulebook import FILE --device ID")
        else:
            _print_list(found)


@app.command()
def show(number: _Number, *, as_json: AsJson = False) -> None:
    """Show what became of a file: its account, and the first rows and cells that were not stored."""
    with accounts_database():
        from joulebook.web.imports.api.answers import whole_import

        import_ = find_import(number)
        kept = _kept(import_)
        if as_json:
            result(whole_import(import_, kept).model_dump_json(indent=2))
        else:
            _print_import(import_, kept)


@app.command()
def undo(
    number: _Number,
    *,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="the user who undoes it", show_default=False)
    ] = None,
) -> None:
    """Take back everything that an import has stored; what it replaced returns.

    It needs no worker. One that was stopped goes on where it was.
    """
    with accounts_database():
        from joulebook.cli.imports.undo import take_back
        from joulebook.web.imports.operations import UnableToImport, undo_import

        import_ = find_import(number)
        if import_.state != import_.State.UNDOING:
            try:
                undo_import(import_, by=find_user(user) if user else None)
            except UnableToImport as exc:
                fail(f"import {number} is {import_.state}: {exc}")
        take_back(import_)


def find_import(number: int) -> Import:
    """Return the import of this number, or end the command with the remedy."""
    from joulebook.web.imports.models import Import

    import_ = Import.objects.select_related("device", "user").filter(pk=number).first()
    if import_ is None:
        fail(f"there is no import {number}; see them with: joulebook imports list")
    return import_


def _as_json(found: list[Import]) -> str:
    from pydantic import TypeAdapter

    from joulebook.web.imports.api.answers import ImportAnswer, import_answer

    answers = [import_answer(each) for each in found]
    return TypeAdapter(list[ImportAnswer]).dump_json(answers, indent=2).decode()


def _kept(import_: Import) -> Kept | None:
    """Return what is kept beside the readings; None where there is nothing, or nobody can say now."""
    from joulebook.config import Config
    from joulebook.embedded import telemetry_url
    from joulebook.telemetry.connection import connect
    from joulebook.telemetry.errors import DatabaseUnavailable
    from joulebook.web.imports.api.answers import is_begun, read_kept

    if not is_begun(import_):
        return None
    try:
        with connect(telemetry_url(Config.from_environ(), "reader")) as conn:
            return read_kept(conn, import_)
    except DatabaseUnavailable:
        say("the database of the readings does not answer; its part of the account is missing here")
        return None


def _print_list(found: list[Import]) -> None:
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


def _print_import(import_: Import, kept: Kept | None) -> None:
    from joulebook.web.imports.api.answers import whole_import

    told = whole_import(import_, kept)
    table = Table(box=None, pad_edge=False, show_header=False)
    counts = told.counts
    facts = {
        "Import": f"{told.id}, {told.state}",
        "File": f"{told.file.name} ({told.file.size:,} bytes, SHA-256 {told.file.sha256 or 'not known'})",
        "Devices": ", ".join(told.devices) or told.device or "not chosen yet",
        "By": told.user or "",
        "Times": ", ".join(
            f"{word} {at:%Y-%m-%d %H:%M:%SZ}"
            for word, at in (
                ("begun", told.started_at or told.created_at),
                ("ended", told.finished_at),
                ("undone", told.undone_at),
            )
            if at is not None
        ),
        "Problem": told.problem,
        "Progress": "" if told.progress is None else f"{100 * told.progress.share:.1f} % of the file",
        "Rows": f"{counts.rows_read:,} read, {counts.rows_rejected:,} rejected",
        "Cells": f"{counts.cells_stored:,} stored, {counts.cells_replaced:,} replaced, "
        f"{counts.cells_duplicate:,} duplicate, {counts.cells_conflict:,} in conflict, "
        f"{counts.cells_na:,} without a value, {counts.cells_malformed:,} malformed",
    }
    for name, text in facts.items():
        if text:
            table.add_row(name, text)
    print_table(table)
    if told.problems:
        _print_problems(told.problems[:_MOST_LISTED])


def _print_problems(problems: list[ProblemAnswer]) -> None:
    table = Table("Line", "Column", "Problem", "Text", box=None, pad_edge=False)
    for each in problems:
        table.add_row(str(each.line), each.column or "(whole row)", each.code, each.text)
    result("")
    print_table(table)
