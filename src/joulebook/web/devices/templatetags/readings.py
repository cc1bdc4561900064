"""Template tags for readings: numbers with units, instants in a zone, sparklines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from joulebook.web.display import format_ago, format_instant, format_quantity, format_since

WIDTH, HEIGHT, PADDING = 120, 32, 3

register = template.Library()


@register.filter
def quantity(value: float | None, unit: str = "") -> str:
    """Write a number with its unit: `{{ value|quantity:unit }}`."""
    return format_quantity(value, unit)


@register.filter
def exact(value: float) -> str:
    """Write a number with all of its entered digits: 18342.5, 0.001, 0."""
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
    """Write a silent device's last time, with the exact time as its title."""
    return format_html(
        '<time datetime="{}" title="{} {}">{}</time>',
        time.isoformat(),
        format_instant(time, tz=tz),
        tz,
        format_since(time, now=now, tz=tz),
    )


@register.simple_tag(name="sparkline")
def sparkline_tag(values: list[float | None], unit: str, colour: str) -> SafeString:
    """Draw a metric's last hour."""
    known = [value for value in values if value is not None]
    label = (
        f"last hour: {format_quantity(min(known), unit)} to {format_quantity(max(known), unit)}"
        if known
        else "no readings in the last hour"
    )
    return sparkline(values, colour=colour, label=label)


def sparkline(values: Sequence[float | None], *, colour: str, label: str) -> SafeString:
    """Return `values`, oldest first and None without a reading, as an inline SVG.

    The line breaks at gaps of more than three times the usual distance; a lone value is a dot. `colour` is
    the name of a series colour in the style sheet, `label` the text for screen readers.
    """
    path = _path(values)
    if not path:
        return format_html(
            '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}">'
            '<path class="spark-empty" d="M{} {}H{}"/></svg>',
            WIDTH,
            HEIGHT,
            label,
            PADDING,
            HEIGHT // 2,
            WIDTH - PADDING,
        )
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}" data-colour="{}">'
        '<path d="{}"/></svg>',
        WIDTH,
        HEIGHT,
        label,
        colour,
        path,
    )


def _path(values: Sequence[float | None]) -> str:
    """Return the SVG path: one polyline for each unbroken run of values."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if not known:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    step = (WIDTH - 2 * PADDING) / max(len(values) - 1, 1)
    distances = sorted(after[0] - before[0] for before, after in pairwise(known))
    longest = 3 * distances[len(distances) // 2] if distances else 0

    def y(value: float) -> float:
        if high == low:
            return HEIGHT / 2
        return HEIGHT - PADDING - (value - low) / (high - low) * (HEIGHT - 2 * PADDING)

    parts: list[str] = []
    last = -longest - 1
    for index, value in known:
        point = f"{PADDING + index * step:.1f} {y(value):.1f}"
        # With round line caps a line of length 0, "h0", is a dot.
        parts.append(f"L{point}" if index - last <= longest else f"M{point}h0")
        last = index
    return "".join(parts)
