"""Finds the columns that say what a row's value measures: the key of long files, and its unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.guess.units import is_unit
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.table import BLANKS

_MANY = 0.1
_FEW = 0.02
_MOST_KEYS = 2000


@dataclass(frozen=True)
class Keys:
    """Positions of the key columns and of the unit's, and the keys (with a unit each) in the file's order."""

    positions: tuple[int, ...]
    unit_position: int | None
    keys: tuple[tuple[tuple[str, ...], str], ...]


def guess_key_positions(
    cells: pl.DataFrame, times: pl.Series, taken: Sequence[int], numbers: NumberFormat
) -> tuple[int, ...]:
    """Return the fewest columns with which each time stands once; empty where times do so by themselves.

    Rows that repeat another in every cell do not count. `taken` are the positions of the time columns.
    """
    frame = cells.with_columns(times.alias("time")).filter(pl.col("time") != "").unique(maintain_order=True)
    rows = len(frame)
    left = _repeats(frame, ["time"])
    if rows < 4 or left < _MANY * rows:
        return ()
    candidates = _candidates(frame, taken, numbers)
    chosen: list[str] = []
    while left > _FEW * rows and candidates:
        after = {name: _repeats(frame, ["time", *chosen, name]) for name in candidates}
        best = min(candidates, key=lambda name: (after[name], frame[name].n_unique()))
        if after[best] > left // 2:
            break
        chosen.append(best)
        candidates.remove(best)
        left = after[best]
    return tuple(int(name[1:]) for name in chosen)


def possible_key(
    cells: pl.DataFrame, wall: NDArray[np.int64], taken: Sequence[int], numbers: NumberFormat
) -> int | None:
    """Return a column that may tell series apart although no time stands twice; None where none does.

    It is a column of a few words in a file whose times do not run on evenly: they step back where the
    word changes, or follow no rhythm, as the times of several sensors do that are listed one by one.
    """
    steps = np.diff(wall)
    if len(steps) < 3 or not (back := steps < 0).any():
        even = len(steps) >= 3 and np.unique(steps, return_counts=True)[1].max() >= len(steps) / 2
        if len(steps) < 3 or even:
            return None
    for name in _candidates(
        cells.with_columns(pl.lit("").alias("time")), taken, numbers, least=3, only_text=True
    ):
        words = cells[name].str.strip_chars(BLANKS)
        changes = (words != words.shift(1))[1:].fill_null(value=False).to_numpy()
        if not back.any() or changes[back].all():
            return int(name[1:])
    return None


def read_keys(cells: pl.DataFrame, positions: Sequence[int], taken: Sequence[int]) -> Keys:
    """Return the keys of a long file with their units."""
    names = [f"c{position}" for position in positions]
    stripped = cells.select(pl.all().str.strip_chars(BLANKS))
    unit = _unit_column(stripped, names, taken)
    columns = [*names, *([unit] if unit else [])]
    found = stripped.select(columns).unique(names, keep="first", maintain_order=True)
    keys = [
        (tuple(row[: len(names)]), row[-1] if unit else "")
        for row in found.iter_rows()
        if any(row[: len(names)])
    ]
    return Keys(tuple(positions), None if unit is None else int(unit[1:]), tuple(keys[:_MOST_KEYS]))


def _repeats(frame: pl.DataFrame, names: Sequence[str]) -> int:
    return len(frame) - len(frame.select(names).unique())


def _candidates(
    frame: pl.DataFrame,
    taken: Sequence[int],
    numbers: NumberFormat,
    *,
    least: int = 1,
    only_text: bool = False,
) -> list[str]:
    """Return the columns that can be keys: filled, not too various, and text unless there is none."""
    text: list[str] = []
    whole: list[str] = []
    for name in frame.columns:
        if name == "time" or int(name[1:]) in taken:
            continue
        column = frame[name].str.strip_chars(BLANKS)
        distinct = column.n_unique()
        most = max(2, min(_MOST_KEYS, len(frame) // (3 * least)))
        if not 2 <= distinct <= most or int((column == "").sum()) > 0.05 * len(column):
            continue
        (parsed,) = numbers.parse([column])
        if len(parsed.malformed) > len(column) // 2:
            text.append(name)
        elif bool(column.str.contains("^[0-9]+$").all()) and column.str.len_chars().n_unique() <= 2:
            whole.append(name)
    return text or ([] if only_text else whole)


def _unit_column(cells: pl.DataFrame, keys: Sequence[str], taken: Sequence[int]) -> str | None:
    """Return the column whose cells are all units, and one unit a key."""
    for name in cells.columns:
        if name in keys or int(name[1:]) in taken:
            continue
        words = cells[name].unique()
        if 0 < len(words) <= 20 and all(is_unit(word) for word in words):
            pairs = len(cells.select([*keys, name]).unique())
            if pairs == len(cells.select(keys).unique()):
                return name
    return None
