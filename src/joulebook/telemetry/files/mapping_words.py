"""Reads the words that map columns to metrics: `COLUMN=METRIC[:UNIT]`, as people write them."""

from __future__ import annotations

from collections.abc import Iterable

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.files.profile import Target
from joulebook.telemetry.readings import metric_name_problem

MOST_UNIT_CHARACTERS = 32


def mapping_from(words: Iterable[str]) -> dict[str, Target | None]:
    """Return the targets by column of words `COLUMN=METRIC[:UNIT]`; None for `COLUMN=`, which leaves it out.

    The last `=` ends the column's name and the last `:` begins the unit, so `a=b:c:` is the metric `b:c`.
    Raises `UnusableProfile` that shows the word and how it is written.
    """
    mapping: dict[str, Target | None] = {}
    for word in words:
        shown = word[:200]
        column, equals, target = word.rpartition("=")
        if not equals or not column.strip():
            raise _unusable(" must be COLUMN=METRIC, COLUMN=METRIC:UNIT, or COLUMN=", shown)
        if column in mapping:
            raise _unusable(": the column {1!r} is mapped twice", shown, column[:200])
        mapping[column] = _target(shown, target.strip()) if target.strip() else None
    return mapping


def mapping_word(column: str, target: Target | None) -> str:
    """Return the word that `mapping_from` takes for this; a factor and a device have none."""
    if target is None:
        return f"{column}="
    unit = f":{target.unit}" if target.unit or ":" in target.metric else ""
    return f"{column}={target.metric}{unit}"


def _target(shown: str, text: str) -> Target:
    metric, colon, unit = text.rpartition(":")
    if not colon:
        metric, unit = text, ""
    metric, unit = metric.strip(), unit.strip()
    if problem := metric_name_problem(metric):
        raise _unusable(": {1}", shown, problem)
    if len(unit) > MOST_UNIT_CHARACTERS or not unit.isprintable():
        raise _unusable(": a unit has at most {1} printable characters", shown, MOST_UNIT_CHARACTERS)
    return Target(metric, unit)


def _unusable(problem: str, *arguments: object) -> UnusableProfile:
    return UnusableProfile(Message("{mapping:{0!r}}" + problem, *arguments), setting="mapping")
