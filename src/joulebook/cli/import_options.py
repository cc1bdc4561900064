"""Reads the words behind `joulebook import --map`."""

from __future__ import annotations

from collections.abc import Iterable

from joulebook.telemetry.files.profile import Target
from joulebook.telemetry.readings import metric_name_problem

MOST_UNIT_CHARACTERS = 32


class UnusableOption(Exception):
    """A word of the command line says nothing that can be done; the message shows how it is written."""


def mapping_from(words: Iterable[str]) -> dict[str, Target | None]:
    """Return the targets by column of words `COLUMN=METRIC[:UNIT]`; None for `COLUMN=`, which leaves it out.

    The last `=` ends the column's name and the last `:` begins the unit, so `a=b:c:` is the metric `b:c`.
    """
    mapping: dict[str, Target | None] = {}
    for word in words:
        column, equals, target = word.rpartition("=")
        if not equals or not column.strip():
            raise UnusableOption(f"--map {word!r} must be COLUMN=METRIC, COLUMN=METRIC:UNIT, or COLUMN=")
        if column in mapping:
            raise UnusableOption(f"--map {word!r}: the column {column!r} is mapped twice")
        mapping[column] = _target(word, target.strip()) if target.strip() else None
    return mapping


def _target(word: str, text: str) -> Target:
    metric, colon, unit = text.rpartition(":")
    if not colon:
        metric, unit = text, ""
    metric, unit = metric.strip(), unit.strip()
    if problem := metric_name_problem(metric):
        raise UnusableOption(f"--map {word!r}: {problem}")
    if len(unit) > MOST_UNIT_CHARACTERS or not unit.isprintable():
        raise UnusableOption(
            f"--map {word!r}: a unit has at most {MOST_UNIT_CHARACTERS} printable characters"
        )
    return Target(metric, unit)
