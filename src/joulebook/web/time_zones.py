"""The check of entered time zones."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from joulebook.time_zones import time_zone_names


def validate_time_zone(name: str) -> None:
    """Raise Django's ValidationError unless `name` is an IANA time zone."""
    if name not in time_zone_names():
        raise ValidationError(f"{name!r} is not a time zone; use an IANA name such as Europe/Berlin or UTC")
