"""Knows a unit when it sees one: in a cell, behind a number, or in the brackets of a column's name."""

from __future__ import annotations

import re
import unicodedata

_UNIT = re.compile(
    r"""[kMGTmµμu]?(?:Wh|W|VAh|VA|VArh|varh|VAr|var|V|A|Hz|J|Pa|Ohm|ohm|Ω) | (?:h|m)?[Bb]ar | kWhr? | kWp
    | [cdkm]?m | [mdc]?[lL] | [km]?g | ms | s | min | h | d | K | % | ‰ | ppm | ppb | lx | lux | dBm? | rpm
    | °\s?[CFK]? | [dD]eg(?:\s?[CF])? | ℃ | degC | degF | degrees | mmHg | inHg | mph | kn | pH | unitless
    | [kc]?m\s?/\s?[sh] | m\^?[23²³] | N?m[3³]/h | [lL]/(?:min|h|s) | kg/h | g/m[3³] | µg/m[3³]
    | [kM]?Wh?r?/m(?:\^?2|²) | J/m(?:\^?2|²) | V/m | [µm]S/cm
    | EUR | USD | GBP | CHF | SEK | NOK | DKK | (?:ct|EUR|€)/[kM]Wh""",
    re.VERBOSE,
)
_BRACKETS = re.compile(r"[\[(](?P<unit>[^\[\]()]{1,16})[\])]\s*$")


def is_unit(text: str) -> bool:
    """Return whether a text is a unit or a currency sign."""
    return bool(_UNIT.fullmatch(text)) or (len(text) == 1 and unicodedata.category(text) == "Sc")


def unit_in_name(name: str) -> str:
    """Return the unit that stands in brackets at the end of a column's name, or ""."""
    match = _BRACKETS.search(name)
    return match["unit"].strip() if match and is_unit(match["unit"].strip()) else ""
