"""Maps the lines of an installation to devices and metrics.

InfluxDB identifies a point by measurement, tags and field; here a series is a device and a metric. By default
the metric's name contains all of them. docs/reference/ingest.md describes the rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from joulebook.config import ConfigError
from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.wires.line_protocol.syntax import BadLine
from joulebook.telemetry.kinds.units import is_known_unit, unit_problem

DEVICE_TAGS = "device_id!,device,host"
METRIC = "{measurement}.{field}{tags}"
UNIT = "auto"

VALUE_FIELD = "value"
"""The field without a name of its own: its metric is the rest of the pattern."""

_ESCAPES = str.maketrans({odd: f"\\{odd}" for odd in "\\,={}"})
_PIECE = re.compile(r"\{([^{}]+)\}|([^{}]+)")
_SEPARATORS = tuple("._-/:")

Tags = dict[str, str]
Pieces = Sequence[tuple[str, str]]
"""Parts of a pattern: (placeholder, "") or ("", text)."""


@dataclass(frozen=True)
class DeviceTag:
    """A tag naming a device; with `strict` a value outside the token's devices is refused."""

    name: str
    strict: bool


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


@lru_cache(maxsize=1024)
def _unit_rule(text: str) -> UnitRule:
    return UnitRule(text)


class LineNaming:
    """The naming of one installation: the tags naming a device, the patterns for metrics, and the units."""

    def __init__(self, *, device_tags: str = DEVICE_TAGS, metric: str = METRIC, unit: str = UNIT) -> None:
        """Read the settings. Raises `ConfigError`.

        `device_tags` are names separated by commas, tried in turn; a strict one ends with `!`. `metric` is
        one pattern, or several separated by blanks. The first pattern whose tags are all in a line names its
        metrics; if there is none, the default does. `unit` is a `UnitRule`.
        """
        try:
            self.unit_rule = UnitRule(unit)
        except ValueError as exc:
            raise ConfigError(f"JOULEBOOK_LINE_PROTOCOL_UNIT={exc}") from None
        self._device_tags: list[DeviceTag] = []
        for text in device_tags.split(","):
            name = text.strip().removesuffix("!")
            if not name or "!" in name:
                raise ConfigError(
                    f"JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS={device_tags!r} is no list of tags such as "
                    f"{DEVICE_TAGS!r}"
                )
            self._device_tags.append(DeviceTag(name, strict=text.strip().endswith("!")))

        def refuse(message: str) -> NoReturn:
            raise ConfigError(f"JOULEBOOK_LINE_PROTOCOL_METRIC={metric!r}: {message}")

        self._patterns = [Pattern(text, refuse) for text in (*metric.split(), METRIC)]

    def device_of(self, tags: Tags, grant: Grant) -> tuple[str, str | None]:
        """Return a line's device, and the tag naming it if there is one. Raises `BadLine`."""
        for tag in self._device_tags:
            device_id = tags.get(tag.name)
            if device_id in grant.devices:
                return device_id, tag.name
            if device_id is not None and tag.strict:
                message = f"this token may not write for device {device_id[:80]!r} (tag {tag.name})"
                raise BadLine("device_not_allowed", message)
        if grant.device_id is None:
            names = [tag.name for tag in self._device_tags]
            found = [f"{name} {tags[name][:80]!r}" for name in names if name in tags]
            where = f"{_listed(found, 'and')} names none of them" if found else "there is none"
            message = (
                f"this token writes for several devices; name one in the tag {_listed(names, 'or')} ({where})"
            )
            raise BadLine("device_not_allowed", message)
        return grant.device_id, None

    def unit_rule_for(self, grant: Grant) -> UnitRule:
        """Return the rule of a token, or else the installation's."""
        return _unit_rule(grant.line_unit) if grant.line_unit else self.unit_rule

    def pattern_for(self, tags: Tags) -> Pattern:
        """Return the pattern for the metrics of a line with these tags."""
        return next(pattern for pattern in self._patterns if pattern.fits(tags))


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


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
