"""Finds the key of a long file: the columns that tell rows of the same instant apart, such as a register.

Instants are compared, not local times: the hour repeated in autumn neither makes a key nor hides one. A
column of the sample's `cells` is called `c0`, `c1`, … by its position.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message
from joulebook.telemetry.files.guess.columns import find_column
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.times import time_shape
from joulebook.telemetry.files.guess.units import is_unit
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.row_times import OK, RowTimes
from joulebook.telemetry.files.series_table import KEY_MARK
from joulebook.telemetry.files.table import BLANKS

_MANY_REPEATS = 0.1
"""Share of rows with the instant of an earlier row; from here on a key is looked for."""

_FEW_REPEATS = 0.02
"""Share of rows with the instant and key of an earlier row; from here down the key is complete."""

MOST_KEYS = 2000

_KEY_NAME = re.compile(
    r"(?i)(?:^|[\W_\d])(?:id|key|type|typ|kind|art|channel|kanal|register|period|sensor|meter|zähler|obis|name|tags?"
    r"|item|field|entity|metric|quantity|parameter|variable|series|code|device|node|phase|direction|point)"
    r"(?:$|[\W_\d])|Id$|ID$"
)
"""Names of columns that say what a row is about."""

_MOSTLY = 0.9

FAR = 4_102_444_800_000_000
"""The year 2100, in place of the present: what a guess says does not depend on the day."""


def find_key_positions(sample: Sample) -> tuple[int, ...]:
    """Return the positions of a long file's key columns, given or guessed; none for a wide file.

    If the times look like those of several series but no key is clear, this adds a question for it. Raises
    `UnusableProfile` for a given column that is not in the file.
    """
    given = sample.given
    rows = KeyedRows(sample)
    sample.is_plain_series = rows.are_plain_series
    sample.begins_anew = not sample.is_whole and rows.begin_anew()
    if given.key_columns or (given.layout == "wide" and not sample.hours):
        return tuple(
            sample.columns.index(find_column(name, sample.columns, setting="key_columns"))
            for name in given.key_columns
            if name
        )
    positions = _guess_key_positions(rows)
    if positions or sample.hours or given.layout is not None:
        return positions
    if given.repeats is None:
        _ask_for_key(rows)
    return _find_constant_names(sample)


class KeyedRows:
    """The rows of a sample with a time, and how often their instants repeat with and without a key."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self._text = sample.time_text
        time, code, doubled = self._instants(None)
        self._has_doubled_hour = bool(sum(doubled))
        self._original = pl.Series(np.flatnonzero(code == OK))
        self.frame = sample.cells.with_columns(time=time).filter(pl.Series(code == OK))
        distinct = self.frame["time"].n_unique()
        self.are_plain_series = not sample.hours and distinct == len(sample.cells)
        """Whether every row has a time, and no instant repeats."""
        if distinct < len(self.frame):
            # Of rows equal in every cell only one counts.
            columns = self.frame.columns
            kept = self.frame.with_row_index("row").unique(columns, keep="first", maintain_order=True)
            self.frame = kept.drop("row")
            self._original = self._original.gather(kept["row"])

    def _instants(self, key: pl.Series | None) -> tuple[NDArray[np.int64], NDArray[np.int8], tuple[int, int]]:
        """Return the instants of all rows of the sample, with a clock for each key."""
        sample = self.sample
        profile = ImportProfile(
            time_columns=sample.time_columns,
            time_formats=sample.time_formats,
            values=(),
            tz=sample.tz,
            doubled_hour=sample.given.doubled_hour or "order",
            missing_hour="shift",
        )
        times = RowTimes(profile, now=FAR)
        if sample.hours:
            return (*times.dates(self._text), (0, 0))
        return times.read(self._text, key)

    def begin_anew(self) -> bool:
        """Return whether the times mostly rise, or mostly fall, and then go back over much of their range."""
        time = self.frame["time"].to_numpy()
        steps = np.diff(time)
        if len(steps) < 3:
            return False
        if (steps < 0).mean() > _MOSTLY:
            time, steps = -time, -steps
        passed = np.maximum.accumulate(time)[:-1] - time[0]
        is_far = (steps < 0) & (-steps > passed / 2)
        return bool((steps > 0).mean() > _MOSTLY and is_far.any())

    def repeats(self, columns: Sequence[str]) -> int:
        """Return the number of rows with the instant, and the cells of these columns, of an earlier row."""
        check_budget()
        frame = self.frame
        if columns and self._has_doubled_hour and not self.sample.hours:
            key = joined_key(self.sample.cells, columns)
            time, _, _ = self._instants(key)
            frame = frame.with_columns(time=pl.Series(time).gather(self._original))
        return len(frame) - len(frame.select(["time", *columns]).unique())

    def candidates(self, *, least: int = 1, only_text: bool = False) -> list[str]:
        """Return the possible key columns: filled, with few different values, each in `least` rows or more.

        They are columns of text but not of times, then of whole numbers of like length unless `only_text`.
        """
        text: list[str] = []
        whole_numbers: list[str] = []
        for name in self.frame.columns:
            if name == "time" or int(name[1:]) in self.sample.taken:
                continue
            column = self.frame[name].str.strip_chars(BLANKS)
            words = column.unique()
            most = max(2, min(MOST_KEYS, len(column) // (3 * least)))
            if not 2 <= len(words) <= most or int((column == "").sum()) > 0.05 * len(column):
                continue
            (parsed,) = self.sample.numbers.parse([column])
            if len(parsed.malformed) > len(column) // 2:
                shapes = sum(time_shape(word) is not None for word in words.head(100).to_list())
                if shapes < _MOSTLY * min(100, len(words)):
                    text.append(name)
            elif bool(column.str.contains("^[0-9]+$").all()) and column.str.len_chars().n_unique() <= 2:
                whole_numbers.append(name)
        return text if only_text else text + whole_numbers

    def has_even_steps(self, name: str) -> bool:
        """Return whether the rows of each word of a column advance evenly, as those of one series do."""
        times = self.frame.select(word=pl.col(name).str.strip_chars(BLANKS), time="time")
        steps = [
            group["time"].unique().sort().diff().drop_nulls()
            for _, group in times.group_by("word")
            if len(group) > 2
        ]
        return bool(steps) and all(
            len(step) and int((step == step.mode()[0]).sum()) >= _MOSTLY * len(step) for step in steps
        )


def joined_key(cells: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Return the stripped cells of key columns as one text a row."""
    parts = [pl.col(name).str.strip_chars(BLANKS) for name in columns]
    return cells.select(pl.concat_str(parts, separator=KEY_MARK).alias("key")).to_series()


def _guess_key_positions(rows: KeyedRows) -> tuple[int, ...]:
    """Return the columns that tell rows with the same instant apart; none if no key is clear."""
    count, repeats = len(rows.frame), rows.repeats(())
    if count < 4 or not repeats:
        return ()
    candidates = rows.candidates()
    if repeats < _MANY_REPEATS * count:
        # Too few to need a key, unless a column with such a name explains each of them.
        named = [name for name in candidates if _KEY_NAME.search(rows.sample.columns[int(name[1:])])]
        clear = [name for name in named if not rows.repeats([name]) and rows.has_even_steps(name)]
        return (int(clear[0][1:]),) if clear else ()
    chosen: list[str] = []
    while repeats > _FEW_REPEATS * count and candidates:
        repeats_with = {name: rows.repeats([*chosen, name]) for name in candidates}
        order = {name: (repeats_with[name], at) for at, name in enumerate(candidates)}
        best = min(candidates, key=order.__getitem__)
        if repeats_with[best] > repeats // 2:
            break
        chosen.append(best)
        candidates.remove(best)
        repeats = repeats_with[best]
    return tuple(int(name[1:]) for name in chosen)


_GENERAL_NAME = re.compile(
    r"(?i)_?(?:state|values?|val|readings?|wert|messwert|mean|measurement|valeur|valor|waarde|number|zahl)"
)
_MOST_ROWS = 2000


def is_general_name(name: str) -> bool:
    """Return whether a column's name says nothing about what its values are."""
    return _GENERAL_NAME.fullmatch(name.strip()) is not None


def _find_constant_names(sample: Sample) -> tuple[int, ...]:
    """Return the columns that name the one sensor of a file, whose only value is called `value` or so.

    Without them the files of all sensors would store their readings in one metric.
    """
    if not any(is_general_name(name) for name in sample.columns):
        return ()
    left = [position for position in range(len(sample.columns)) if position not in sample.taken]
    cells = [sample.cells[f"c{position}"].str.strip_chars(BLANKS) for position in left]
    parsed = sample.numbers.parse([column.head(_MOST_ROWS) for column in cells])
    valued = [at for at, numbers in zip(left, parsed, strict=True) if not np.isnan(numbers.value).all()]
    if len(valued) != 1 or not is_general_name(sample.columns[valued[0]]):
        return ()
    return tuple(
        position
        for position, column in zip(left, cells, strict=True)
        if position not in valued
        and _KEY_NAME.search(sample.columns[position])
        and column.n_unique() == 1
        and column[0]
        and not is_unit(column[0])
    )


def _ask_for_key(rows: KeyedRows) -> None:
    """Ask whether a column names the series of each row, if the times look like those of several series.

    The times of several sensors, listed one after the other, have no common step, or step back only in rows
    where the word in such a column changes.
    """
    sample = rows.sample
    steps = np.diff(rows.frame["time"].to_numpy())
    if len(steps) < 3:
        return
    back = steps < 0
    if not back.any() and np.unique(steps, return_counts=True)[1].max() >= len(steps) / 2:
        return
    for column in rows.candidates(least=3, only_text=True):
        words = rows.frame[column].str.strip_chars(BLANKS)
        changes = (words != words.shift(1))[1:].fill_null(value=False).to_numpy()
        if back.any() and not changes[back].all():
            continue
        name = sample.columns[int(column[1:])]
        listed = rows.frame[column].unique(maintain_order=True).head(3).to_list()
        sample.ask(
            Question(
                "key_columns",
                f"the times are uneven, and column {name!r} holds words such as "
                f"{', '.join(map(repr, listed))}: does it say what each row measures?",
                Message(
                    " say so with {key_columns:{0!r}}, or that all rows are of one kind with {layout:wide}",
                    name,
                ),
                (
                    Answer(f"each word of {name!r} is a series of its own", {"key_columns": (name,)}),
                    Answer("all rows are of one kind", {"layout": "wide"}),
                ),
            )
        )
        return
