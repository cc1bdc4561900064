"""Asks about rows that cannot all belong to one table: their instants repeat with another value.

The question names what the data suggest: a key, another column of the time, or a second table. A few such
rows are only counted by the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message
from joulebook.telemetry.files.guess.keys import FAR, KeyedRows
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.times import Kind, time_shape
from joulebook.telemetry.files.layouts import HEADER_REPEATED, OTHER_TABLE, LongParser, WideParser
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.repeats import RepeatWatch
from joulebook.telemetry.files.table import BLANKS, ParsedBlock, shown
from joulebook.telemetry.files.times import TimeFormat, parse_times

_FEWEST = 2
"""Fewer repeated rows without a likely cause are stray."""

_SHARE = 0.005
"""Share of repeated rows among all; fewer are stray."""

_MOST_STRAY = 50
"""More repeated rows than this are no strays, however long the file."""

_MOSTLY = 0.9
_SETTLED_BEFORE = {"key_columns", "time_columns", "time_formats", "header_line", "tz"}
"""Open decisions that may cause repeats themselves."""

_MOST_CAUSES = 3
_MOST_PROBLEMS = 1000


@dataclass(frozen=True)
class _Cause:
    """One likely cause of repeats: words for the question, and the answer that removes it, if one can."""

    words: str
    answer: Answer | None = None


def ask_about_repeats(sample: Sample, profile: ImportProfile) -> None:
    """Ask how rows are read whose instant repeats with another value, if they are more than strays."""
    if sample.given.repeats is not None:
        sample.note("repeats", "the first value of an instant", "", is_given=True)
        return
    if any(q.is_required and q.setting in _SETTLED_BEFORE for q in sample.questions):
        return
    if sample.is_plain_series:
        if sample.begins_anew and not profile.key_columns:
            _ask_about_beginning_anew(sample)
        return
    kind = WideParser if profile.layout == "wide" else LongParser
    check_budget()
    block = kind(profile, sample.columns, now=FAR, most_problems=_MOST_PROBLEMS).parse(sample.table)
    if _ask_about_tables(sample, block):
        return
    repeats = RepeatWatch().find(block)
    lines, at = np.unique(block.line[repeats.rows], return_index=True)
    if not len(lines):
        return
    causes = list(islice(_causes(sample, profile, block, lines), _MOST_CAUSES))
    many = max(1 if causes else _FEWEST, _SHARE * block.rows_imported)
    if len(lines) < many and len(lines) <= _MOST_STRAY and not any(c.answer is None for c in causes):
        return
    reading = int(repeats.rows[at[0]])
    first_line, first_value = int(repeats.first_line[at[0]]), float(repeats.first_value[at[0]])
    here, there = (
        f"line {line}" if line <= sample.last_line else "a later line" for line in (int(lines[0]), first_line)
    )
    guesses = " or ".join(cause.words for cause in causes) or "a column of the time, or another format"
    answers = [cause.answer for cause in causes if cause.answer is not None]
    sample.ask(
        Question(
            next(iter(answers[0].given)) if answers else "repeats",
            f"{len(lines):,} of {block.rows_imported:,} rows have the time of an earlier row and another "
            f"value: {here} has {float(block.value[reading])!r} where {there} has {first_value!r}. Was "
            f"{guesses} overlooked?",
            Message(
                " Name columns with {key_columns} or {time_columns}, the header of one table with "
                "{header_line}, the zone of the times with {tz}; or keep the first value of each time with "
                "{repeats:first}"
            ),
            (*answers, Answer("keep the first value of each time", {"repeats": "first"})),
        )
    )


def _ask_about_beginning_anew(sample: Sample) -> None:
    sample.ask(
        Question(
            "repeats",
            "the times of the file begin anew behind its first part: does a second table follow the first?",
            Message(
                " If one does, read one of them with {header_line}; if not, or to keep the "
                "first value of each time, say {repeats:first}"
            ),
            (Answer("keep the first value of each time", {"repeats": "first"}),),
        )
    )


def _ask_about_tables(sample: Sample, block: ParsedBlock) -> bool:
    """Ask which table is read, if another with times follows the file's first; return whether this asked."""
    others = [problem.line for problem in block.problems if problem.code == OTHER_TABLE]
    others = [line for line in others if line <= sample.last_line]
    if sample.given.header_line is not None or len(others) < _FEWEST:
        return False
    rows = np.searchsorted(sample.table.line, others[1:])
    if sum(time_shape(text) is not None for text in sample.time_text[rows].to_list()) < _FEWEST:
        return False
    first, second = sample.header_line or 0, others[0]
    names = shown(" ".join(filter(None, sample.table.cells.row(int(rows[0]) - 1))))
    sample.ask(
        Question(
            "header_line",
            f"line {second} begins another table ({names!r}), whose rows are left out",
            Message(
                "; read one table with {header_line:{0}} or {header_line:{1}}, and import the file again for "
                "the other",
                first,
                second,
            ),
            (
                Answer("read the first table", {"header_line": first}),
                Answer(f"read the table of line {second}", {"header_line": second}),
            ),
        )
    )
    return True


def _causes(
    sample: Sample, profile: ImportProfile, block: ParsedBlock, lines: NDArray[np.int64]
) -> Iterator[_Cause]:
    """Yield likely causes of the repeats in rows at these lines, the likeliest first."""
    if sample.given.tz is None and _is_hour_of_autumn(sample, lines):
        yield _Cause(f"the hour that clocks repeat in autumn, in another zone than {sample.tz},")
        return
    last = min(int(lines[0]), sample.last_line)
    again = [p.line for p in block.problems if p.code == HEADER_REPEATED and p.line < last]
    if again:
        line = again[-1]
        words = f"a second table from line {line} on"
        yield _Cause(words, Answer(f"read only the table of line {line}", {"header_line": line}))
        return
    rows = KeyedRows(sample)
    keys = [f"c{sample.columns.index(name)}" for name in profile.key_columns]
    repeats = rows.repeats(keys)
    for name in rows.candidates() if sample.given.layout != "wide" else ():
        if name not in keys and rows.repeats([*keys, name]) <= (1 - _MOSTLY) * repeats:
            column = sample.columns[int(name[1:])]
            listed = rows.frame[name].unique(maintain_order=True).head(3).to_list()
            words = f"the key {column!r} ({', '.join(map(repr, listed))})"
            answer = {"key_columns": (*profile.key_columns, column)}
            yield _Cause(words, Answer(f"each of {column!r} is a series of its own", answer))
    for position, column in enumerate(sample.columns):
        name = f"c{position}"
        if position in sample.taken or name in keys:
            continue
        shape = kind_of_times(sample.cells[name])
        if shape is None:
            continue
        times = (*sample.time_columns, column) if shape is Kind.CLOCK else (column,)
        texts = [f"c{sample.columns.index(time)}" for time in times]
        frame = rows.frame
        if len(frame) - len(frame.select([*keys, *texts]).unique()) <= (1 - _MOSTLY) * repeats:
            joined = " + ".join(times)
            yield _Cause(f"the time {column!r}", Answer(f"the time is {joined}", {"time_columns": times}))


_HOUR = 3_600_000_000
_SUNDAY, _FOUR = 6, 4
_AUTUMNS = (3, 4, 9, 10, 11)


def _is_hour_of_autumn(sample: Sample, lines: NDArray[np.int64]) -> bool:
    """Return whether the rows at these lines are an hour by which the times stepped back, at night in autumn.

    The clocks of nearly all zones with summer time change on a Sunday before four.
    """
    times = parse_times(sample.time_text, tuple(TimeFormat(text) for text in sample.time_formats))
    steps = np.diff(times.wall[times.fits])
    rows = np.searchsorted(sample.table.line[times.fits], lines)
    usual = int(np.median(steps)) if len(steps) else 0
    is_back = rows[0] > 0 and 0 < usual <= _HOUR and steps[rows[0] - 1] == usual - _HOUR
    begin = np.datetime64(int(times.wall[times.fits][rows[0]]), "us").item()
    is_night = begin.weekday() == _SUNDAY and begin.hour < _FOUR and begin.month in _AUTUMNS
    return bool(is_back and is_night and len(rows) * usual == _HOUR and rows[-1] - rows[0] == len(rows) - 1)


def kind_of_times(cells: pl.Series) -> Kind | None:
    """Return the kind of times that nearly all filled cells are, None for other cells."""
    filled = cells.str.strip_chars(BLANKS)
    texts = filled.filter(filled != "").head(200).to_list()
    shapes = [time_shape(text) for text in texts]
    kinds = {shape.kind for shape in shapes if shape is not None}
    is_mostly = len(kinds) == 1 and shapes.count(None) <= (1 - _MOSTLY) * len(shapes)
    return kinds.pop() if is_mostly else None
