"""How an instant is written for people; `static/joulebook/instant.js` writes the same."""

from __future__ import annotations

from datetime import datetime, timedelta

from joulebook.time_zones import ZoneInfo


def format_ago(time: datetime, *, now: datetime) -> str:
    """Return how long ago `time` was in the coarsest fitting unit: now, 4 s ago, 3 min ago, 5 d ago."""
    seconds = round((now - time) / timedelta(seconds=1))
    if seconds < 2:
        return "now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def format_instant(time: datetime, *, tz: str) -> str:
    """Return date and time of day in the zone `tz`: Fri 20 Nov 2026, 07:12:30."""
    local = time.astimezone(ZoneInfo(tz))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M:%S}"


def format_since(time: datetime, *, now: datetime, tz: str) -> str:
    """Return `time` in the zone `tz` as briefly as `now` allows: 07:12, Fri 07:12, 20 Nov, 28 Feb 2023."""
    local, today = time.astimezone(ZoneInfo(tz)), now.astimezone(ZoneInfo(tz))
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if today.date() - local.date() < timedelta(days=7):
        return f"{local:%a %H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}"
    return f"{local.day} {local:%b %Y}"
