"""The series of a long file: entries of the values by key and value column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.csv_format import unguarded
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.settings import KindWord
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.readings import METRIC_NAME_LENGTH, metric_name_problem

MOST_SERIES = 4096
"""Most entries added to the values by a file's keys; the rows of further keys are rejected."""

KEY_LIMIT = "key_limit"
KEY_MISSING = "key_missing"
NO_SERIES, REFUSED = -1, -2
KEY_MARK = "\x1f"


def metric_of(key: Sequence[str], column: str) -> str:
    """Return the metric of a key's series; `column` is empty if each key has one series.

    A name too long for a metric is cut, and what cannot be shown becomes a blank: a person sees it before
    anything is stored.
    """
    name = " ".join(unguarded(part) for part in (column, *key) if part)
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    return shown[:METRIC_NAME_LENGTH].strip()


def kind_of(text: str) -> KindWord:
    """Return the kind named by a cell, "" for any other text."""
    return cast("KindWord", text) if text in KINDS else ""


class SeriesTable:
    """Finds the entry of the values by key and value column, and adds entries for new keys."""

    def __init__(self, profile: ImportProfile, value_columns: Sequence[str]) -> None:
        """Set the profile and the value columns; each key has a series for each of them."""
        self.values = list(profile.values)
        self._given = len(self.values)
        self.columns = list(value_columns)
        self._index = {(value.column, value.key): at for at, value in enumerate(self.values)}
        self._metrics = {value.metric for value in self.values}
        self._ignored = set(profile.ignored_keys)
        self._takes_new = profile.new_keys == "import" and bool(profile.key_columns)

    @property
    def added(self) -> tuple[ValueColumn, ...]:
        """The entries added to those of the profile."""
        return tuple(self.values[self._given :])

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Add the entries returned by `as_json`."""
        for column, key, metric, unit, *kind in state:
            self._add(str(column), tuple(map(str, key)), str(metric), str(unit), kind_of("".join(kind)))

    def as_json(self) -> list[list[Any]]:
        """Return the added entries as JSON."""
        return [[v.column, list(v.key), v.metric, v.unit, v.kind] for v in self.added]

    def entries(self, key: pl.Series, unit: pl.Series, kind: pl.Series) -> NDArray[np.int64]:
        """Return for each row (first axis) and value column the index of its entry.

        It is `NO_SERIES` for a key left out, and `REFUSED` for a key that cannot become a metric.
        """
        if not len(key):
            return np.empty((0, len(self.columns)), np.int64)
        known = pl.DataFrame({"key": key, "unit": unit, "kind": kind})
        known = known.unique("key", keep="first", maintain_order=True)
        rows: list[list[int]] = []
        for text, unit_text, kind_text in known.iter_rows():
            parts = tuple(text.split(KEY_MARK)) if text else ()
            if " ".join(parts) in self._ignored:
                rows.append([NO_SERIES] * len(self.columns))
            else:
                rows.append(
                    [self._entry(column, parts, unit_text, kind_of(kind_text)) for column in self.columns]
                )
        table = np.array(rows, np.int64)
        order = pl.Series(range(len(known)), dtype=pl.Int64)
        code = key.replace_strict(known["key"], order, return_dtype=pl.Int64).to_numpy()
        entries: NDArray[np.int64] = table.reshape(len(known), len(self.columns))[code]
        return entries

    def _entry(self, column: str, key: tuple[str, ...], unit: str, kind: KindWord) -> int:
        found = self._index.get((column, key))
        if found is not None or not self._takes_new:
            return NO_SERIES if found is None else found
        name = metric_of(key, column if len(self.columns) > 1 else "")
        number = 2
        metric = name
        while metric in self._metrics:
            mark = f"_{number}"
            metric, number = name[: METRIC_NAME_LENGTH - len(mark)] + mark, number + 1
        if metric_name_problem(metric) or len(self.values) - self._given >= MOST_SERIES:
            return REFUSED
        return self._add(column, key, metric, unit, kind)

    def _add(self, column: str, key: tuple[str, ...], metric: str, unit: str, kind: KindWord) -> int:
        self.values.append(ValueColumn(column, metric, unit, key, kind=kind, cell_unit=unit))
        self._metrics.add(metric)
        self._index[column, key] = len(self.values) - 1
        return len(self.values) - 1
