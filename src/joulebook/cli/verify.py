"""`joulebook verify`: compares the rollups with the readings."""

from __future__ import annotations

from random import Random
from typing import Annotated

import typer

from joulebook.cli.output import plain_errors, result
from joulebook.cli.progress import show_progress
from joulebook.cli.time_range import FromOption, ToOption, microseconds
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import connect
from joulebook.telemetry.rollups.verify import verify_all, verify_sample

_NAMES = "SELECT id, device_id, metric FROM series WHERE id = ANY(%(ids)s)"


def verify(
    full: Annotated[bool, typer.Option("--full", help="compare every bucket, not a sample")] = False,
    sample: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="hours of single series to compare, spread over time")
    ] = 1000,
    from_: FromOption = None,
    to: ToOption = None,
) -> None:
    """Recompute rollups from the readings and count the differing ones; exit code 1 if there are any."""
    with plain_errors():
        start, end = microseconds(from_, to)
        with connect(telemetry_url(Config.from_environ(), "reader")) as conn:
            with show_progress("comparing") as progress:
                if full:
                    found = verify_all(conn, start, end, progress=progress)
                else:
                    random = Random()  # noqa: S311 - chooses a sample, guards nothing
                    found = verify_sample(conn, start, end, hours=sample, random=random, progress=progress)
            ids = [each.series_id for each in found.first]
            names = {row[0]: f"{row[1]} {row[2]}" for row in conn.execute(_NAMES, {"ids": ids}).fetchall()}
    result(f"buckets compared   {found.buckets:,}")
    result(f"readings read      {found.readings:,}")
    result(f"buckets differing  {found.differing:,}")
    for each in found.first:
        name = names.get(each.series_id, f"series {each.series_id}")
        result(f"  {each.table}  {name}  {each.bucket:%Y-%m-%dT%H:%MZ}: {each.what}")
    if found.differing:
        if found.differing > len(found.first):
            result(f"  and {found.differing - len(found.first):,} more")
        result("to rebuild them: joulebook rollups rebuild --from … --to …")
        raise typer.Exit(1)
