"""The figures of a state: the share of time of each of its values, its changes, and the state now.

The values are numbers, truth values, texts or lists of texts (flags). A text is stored as a number, its code.
Of flags several may hold at once: each has a share of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection, one_snapshot
from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries, integrate
from joulebook.telemetry.history.columns import Column, Numbers, Wanted
from joulebook.telemetry.history.levels import LevelFigures
from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, MetricSettings, StateWord
from joulebook.telemetry.readings import DAY, HOUR, MICROSECONDS, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.reader import SummaryReader
from joulebook.telemetry.rollups.state import read_state
from joulebook.telemetry.rollups.summaries import Summaries
from joulebook.telemetry.texts import flags_of

MOST_STATES = 20
"""The most values of a state, or flags, with a share of their own in an answer."""

# Summaries with changes of a state are read reading by reading: a year of flicker would not fit in memory.
_MOST_CHANGING = 3_000_000


class ChangesTooOften(Exception):
    """A state changes so often in the requested time that its shares cannot be computed at once."""


@dataclass(frozen=True)
class StateShare:
    """The share of each bucket's known time with a state; NaN if nothing is known.

    `value` is its value, None for a flag; `text` is the flag, or the value's text if it has one.
    """

    value: float | None
    share: Numbers
    text: str = ""


@dataclass(frozen=True)
class StateShares:
    """The shares of a state's most frequent values or flags, in their order, and its changes by bucket.

    A change belongs to the bucket of the first reading with the new value.
    """

    states: Sequence[StateShare]
    changes: NDArray[np.int64]
    settings: MetricSettings

    @property
    def numbers(self) -> int:
        """The number of shares and changes."""
        return len(self.changes) + sum(len(each.share) for each in self.states)

    def scaled(self, factor: float, offset: float) -> StateShares:
        """Return the same shares of the scaled values."""
        scaled = [
            replace(each, value=None if each.value is None else each.value * factor + offset)
            for each in self.states
        ]
        return replace(self, states=scaled)

    def table(self) -> Sequence[tuple[str, NDArray[Any]]]:
        """Return a column `share of <word>` for each state, and one for the changes."""
        shares = [(f"share of {self._word(each).word}", each.share) for each in self.states]
        return [*shares, ("changes", self.changes)]

    def answer(self) -> Mapping[str, Any]:
        """Return a list of states with their shares, and the changes."""
        states = []
        for each in self.states:
            word = self._word(each)
            share = each.share.round(6)
            states.append({"value": each.value, "word": word.word, "colour": word.colour, "share": share})
        return {"states": states, "changes": self.changes}

    def _word(self, state: StateShare) -> StateWord:
        return self.settings.word_of(0.0 if state.value is None else state.value, text=state.text)


@dataclass(frozen=True)
class StateWords:
    """The words and colours of the values of raw readings."""

    values: Numbers
    texts: Mapping[float, str]
    settings: MetricSettings

    @property
    def numbers(self) -> int:
        """The number of values."""
        return len(self.values)

    def scaled(self, factor: float, offset: float) -> StateWords:
        """Return the words of the scaled values."""
        texts = {value * factor + offset: text for value, text in self.texts.items()}
        return replace(self, values=self.values * factor + offset, texts=texts)

    def table(self) -> Sequence[tuple[str, NDArray[Any]]]:
        """Return no column: a table of readings has their values."""
        return []

    def answer(self) -> Mapping[str, Any]:
        """Return a list of values with their words; a list of flags is one value."""
        states = []
        for value in self.values.tolist():
            text = self.texts.get(value, "")
            if text and self.settings.form == LISTS_OF_TEXTS:
                words = [self.settings.word_of(value, text=flag).word for flag in flags_of(text)]
                states.append(
                    {"value": value, "word": ", ".join(words) or "none", "colour": "", "flags": tuple(words)}
                )
                continue
            word = self.settings.word_of(value, text=text)
            states.append({"value": value, "word": word.word, "colour": word.colour})
        return {"states": states}


class StateFigures(LevelFigures):
    """A state has the share of time of each of its values, and its changes."""

    is_read_at_once = False
    least_numbers = LevelFigures.least_numbers + 1
    most_numbers = least_numbers + MOST_STATES

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets with the shares and the changes. Raises `ChangesTooOften`."""
        summaries = reader.read_series(wanted)
        mixed = summaries.rows["min"] != summaries.rows["max"]
        if summaries.rows["count"][mixed].sum() > _MOST_CHANGING:
            raise ChangesTooOften(wanted.metric)
        summaries = summaries.read_apart(mixed)
        rows, pieces, length = summaries.rows, reader.pieces(summaries), len(reader.window.edges) - 1
        covered = integrate(pieces, buckets=length).covered
        shares = []
        for value, text, values in _states_of(rows, wanted.settings, reader.texts(wanted)):
            is_mine = np.isin(pieces.level, values)
            time = np.bincount(pieces.bucket[is_mine], pieces.length[is_mine], length) / MICROSECONDS
            share = np.divide(time, covered, where=covered > 0, out=np.full(len(covered), np.nan))
            shares.append(StateShare(value, np.clip(share, 0.0, 1.0), text))
        changes = count_changes(rows, reader.window.clipped())
        return reader.column(wanted, rows, covered, more=StateShares(shares, changes, wanted.settings))

    def with_raw_figures(self, reader: BucketReader, column: Column) -> Column:
        """Return raw values with their words."""
        assert column.value is not None  # noqa: S101 - raw columns have values
        values = np.unique(column.value[~np.isnan(column.value)])
        texts = reader.texts(column.wanted)
        return replace(column, more=StateWords(values, texts, column.wanted.settings))


def _states_of(
    rows: Summaries, settings: MetricSettings, texts: Mapping[float, str]
) -> list[tuple[float | None, str, list[float]]]:
    """Return the most frequent states: value (None for a flag), text, and the stored values with it."""
    values, index = np.unique(rows["last"], return_inverse=True)
    readings = dict(zip(values.tolist(), np.bincount(index, rows["count"], len(values)), strict=True))
    found: list[tuple[float | None, str, list[float]]]
    if settings.form == LISTS_OF_TEXTS:
        of_flag: dict[str, list[float]] = {}
        for value in readings:
            for flag in flags_of(texts[value]) if value in texts else ():
                of_flag.setdefault(flag, []).append(value)
        found = [(None, flag, with_flag) for flag, with_flag in of_flag.items()]
    else:
        found = [(value, texts.get(value, ""), [value]) for value in readings]
    found.sort(key=lambda state: -sum(readings[value] for value in state[2]))
    return sorted(found[:MOST_STATES], key=lambda state: (state[0] or 0.0, state[1]))


def count_changes(rows: Summaries, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the changes in each bucket [edges[i], edges[i + 1]).

    `rows` are summaries of one series in the order of time, each with readings of one value. A summary with
    several values (its readings are past retention) counts as one change.
    """
    length = len(edges) - 1
    is_change = rows["min"] != rows["max"]
    is_change[1:] |= rows["first"][1:] != rows["last"][:-1]
    time = rows["first_at"][is_change]
    index = np.searchsorted(edges, time, side="right") - 1
    is_inside = (index >= 0) & (index < length)
    return np.bincount(index[is_inside], minlength=length).astype(np.int64)


@dataclass(frozen=True)
class CurrentState:
    """The newest reading of a state, at `time`, and since when all readings have had its value."""

    value: float
    time: datetime
    since: datetime


_NEWEST = """
SELECT time, value FROM readings WHERE series_id = %(series)s AND value <> 'NaN'
ORDER BY time DESC LIMIT 1
"""
_FIRST_SPAN = 6 * HOUR
_EARLIEST = -(100 * 366 * DAY)


def read_current_state(conn: Connection, series_id: int) -> CurrentState | None:
    """Return the newest state of a series, None without a reading.

    The readings before it are read in spans, each eight times as long as the one after it.
    """
    with one_snapshot(conn):
        row = conn.execute(_NEWEST, {"series": series_id}).fetchone()
        if row is None:
            return None
        time, value = cast("tuple[datetime, float]", row)
        state = read_state(conn)
        since = end = to_microseconds(time) + 1
        span = _FIRST_SPAN
        while end > _EARLIEST:
            start = (end - span) // HOUR * HOUR
            reader = SummaryReader(conn, np.array([start, end], np.int64), state)
            rows = reader.read([(series_id, start, end)])
            rows = reader.one_by_one(rows, _differs(rows, value))
            if (other := np.flatnonzero(_differs(rows, value))).size:
                same = rows[other[-1] + 1 :]
                since = int(same["first_at"][0]) if len(same) else since
                break
            since = int(rows["first_at"][0]) if len(rows) else since
            end, span = start, span * 8
    return CurrentState(value, time, from_microseconds(since))


def _differs(rows: Summaries, value: float) -> NDArray[np.bool_]:
    is_other: NDArray[np.bool_] = (rows["min"] != value) | (rows["max"] != value)
    return is_other
