"""The metric that docs/reference/ingest.md promises for a measurement, a field and tags, written down anew."""

from __future__ import annotations

import re
from collections.abc import Mapping


def metric_of(measurement: str, field: str, tags: Mapping[str, str]) -> str:
    """Return the metric's name, where no tag names a device."""
    suffix = ",".join(f"{_escaped(key)}={_escaped(value)}" for key, value in sorted(tags.items()))
    name = measurement if field == "value" else f"{measurement}.{field}"
    return f"{name}{{{suffix}}}" if suffix else name


def _escaped(text: str) -> str:
    return re.sub(r"([\\,={}])", r"\\\1", text)
