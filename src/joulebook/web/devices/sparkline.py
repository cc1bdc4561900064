"""A sparkline: the last hour of a metric as a small drawing, made on the server."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from django.utils.html import format_html
from django.utils.safestring import SafeString

WIDTH, HEIGHT, PADDING = 120, 32, 3


def sparkline(values: Sequence[float | None], *, colour: str, label: str) -> SafeString:
    """Return `values`, oldest first and None where there was no reading, as an inline SVG.

    The line breaks where values are missing for more than three times their usual distance; a value
    by itself is a dot. `colour` names a series colour of the style sheet, `label` is what a screen
    reader says.
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
    """Return the SVG path: one run of lines for each unbroken run of values."""
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
        # "h0" gives a lone point a length of nothing, which round line caps draw as a dot.
        parts.append(f"L{point}" if index - last <= longest else f"M{point}h0")
        last = index
    return "".join(parts)
