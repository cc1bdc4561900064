"""`joulebook rollups`: shows the state of the rollups, and has them rebuilt."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from joulebook.cli.output import AsJson, fail, json_result, plain_errors, result, say
from joulebook.cli.progress import show_progress
from joulebook.cli.time_range import ALWAYS, FromOption, ToOption, microseconds
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds
from joulebook.telemetry.rollups.status import (
    RollupsStatus,
    mark_for_rebuild,
    read_rollups_status,
    time_to_roll,
    union_length,
)
from joulebook.telemetry.timescale import Range

app = typer.Typer(no_args_is_help=True, help="Show the state of the rollups, or have them rebuilt.")

_LOOK_EVERY = 0.5
_WORRY_AFTER = 60.0


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show until when readings are rolled up, the waiting ones, and the tables' sizes."""
    with plain_errors(), connect(telemetry_url(Config.from_environ(), "reader")) as conn:
        found = read_rollups_status(conn)
    if as_json:
        json_result(_as_json(found))
        return
    for name, value in _lines(found, now=datetime.now(UTC)):
        result(f"{name:<14} {value}")


@app.command()
def rebuild(
    from_: FromOption = None,
    to: ToOption = None,
    everything: Annotated[bool, typer.Option("--all", help="the whole time with readings")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait for the worker, and show its progress")] = False,
) -> None:
    """Have the worker rebuild the rollups of a range from its readings; answers stay right meanwhile."""
    if everything == (from_ is not None or to is not None):
        fail("give a range: --from and --to, one of them, or --all", code=2)
    start, end = ALWAYS if everything else microseconds(from_, to)
    with plain_errors(), connect(telemetry_url(Config.from_environ(), "writer")) as conn:
        marked = mark_for_rebuild(conn, start, end)
        if marked is None:
            say("there are no readings of closed time in that range: nothing to rebuild")
            return
        say(f"{_range(marked)} is marked; the worker rolls it up in the background")
        if wait:
            _wait(conn, marked)


def _wait(conn: Connection, marked: Range) -> None:
    """Return as soon as the whole range is rolled up."""
    whole = marked[1] - marked[0]
    left, moved_at, is_worried = whole, time.monotonic(), False
    with show_progress("rolling up") as progress:
        while left:
            found = time_to_roll(conn, *marked)
            if found != left:
                left, moved_at = found, time.monotonic()
            elif not is_worried and time.monotonic() - moved_at > _WORRY_AFTER:
                say("nothing has moved for a minute; does `joulebook up` or `joulebook worker` run?")
                is_worried = True
            progress(1 - left / whole)
            if left:
                time.sleep(_LOOK_EVERY)
    say(f"{_range(marked)} is rolled up")


def _lines(found: RollupsStatus, *, now: datetime) -> list[tuple[str, str]]:
    """Return the status as pairs of a name and a text for people."""
    behind = (now - from_microseconds(found.closed_until)).total_seconds()
    rolled = "everything that is closed"
    if found.to_roll:
        left = _duration(union_length(found.to_roll) / MICROSECONDS)
        since = _instant(found.rolled_from)
        rolled = f"{100 * found.rolled_share:.1f} % of the time since {since}, {left} to go"
    lines = [
        ("closed until", f"{_instant(found.closed_until)}, {_duration(behind)} ago"),
        ("rolled up", rolled),
    ]
    if found.marked is None:
        lines.append(("marks", "none"))
    else:
        covered = _duration(found.marked_seconds)
        lines.append(
            (
                "marks",
                f"{found.marks:,} of {found.marked_series:,} series, {covered} in {_range(found.marked)}",
            )
        )
    for table in found.tables:
        kept = "" if table.retained_from <= 0 else f", kept from {_instant(table.retained_from)}"
        lines.append((table.table, f"about {table.rows:,} rows, {decimal(table.size)}{kept}"))
    return lines


def _as_json(found: RollupsStatus) -> dict[str, Any]:
    return {
        "closed_until": from_microseconds(found.closed_until),
        "rolled_from": from_microseconds(found.rolled_from),
        "rolled_share": found.rolled_share,
        "seconds_to_roll": union_length(found.to_roll) / MICROSECONDS,
        "marks": found.marks,
        "marked_series": found.marked_series,
        "marked_from": None if found.marked is None else from_microseconds(found.marked[0]),
        "marked_to": None if found.marked is None else from_microseconds(found.marked[1]),
        "marked_seconds": found.marked_seconds,
        "tables": [
            {
                "table": each.table,
                "rows": each.rows,
                "bytes": each.size,
                "kept_from": None if each.retained_from <= 0 else from_microseconds(each.retained_from),
            }
            for each in found.tables
        ],
    }


def _range(span: Range) -> str:
    return f"{_instant(span[0])} to {_instant(span[1])}"


def _instant(time: int) -> str:
    return f"{from_microseconds(time):%Y-%m-%dT%H:%MZ}"


def _duration(seconds: float) -> str:
    """Return a length of time in its largest fitting unit."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"
