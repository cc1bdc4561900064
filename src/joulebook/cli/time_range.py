"""Options for a range of time, in UTC or with an offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from joulebook.telemetry.readings import to_microseconds

ALWAYS = (0, to_microseconds(datetime(9999, 1, 1, tzinfo=UTC)))
"""The range of all readings' instants, in microseconds since 1970 UTC."""


def instant(text: str) -> datetime:
    """Return an option's instant: a date, or a time in RFC 3339; UTC without an offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write 2026-03-01 or 2026-03-01T12:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


FromOption = Annotated[
    datetime | None,
    typer.Option("--from", parser=instant, metavar="TIME", help="from this time on, such as 2026-03-01"),
]
ToOption = Annotated[
    datetime | None, typer.Option("--to", parser=instant, metavar="TIME", help="before this time")
]


def microseconds(start: datetime | None, end: datetime | None) -> tuple[int, int]:
    """Return the half-open range of the options; a missing option is no limit."""
    begin = ALWAYS[0] if start is None else to_microseconds(start)
    until = ALWAYS[1] if end is None else to_microseconds(end)
    if begin >= until:
        raise typer.BadParameter("--to must be later than --from")
    return begin, until
