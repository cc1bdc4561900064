"""Recognizes a CSV file exported by Joulebook: it is read back exactly, without a guess."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from joulebook.telemetry.csv_format import header, unguarded
from joulebook.telemetry.files.guess.columns import column_names
from joulebook.telemetry.files.guess.questions import ReadingSetting
from joulebook.telemetry.files.profile import Given, ImportProfile, Target, ValueColumn

TIME_FORMATS = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z")
_LONG = ["time", "metric", "value"]
_SAMPLE_ROWS = 20_000


@dataclass(frozen=True)
class OwnExport:
    """How an exported file is read: as a `FileLayout`'s parts."""

    profile: ImportProfile
    columns: tuple[str, ...]
    settings: tuple[ReadingSetting, ...]


def own_export(head: bytes, given: Given) -> OwnExport | None:
    """Return how to read the file beginning with `head`, or None if Joulebook did not export it.

    It is also None if more than a mapping was given, or a mapping that does not fit: then the guess reads
    the file, or says why it cannot.
    """
    if given != Given(mapping=given.mapping) or not head.startswith(b'"time",'):
        return None
    try:
        lines = head[: head.rfind(b"\n") + 1].decode().split("\n")
    except UnicodeDecodeError:
        return None
    names = next(csv.reader(lines[:1]))
    if names == _LONG and lines[0] == header(names, [True, True, False]):
        keys = dict.fromkeys(row[1] for row in islice(csv.reader(lines[1:]), _SAMPLE_ROWS) if len(row) == 3)
        values = _targets([ValueColumn("value", unguarded(key), key=(key,)) for key in keys], given)
        return _found(names, values, key_columns=("metric",))
    if lines[0] != header(names, [True, *[False] * (len(names) - 1)]):
        return None
    columns = column_names(names)
    wide = zip(columns[1:], names[1:], strict=True)
    return _found(columns, _targets([ValueColumn(column, unguarded(name)) for column, name in wide], given))


def _targets(values: Sequence[ValueColumn], given: Given) -> list[ValueColumn] | None:
    """Return the values under the given names; None if the file lacks one of them, or two are equal."""
    if not given.mapping.keys() <= {value.metric for value in values}:
        return None
    found = []
    for value in values:
        target = given.mapping.get(value.metric, Target(value.metric))
        if target is not None:
            found.append(
                ValueColumn(value.column, target.metric, target.unit, value.key, target.factor, target.device)
            )
    return found if len({(value.device, value.metric) for value in found}) == len(found) else None


def _found(
    columns: Sequence[str],
    values: list[ValueColumn] | None,
    *,
    key_columns: tuple[str, ...] = (),
) -> OwnExport | None:
    if not values:
        return None
    profile = ImportProfile(
        time_columns=("time",),
        time_formats=TIME_FORMATS,
        values=tuple(values),
        layout="long" if key_columns else "wide",
        key_columns=key_columns,
        na_values=(),
    )
    words = f"{profile.layout}, as Joulebook exports"
    return OwnExport(profile, tuple(columns), (ReadingSetting("layout", words, "found: by its header"),))
