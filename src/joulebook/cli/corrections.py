"""`joulebook correct` and `joulebook corrections`: correct readings, list corrections, undo one.

The command corrects and undoes itself, under a lease like a worker's, or waits for a worker already at it.
Models are imported inside functions: Django has to be set up first.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import AsJson, fail, minute, print_table, result, say
from joulebook.cli.signals import interruptible
from joulebook.cli.time_range import FromOption, ToOption, instant
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.logs import quieted
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.corrections.edits import EditKind
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.series import series_by_metric

if TYPE_CHECKING:
    from joulebook.web.corrections.models import Correction
    from joulebook.web.corrections.operations import CorrectionOrder

app = typer.Typer(no_args_is_help=True, help="List the corrections of readings, show one, undo one.")

_POLL_SECONDS = 1.0
_EXIT_STOPPED = 130
_MOST_EXAMPLES = 10
_LONGEST_TEXT = 60


class Kind(StrEnum):
    """The kinds of corrections, as words of the command line."""

    DELETE = "delete"
    SET = "set"
    SCALE = "scale"
    SHIFT = "shift"
    FILL = "fill"


_Number = Annotated[int, typer.Argument(metavar="NUMBER", help="the correction's number", show_default=False)]
_User = Annotated[
    str | None, typer.Option(help="the name of who does this, for the record", show_default=False)
]


def correct(
    kind: Annotated[Kind, typer.Argument(help="what happens to the readings", show_default=False)],
    *,
    device: Annotated[str, typer.Option(metavar="ID", help="the device of the readings", show_default=False)],
    metric: Annotated[list[str], typer.Option(metavar="NAME", help="repeatable", show_default=False)],
    from_: FromOption = None,
    to: ToOption = None,
    at: Annotated[
        list[datetime] | None,
        typer.Option(
            parser=instant,
            metavar="TIME",
            help="of one reading, instead of a range; repeatable",
            show_default=False,
        ),
    ] = None,
    value: Annotated[
        float | None,
        typer.Option(help="set: of all readings; fill: else the line between", show_default=False),
    ] = None,
    factor: Annotated[float | None, typer.Option(help="scale: times this", show_default=False)] = None,
    offset: Annotated[float | None, typer.Option(help="scale: and plus this", show_default=False)] = None,
    seconds: Annotated[
        float | None, typer.Option(help="shift: forward, or back if below 0", show_default=False)
    ] = None,
    step: Annotated[
        float | None, typer.Option(help="fill: seconds between readings", show_default=False)
    ] = None,
    reason: Annotated[str, typer.Option(help="why, for the record")] = "",
    user: _User = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="change nothing, print what would")] = False,
    as_json: AsJson = False,
) -> None:
    """Correct readings of a device; numbers are in the units as shown. Each correction can be undone."""
    with accounts_database():
        from joulebook.web.corrections.operations import CorrectionOrder

        order = CorrectionOrder(
            EditKind(kind.value), tuple(dict.fromkeys(metric)), start=from_, end=to, times=tuple(at or ()),
            value=value, factor=factor, offset=offset, seconds=seconds, step=step, reason=reason,
        )  # fmt: skip
        _correct(device, order, user_name=user, is_dry_run=dry_run, as_json=as_json)


@app.command("list")
def list_corrections(
    *,
    device: Annotated[
        str | None, typer.Option(metavar="ID", help="only of this device", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="the most to list")] = 50,
    as_json: AsJson = False,
) -> None:
    """List corrections, the newest first."""
    with accounts_database():
        from pydantic import TypeAdapter

        from joulebook.web.corrections.api import CorrectionAnswer, correction_answer
        from joulebook.web.corrections.models import Correction

        found = Correction.objects.select_related("device", "user", "undone_by")
        if device is not None:
            found = found.filter(device__device_id=device)
        corrections = list(found[:limit])
        if as_json:
            answers = [correction_answer(each) for each in corrections]
            result(TypeAdapter(list[CorrectionAnswer]).dump_json(answers, indent=2).decode())
            return
        if not corrections:
            say("no corrections; make one with: joulebook correct")
            return
        table = Table("Number", "Made", "State", "Device", "What", "Metrics", "By", box=None, pad_edge=False)
        table.add_column("Changed", justify="right")
        table.add_column("Why")
        for each in corrections:
            table.add_row(
                str(each.pk),
                minute(each.created_at),
                each.state,
                each.device.device_id,
                each.kind,
                _short(", ".join(each.metrics)),
                each.user.get_username() if each.user else "",
                f"{each.changed:,}",
                _short(each.reason),
            )
        print_table(table)


@app.command()
def show(number: _Number, *, as_json: AsJson = False) -> None:
    """Show one correction."""
    with accounts_database():
        found = _find(number)
        if as_json:
            _print_json(found)
        else:
            _print(found)


@app.command()
def undo(number: _Number, *, user: _User = None, as_json: AsJson = False) -> None:
    """Undo a correction; others of the same readings stay."""
    with accounts_database():
        from joulebook.cli.user import find_user
        from joulebook.web.corrections.operations import UnableToCorrect, undo_correction

        found = _find(number)
        if found.state != "undoing":
            try:
                undo_correction(found, by=find_user(user) if user else None)
            except UnableToCorrect as exc:
                fail(str(exc))
        _run_and_report(found, as_json=as_json)


def _find(number: int) -> Correction:
    from joulebook.web.corrections.models import Correction

    found = Correction.objects.select_related("device", "user", "undone_by").filter(pk=number).first()
    if found is None:
        fail(f"there is no correction {number}; see them with: joulebook corrections list")
    return found


def _correct(
    device_id: str, order: CorrectionOrder, *, user_name: str | None, is_dry_run: bool, as_json: bool
) -> None:
    from joulebook.cli.user import find_user
    from joulebook.web.corrections.operations import (
        BadCorrection,
        TooManyCorrections,
        plan_correction,
        queue_correction,
    )
    from joulebook.web.corrections.previewing import preview_correction
    from joulebook.web.devices.models import Device
    from joulebook.web.devices.queries import metric_settings

    device = Device.objects.filter(device_id=device_id).first()
    if device is None:
        fail(f"there is no device {device_id!r}; see them with: joulebook device list")
    user = find_user(user_name) if user_name else None
    now = datetime.now(UTC)
    with connect(telemetry_url(Config.from_environ(), "reader")) as conn:
        series = series_by_metric(conn, device_id)
        for name in order.metrics:
            if name not in series:
                known = ", ".join(list(series)[:30]) or "none yet"
                fail(f"device {device_id} has no metric {name!r}; it has: {known}")
        settings = metric_settings(device, series)
        try:
            planned = plan_correction(order, device, settings, now=now)
        except BadCorrection as exc:
            fail(str(exc), code=2)
        if is_dry_run:
            from joulebook.web.corrections.api import preview_answer

            wanted = {name: series[name].id for name in planned.metrics}
            preview = preview_correction(conn, planned, wanted, settings, now=now)
            answer = preview_answer(planned, preview, settings)
            if as_json:
                result(answer.model_dump_json(indent=2))
            else:
                _print_preview(answer)
            return
    try:
        queue_correction(planned, user=user)
    except TooManyCorrections as exc:
        fail(str(exc))
    _run_and_report(planned, as_json=as_json)


def _run_and_report(correction: Correction, *, as_json: bool) -> None:
    """Run a waiting correction or undo, or wait for a worker at it, and print the outcome."""
    from joulebook.web import leases

    config = Config.from_environ()
    try:
        # The messages of leases are for a worker's log.
        with (
            quieted(leases.__name__),
            connect(telemetry_url(config, "writer")) as conn,
            interruptible(),
        ):
            _run(correction, conn, config)
    except DatabaseUnavailable as exc:
        fail(
            "the database of the readings does not answer; start it with: joulebook db start\n"
            f"Correction {correction.pk} continues when a worker runs. ({exc})"
        )
    except KeyboardInterrupt:
        say(f"stopped; correction {correction.pk} continues when a worker runs")
        raise typer.Exit(_EXIT_STOPPED) from None
    if as_json:
        _print_json(correction)
    if correction.state == "failed":
        fail(f"correction {correction.pk} failed: {correction.problem}")
    if not as_json:
        conflicts = (
            f", {correction.conflicts:,} stay: their new time is taken" if correction.conflicts else ""
        )
        result(
            f"correction {correction.pk} is {correction.state}: {correction.changed:,} readings{conflicts}"
        )


def _run(correction: Correction, conn: Connection, config: Config) -> None:
    from joulebook.web.corrections.leases import claim_next
    from joulebook.web.leases import release
    from joulebook.worker.correction_runner import run_claimed
    from joulebook.worker.lock import WorkerLock

    is_wait_reported = False
    with WorkerLock(config.home) as lock:
        while correction.state in {"queued", "running", "undoing"}:
            claimed = claim_next(lock.name, only=correction.pk, is_dead=lock.is_dead)
            if claimed is None:
                if not is_wait_reported:
                    say(
                        "waiting for a worker busy with this correction, or with an earlier one of the device"
                    )
                is_wait_reported = True
                time.sleep(_POLL_SECONDS)
            else:
                try:
                    run_claimed(conn, claimed)
                except BaseException:
                    release(claimed)
                    raise
            correction.refresh_from_db()


def _print_json(correction: Correction) -> None:
    from joulebook.web.corrections.api import correction_answer

    result(correction_answer(correction).model_dump_json(indent=2))


def _print(correction: Correction) -> None:
    facts = {
        "Correction": f"{correction.pk}, {correction.state}",
        "Device": correction.device.device_id,
        "What": correction.kind,
        "Metrics": ", ".join(correction.metrics),
        "Range": f"{correction.start:%Y-%m-%d %H:%M:%SZ} to {correction.end:%Y-%m-%d %H:%M:%SZ}",
        "Made": f"{minute(correction.created_at)} by {correction.user or 'a command'}",
        "Why": correction.reason,
        "Undone": "" if correction.undone_at is None else minute(correction.undone_at),
        "Problem": correction.problem,
        "Changed": f"{correction.changed:,} readings",
        "Conflicts": f"{correction.conflicts:,} readings stay" if correction.conflicts else "",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in facts.items():
        if text:
            table.add_row(name, text)
    print_table(table)


def _print_preview(answer: Any) -> None:
    for metric in answer.metrics:
        more = " or more" if metric.more else ""
        conflicts = f", {metric.conflicts:,} stay: their new time is taken" if metric.conflicts else ""
        result(f"{metric.metric}: {metric.changed:,} readings{more} would change{conflicts}")
        table = Table("Time", "Value", "New time", "New value", box=None, pad_edge=False)
        for each in metric.examples[:_MOST_EXAMPLES]:
            table.add_row(
                _time(each.time), _value(each.value, metric.unit), _time(each.new_time),
                _value(each.new_value, metric.unit),
            )  # fmt: skip
        if metric.examples:
            print_table(table)
    for energy in answer.energy:
        table = Table("Day", "Energy before", "after", "unit", box=None, pad_edge=False)
        for day in energy.days:
            table.add_row(day.date, f"{day.before:,.3f}", f"{day.after:,.3f}", energy.unit)
        if energy.days:
            result(f"{energy.metric} by day:")
            print_table(table)
    if answer.no_energy:
        say(answer.no_energy)
    say("nothing was changed")


def _time(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _value(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:g} {unit}".strip()


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
