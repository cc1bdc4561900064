"""`joulebook retention`: shows in advance the readings to be dropped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer
from rich.filesize import decimal

from joulebook.cli.output import AsJson, json_result, plain_errors, result
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.retention import TablePlan, plan_retention
from joulebook.telemetry.timescale import Chunk

app = typer.Typer(
    no_args_is_help=True, help="Show the readings too old to retain, and the time of their drop."
)


@app.callback()
def _group() -> None:
    """Show the readings too old to retain, and the time of their drop."""


@app.command()
def plan(
    *,
    as_json: AsJson = False,
) -> None:
    """Show the chunks for the worker to drop by the current settings, and the disk space in a year."""
    with plain_errors():
        config = Config.from_environ()
        with connect(telemetry_url(config, "reader")) as conn:
            plans = plan_retention(conn, config.keep, datetime.now(UTC))
    if as_json:
        json_result(_as_json(plans))
        return
    for each in plans:
        kept = "for ever" if each.retained_for is None else f"{each.retained_for.days:,} days"
        result(f"{each.table}: kept {kept}")
        result(f"  to drop      {_chunks(each.goes)}")
        if each.waits:
            result(f"  waits        {_chunks(each.waits)}, until it is rolled up")
        rate = f"{each.rows_per_day:,.0f} rows a day of {each.bytes_per_row:.0f} bytes"
        space = f"{decimal(each.size)} now, about {decimal(each.size_in_a_year)} in a year"
        result(f"  disk space   {space} ({rate})")
    now, later = sum(each.size for each in plans), sum(each.size_in_a_year for each in plans)
    result(f"together: {decimal(now)} now, about {decimal(later)} in a year at today's rate")


def _chunks(chunks: list[Chunk]) -> str:
    if not chunks:
        return "nothing"
    rows, size = sum(chunk.rows for chunk in chunks), sum(chunk.size for chunk in chunks)
    span = f"{_instant(chunks[0].begin)} to {_instant(chunks[-1].end)}"
    return f"{len(chunks):,} chunk(s) of {span}, about {rows:,} rows, {decimal(size)}"


def _as_json(plans: list[TablePlan]) -> dict[str, Any]:
    return {
        "tables": [
            {
                "table": plan.table,
                "keep_days": None if plan.retained_for is None else plan.retained_for.days,
                "drop": _chunks_json(plan.goes),
                "wait": _chunks_json(plan.waits),
                "bytes": plan.size,
                "rows_per_day": plan.rows_per_day,
                "bytes_per_row": plan.bytes_per_row,
                "bytes_in_a_year": plan.size_in_a_year,
            }
            for plan in plans
        ],
        "bytes": sum(plan.size for plan in plans),
        "bytes_in_a_year": sum(plan.size_in_a_year for plan in plans),
    }


def _chunks_json(chunks: list[Chunk]) -> dict[str, Any]:
    return {
        "chunks": len(chunks),
        "from": from_microseconds(chunks[0].begin) if chunks else None,
        "to": from_microseconds(chunks[-1].end) if chunks else None,
        "rows": sum(chunk.rows for chunk in chunks),
        "bytes": sum(chunk.size for chunk in chunks),
    }


def _instant(time: int) -> str:
    return f"{from_microseconds(time):%Y-%m-%dT%H:%MZ}"
