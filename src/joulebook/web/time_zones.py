"""Time zones by their IANA names, checked where people enter them."""

from __future__ import annotations

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError


@cache
def time_zone_names() -> frozenset[str]:
    """Return the names that are accepted: the IANA zones, without files that are no zones."""
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def validate_time_zone(name: str) -> None:
    """Raise Django's ValidationError unless `name` is an IANA time zone."""
    if name not in time_zone_names():
        raise ValidationError(f"{name!r} is not a time zone; use an IANA name such as Europe/Berlin or UTC")


def zone(name: str) -> ZoneInfo:
    """Return the zone of a checked name."""
    return ZoneInfo(name)
