"""What a device and its metrics look like to people: labels, colours, live or silent."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import Enum

# The first pattern that fits a metric's name decides; `static/joulebook/joulebook.css` has the colours.
_COLOURS = (
    ("solar", re.compile(r"solar|pv|photovoltaic|production|generation|irradiance")),
    ("battery", re.compile(r"batter|storage|soc\b|state_of_charge")),
    ("grid", re.compile(r"grid|mains|utility|import|export|feed_?in|frequency")),
    ("load", re.compile(r"load|consum|house|home|usage|demand|power|energy")),
    ("volt", re.compile(r"volt|\bv\d?\b")),
    ("current", re.compile(r"current|amp")),
    ("warm", re.compile(r"temp|heat")),
)
_OTHER_COLOURS = ("sky", "warm", "volt", "current")


class Status(Enum):
    """Whether readings arrive: none ever, as usual, or no longer."""

    WAITING = "waiting"
    LIVE = "live"
    SILENT = "silent"


def device_status(time: datetime | None, *, limit: timedelta, now: datetime) -> Status:
    """Return the status of a device whose last reading is of `time`: silent when `limit` has passed."""
    if time is None:
        return Status.WAITING
    return Status.LIVE if now - time <= limit else Status.SILENT


def metric_colour(metric: str, position: int = 0) -> str:
    """Return the name of the metric's series colour: fixed by what it is, else by its position."""
    for colour, pattern in _COLOURS:
        if pattern.search(metric.lower()):
            return colour
    return _OTHER_COLOURS[position % len(_OTHER_COLOURS)]
