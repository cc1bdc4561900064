"""Template tags for readings: numbers with units, instants in a zone, sparklines."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from joulebook.web.devices import sparkline as drawing
from joulebook.web.display import format_ago, format_instant, format_quantity, format_since

register = template.Library()


@register.filter
def quantity(value: float | None, unit: str = "") -> str:
    """Write a number with its unit: `{{ value|quantity:unit }}`."""
    return format_quantity(value, unit)


@register.filter
def exact(value: float) -> str:
    """Write a number with all the digits that it was entered with: 18342.5, 0.001, 0."""
    return f"{value:.15g}"


@register.simple_tag
def instant(time: datetime, tz: str) -> str:
    """Write a date and time in a zone."""
    return format_instant(time, tz=tz)


@register.simple_tag
def ago(time: datetime, now: datetime, tz: str) -> SafeString:
    """Write how long ago a time was, with the exact time as its title; scripts keep it counting."""
    return format_html(
        '<time class="ago" datetime="{}" title="{} {}">{}</time>',
        time.isoformat(),
        format_instant(time, tz=tz),
        tz,
        format_ago(time, now=now),
    )


@register.simple_tag
def since(time: datetime, now: datetime, tz: str) -> SafeString:
    """Write the time since which a device is silent, with the exact time as its title."""
    return format_html(
        '<time datetime="{}" title="{} {}">{}</time>',
        time.isoformat(),
        format_instant(time, tz=tz),
        tz,
        format_since(time, now=now, tz=tz),
    )


@register.simple_tag
def sparkline(values: list[float | None], unit: str, colour: str) -> SafeString:
    """Draw a metric's last hour."""
    known = [value for value in values if value is not None]
    label = (
        f"last hour: {format_quantity(min(known), unit)} to {format_quantity(max(known), unit)}"
        if known
        else "no readings in the last hour"
    )
    return drawing.sparkline(values, colour=colour, label=label)
