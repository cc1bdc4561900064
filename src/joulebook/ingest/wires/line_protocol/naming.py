"""Which device and which metric does a line write for? The rule, set once for an installation.

InfluxDB keeps two points apart by measurement, tags and field; here a series is a device and a metric.
By default everything that told them apart is kept in the metric's name. The rule is described in
docs/reference/ingest.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from joulebook.config import ConfigError
from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.wires.line_protocol.syntax import BadLine

DEVICE_TAGS = "device_id!,device,host"
METRIC = "{measurement}.{field}{tags}"

VALUE_FIELD = "value"
"""The field that is not named: its metric is the rest of the pattern."""

_ESCAPES = str.maketrans({odd: f"\\{odd}" for odd in "\\,={}"})
_PIECE = re.compile(r"\{([^{}]+)\}|([^{}]+)")
_SEPARATORS = tuple("._-/:")

Tags = dict[str, str]
Pieces = Sequence[tuple[str, str]]
"""Parts of a pattern: (name of a place, "") or ("", text)."""


@dataclass(frozen=True)
class DeviceTag:
    """A tag that may name a device; with `strict` a value that names none of the token's is refused."""

    name: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Names:
    """The metrics of a line: what stands around a field's name, and the metric of `VALUE_FIELD`."""

    before: str
    after: str
    alone: str

    def metric(self, field: str) -> str:
        """Return the metric of a field."""
        return self.alone if field == VALUE_FIELD else self.before + field + self.after


class Pattern:
    """A metric's name with places for the measurement, the field, tags, and the tags that are left."""

    def __init__(self, text: str, refuse: Callable[[str], NoReturn]) -> None:
        """Read a pattern; call `refuse` with what is wrong with it."""
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
        """Tell whether a line has all the tags that the pattern names."""
        return self._named <= tags.keys()

    def names(self, measurement: str, tags: Tags, device_tag: str | None) -> Names:
        """Return the metrics' names; the tag that named the device is none of the tags that are left."""
        left = sorted(key for key in tags if key not in self._named and key != device_tag)
        suffix = ",".join(f"{_quoted(key)}={_quoted(tags[key])}" for key in left)
        places = {**tags, "measurement": measurement, "tags": f"{{{suffix}}}" if suffix else "", "field": ""}
        values = [places[name] for name in self._places]
        before, after = self._before.format(*values), self._after.format(*values)
        alone = before + VALUE_FIELD + after if self._nameless else self._alone.format(*values)
        return Names(before, after, alone)

    def _template(self, pieces: Pieces) -> str:
        """Return pieces as `str.format` takes them, with places by number: names may hold anything."""
        return "".join(f"{{{self._places.index(name)}}}" if name else literal for name, literal in pieces)


class LineNaming:
    """The rule of one installation: which tags name the device, and how metrics are named."""

    def __init__(self, *, device_tags: str = DEVICE_TAGS, metric: str = METRIC) -> None:
        """Read both settings; raises `ConfigError` for what cannot be understood.

        `device_tags` are names with commas between them, tried in turn, a strict one with `!` at its end.
        `metric` is one pattern or several with blanks between them: the first for which a line has the
        tags names its metrics, and the default where none of them does.
        """
        self._device_tags = tuple(_device_tag(text, device_tags) for text in device_tags.split(","))

        def refuse(message: str) -> NoReturn:
            raise ConfigError(f"JOULEBOOK_LINE_PROTOCOL_METRIC={metric!r}: {message}")

        self._patterns = [Pattern(text, refuse) for text in (*metric.split(), METRIC)]

    def device_of(self, tags: Tags, grant: Grant) -> tuple[str, str | None]:
        """Return the device that a line writes for and the tag that named it. Raises `BadLine`."""
        for tag in self._device_tags:
            device_id = tags.get(tag.name)
            if device_id in grant.devices:
                return device_id, tag.name
            if device_id is not None and tag.strict:
                message = f"this token may not write for device {device_id[:80]!r} (tag {tag.name})"
                raise BadLine("device_not_allowed", message)
        if grant.device_id is None:
            raise BadLine("device_not_allowed", self._nobody(tags))
        return grant.device_id, None

    def pattern_for(self, tags: Tags) -> Pattern:
        """Return the pattern that names the metrics of a line with these tags."""
        return next(pattern for pattern in self._patterns if pattern.fits(tags))

    def _nobody(self, tags: Tags) -> str:
        names = [tag.name for tag in self._device_tags]
        found = [f"{name} {tags[name][:80]!r}" for name in names if name in tags]
        where = f"{_listed(found, 'and')} names none of them" if found else "there is none"
        return f"this token writes for several devices; name one in the tag {_listed(names, 'or')} ({where})"


def _device_tag(text: str, setting: str) -> DeviceTag:
    name = text.strip().removesuffix("!")
    if not name or "!" in name:
        raise ConfigError(
            f"JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS={setting!r} is no list of tags such as {DEVICE_TAGS!r}"
        )
    return DeviceTag(name, strict=text.strip().endswith("!"))


def _without_separator(before: Pieces, after: Pieces) -> Pieces:
    """Join what stands around a field, without the separator before it, or at the beginning after it."""
    if before:
        name, literal = before[-1]
        cut = (name, literal[:-1] if literal[-1:] in _SEPARATORS else literal)
        return [*before[:-1], cut, *after]
    if after:
        name, literal = after[0]
        return [(name, literal[1:] if literal[:1] in _SEPARATORS else literal), *after[1:]]
    return []


def _quoted(text: str) -> str:
    """Escape what would make the tags in one metric's name look like others."""
    return text if text.isalnum() else text.translate(_ESCAPES)


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
