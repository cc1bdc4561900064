"""Time zones by the rules of the installed package `tzdata`: the one source of every process.

Python's `zoneinfo` prefers the machine's files to the package, and machines are years apart. This module
takes the machine's files off its search path, and forgets zones read from them before. Import `ZoneInfo`
from here: ruff refuses `zoneinfo` everywhere else, so no process can use a zone without this module.
`joulebook.client` needs no zones and leaves its program's path unchanged.
"""

from __future__ import annotations

import zoneinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tzdata  # noqa: F401 - without it no zone at all is found: say so at the start

__all__ = ["ZoneInfo", "ZoneInfoNotFoundError", "time_zone_names"]

zoneinfo.reset_tzpath(())
ZoneInfo.clear_cache()


@cache
def time_zone_names() -> frozenset[str]:
    """Return the names of all zones, without the package's other files."""
    return frozenset(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})
