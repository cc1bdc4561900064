"""Maps the lines of an installation to devices and metrics.

InfluxDB identifies a point by measurement, tags and field; here a series is a device and a metric. By default
the metric's name contains all of them. docs/reference/ingest.md describes the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from joulebook.config import ConfigError
from joulebook.ingest.access.tokens import Grant
from joulebook.telemetry.line_protocol.naming import METRIC, Pattern, Tags, UnitRule
from joulebook.telemetry.line_protocol.syntax import BadLine

DEVICE_TAGS = "device_id!,device,host"
UNIT = "auto"


@dataclass(frozen=True)
class DeviceTag:
    """A tag naming a device; with `strict` a value outside the token's devices is refused."""

    name: str
    strict: bool


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


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
