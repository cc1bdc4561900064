"""The style sheet: small, readable in both palettes, and the same palette wherever it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import joulebook

CSS = (Path(joulebook.__file__).parent / "web/static/joulebook/joulebook.css").read_text()
SERIES = ("solar", "grid-power", "battery", "load", "volt", "current", "warm", "sky")


def palette(selector):
    """Return the colours that a rule sets: {name: (red, green, blue)}."""
    rule = re.search(re.escape(selector) + r"\s*\{([^}]*--ground[^}]*)\}", CSS)
    assert rule, selector
    found = re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})\b", rule[1])
    return {name: tuple(int(value[i : i + 2], 16) for i in (1, 3, 5)) for name, value in found}


def contrast(one, other):
    """Return the contrast of two colours, by WCAG 2.2's definition of relative luminance."""

    def luminance(colour):
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


LIGHT = palette(":root")
DARK = palette('[data-theme="dark"]')


def test_it_is_under_20_kilobytes():
    assert len(CSS.encode()) < 20_000


def test_the_systems_dark_palette_is_the_chosen_one():
    assert palette('[data-theme="system"]') == DARK


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_contrast_aa_on_every_ground(colours):
    pairs = [
        (text, ground) for text in ("ink", "muted", "accent") for ground in ("ground", "surface", "raised")
    ]
    pairs += [("ink", "note-tint"), ("muted", "note-tint"), ("ink", "bad-tint"), ("ink", "good-tint")]
    pairs += [("bad", "surface"), ("accent", "tint"), ("accent-ink", "accent")]
    assert {
        pair: contrast(colours[pair[0]], colours[pair[1]])
        for pair in pairs
        if contrast(colours[pair[0]], colours[pair[1]]) < 4.5
    } == {}


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_curves_dots_and_fields_stand_out_from_their_ground(colours):
    names = [*SERIES, "field", "good"]
    assert {
        name: contrast(colours[name], colours["surface"])
        for name in names
        if contrast(colours[name], colours["surface"]) < 3
    } == {}


def test_nothing_is_loaded_from_elsewhere():
    assert "@import" not in CSS
    assert "url(" not in CSS
