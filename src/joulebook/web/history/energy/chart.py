"""Bars of energy as an inline SVG, made on the server: readable without any script.

Positions are shares of the drawing's size: it fills the width of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_TOP, _BOTTOM = 12.0, 86.0
_FILL = 0.78
_LABEL = 96.0


@dataclass(frozen=True)
class Bar:
    """One period: its energy, its unallocated energy, the text for both, and the label below it."""

    energy: float
    unallocated: float
    words: str
    tick: str


def energy_chart(bars: Sequence[Bar], *, name: str, label: str, scale: str) -> SafeString:
    """Return the bars as a drawing.

    `name` is unique on the page (letters and digits), `label` the text for screen readers, `scale` the text
    for the bars' ends. Unallocated energy is hatched, on top of the period's own.
    """
    tops = [max(0.0, bar.energy, bar.energy + bar.unallocated) for bar in bars]
    lows = [min(0.0, bar.energy, bar.energy + bar.unallocated) for bar in bars]
    high, low = max(tops, default=0.0), min(lows, default=0.0)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return _BOTTOM - (value - low) / span * (_BOTTOM - _TOP)

    step = 100.0 / max(1, len(bars))
    shapes = []
    for place, bar in enumerate(bars):
        left = step * (place + (1 - _FILL) / 2)
        shapes.append(_bar(bar, left, step * _FILL, y, name=name))
    ticks = format_html_join(
        "",
        '<text x="{}%" y="{}%">{}</text>',
        ((f"{step * (place + 0.5):.2f}", _LABEL, bar.tick) for place, bar in enumerate(bars) if bar.tick),
    )
    return format_html(
        '<svg class="energy" role="img" aria-label="{}"><defs>'
        '<pattern id="hatch-{}" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect width="2.5" height="6"/></pattern></defs>'
        '<line x1="0" x2="100%" y1="{}%" y2="{}%"/><line class="zero" x1="0" x2="100%" y1="{}%" y2="{}%"/>'
        '<text class="most" x="0" y="9%">{}</text>{}{}</svg>',
        label,
        name,
        *(f"{each:.2f}" for each in (y(high), y(high), y(0.0), y(0.0))),
        scale,
        format_html_join("", "{}", ((shape,) for shape in shapes)),
        ticks,
    )


def _bar(bar: Bar, left: float, width: float, y: Callable[[float], float], *, name: str) -> SafeString:
    """Return one period's rectangles, with its text as their title."""
    whole = bar.energy + bar.unallocated
    parts = [("", 0.0, bar.energy)] if bar.energy else []
    if bar.unallocated:
        parts.append((f"url(#hatch-{name})", bar.energy, whole))
    return format_html(
        "<g><title>{}</title>{}</g>",
        bar.words,
        format_html_join(
            "",
            '<rect x="{}%" y="{}%" width="{}%" height="{}%"{}/>',
            (
                (
                    f"{left:.2f}",
                    f"{min(y(start), y(end)):.2f}",
                    f"{width:.2f}",
                    f"{abs(y(start) - y(end)):.2f}",
                    format_html(' class="lost" fill="{}"', fill) if fill else "",
                )
                for fill, start, end in parts
            ),
        ),
    )
