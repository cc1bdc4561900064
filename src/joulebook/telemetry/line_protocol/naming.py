"""Names the series of line protocol: the pattern of a metric's name, and the rule for its unit.

InfluxDB identifies a point by measurement, tags and field; here a series is a device and a metric.
docs/reference/ingest.md describes the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from joulebook.telemetry.kinds.units import is_known_unit, unit_problem

METRIC = "{measurement}.{field}{tags}"

VALUE_FIELD = "value"
"""The field without a name of its own: its metric is the rest of the pattern."""

_ESCAPES = str.maketrans({odd: f"\\{odd}" for odd in "\\,={}"})
_PIECE = re.compile(r"\{([^{}]+)\}|([^{}]+)")
_SEPARATORS = tuple("._-/:")

Tags = dict[str, str]
Pieces = Sequence[tuple[str, str]]
"""Parts of a pattern: (placeholder, "") or ("", text)."""


@dataclass(frozen=True, slots=True)
class Names:
    """The metrics of a line: the text before and after a field's name, and the metric of `VALUE_FIELD`."""

    before: str
    after: str
    alone: str

    def metric(self, field: str) -> str:
        """Return the metric of a field."""
        return self.alone if field == VALUE_FIELD else self.before + field + self.after


class Pattern:
    """A metric's name with placeholders for the measurement, the field, tags, and the remaining tags."""

    def __init__(self, text: str, refuse: Callable[[str], NoReturn]) -> None:
        """Read a pattern; call `refuse` with the first error."""
        pieces = [(found[1] or "", found[2] or "") for found in _PIECE.finditer(text)]
        if "".join(f"{{{name}}}" if name else literal for name, literal in pieces) != text:
            refuse(f"{text!r} has a brace that is not closed, not opened, or empty")
        names = [name for name, _ in pieces if name]
        if names.count("field") != 1:
            refuse(f"{text!r} must hold {{field}} once, or fields would overwrite each other")
        at = next(position for position, (name, _) in enumerate(pieces) if name == "field")
        before, after = pieces[:at], pieces[at + 1 :]
        self._places = list(dict.fromkeys(names))
        self._before, self._after = self._template(before), self._template(after)
        self._alone = self._template(_without_separator(before, after))
        self._nameless = set(names) <= {"field", "tags"}
        self._named = frozenset(names) - {"measurement", "field", "tags"}

    def fits(self, tags: Tags) -> bool:
        """Return whether a line has all the tags of the pattern."""
        return self._named <= tags.keys()

    def names(self, measurement: str, tags: Tags, device_tag: str | None) -> Names:
        """Return the metrics' names; the device's tag does not count as a remaining tag."""
        left = sorted(key for key in tags if key not in self._named and key != device_tag)
        suffix = ",".join(f"{_quoted(key)}={_quoted(tags[key])}" for key in left)
        places = {**tags, "measurement": measurement, "tags": f"{{{suffix}}}" if suffix else "", "field": ""}
        values = [places[name] for name in self._places]
        before, after = self._before.format(*values), self._after.format(*values)
        alone = before + VALUE_FIELD + after if self._nameless else self._alone.format(*values)
        return Names(before, after, alone)

    def _template(self, pieces: Pieces) -> str:
        """Return pieces for `str.format`, with numbered placeholders: names may hold any characters."""
        return "".join(f"{{{self._places.index(name)}}}" if name else literal for name, literal in pieces)


class UnitRule:
    """Where lines name the unit of their values.

    `measurement`: it is the unit of `VALUE_FIELD`, as Home Assistant writes it; other fields of such a line
    are attributes. `tag:NAME`: the tag is the unit of every field. `auto`: a measurement that is a known unit
    beside the tag `entity_id`, else a tag `unit` with a known unit, both for `VALUE_FIELD`. `none`: nowhere.
    """

    def __init__(self, text: str) -> None:
        """Read a rule. Raises ValueError."""
        self.text = text
        word, colon, tag = text.partition(":")
        if not (text in {"auto", "none", "measurement"} or (word == "tag" and colon and tag)):
            raise ValueError(f"{text!r} is none of auto, none, measurement and tag:NAME")
        self._tag = tag

    def unit_of(self, measurement: str, tags: Tags, field: str) -> str:
        """Return the unit of a line's field, or "" if the line names none that can be kept."""
        unit = ""
        if self._tag:
            unit = tags.get(self._tag, "")
        elif field == VALUE_FIELD and self.text == "measurement":
            unit = measurement
        elif field == VALUE_FIELD and self.text == "auto":
            unit = measurement if "entity_id" in tags else tags.get("unit", "")
            unit = unit if is_known_unit(unit) else ""
        return "" if unit_problem(unit) else unit


def _without_separator(before: Pieces, after: Pieces) -> Pieces:
    """Join the pieces around a field, less the separator before it, or after it at the beginning."""
    if before:
        name, literal = before[-1]
        cut = (name, literal[:-1] if literal[-1:] in _SEPARATORS else literal)
        return [*before[:-1], cut, *after]
    if after:
        name, literal = after[0]
        return [(name, literal[1:] if literal[:1] in _SEPARATORS else literal), *after[1:]]
    return []


def _quoted(text: str) -> str:
    """Escape the characters that separate tags in a metric's name."""
    return text if text.isalnum() else text.translate(_ESCAPES)
