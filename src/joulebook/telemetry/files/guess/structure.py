"""Asks about columns and rows that are not of the one table a file seems to be.

Such are cells without a name, a second table beside the first with times of its own, and a row of totals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from joulebook.telemetry.files.errors import Message
from joulebook.telemetry.files.guess.keys import is_general_name
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.repeats import kind_of_times
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.times import Kind, time_shape
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.settings import Target
from joulebook.telemetry.files.table import BLANKS
from joulebook.telemetry.files.times import DAY, TimeFormat, parse_times

_MOSTLY = 0.9
_MOST_ROWS = 5000


def ask_about_unnamed(sample: Sample, values: Sequence[ValueColumn]) -> None:
    """Ask whether the names fit, if the rows of a wide file hold more numbers than the header names."""
    known = set(sample.columns[: sample.named_width]) | sample.given.mapping.keys()
    unnamed = [value for value in values if value.column not in known]
    if not unnamed:
        return
    without = {**sample.given.mapping, **_to(unnamed, is_kept=False)}
    with_all = {**sample.given.mapping, **_to(unnamed, is_kept=True)}
    listed = ", ".join(repr(value.column) for value in unnamed[:5])
    sample.ask(
        Question(
            "mapping",
            f"the header names {sample.named_width} columns, and the rows hold numbers in more ({listed}): "
            "do the names fit the cells below them?",
            Message(
                " If they do, leave the others out with {mapping:{0}=} or import them with "
                "{mapping:{0}=METRIC}; if not, read the file without names with {header_line:0}",
                unnamed[0].column,
            ),
            (
                Answer("the names fit; leave out the others", {"mapping": without}),
                Answer("the names fit; import the others, too", {"mapping": with_all}),
                Answer("the names do not fit: number the columns", {"header_line": 0}),
            ),
        )
    )


def _to(values: Sequence[ValueColumn], *, is_kept: bool) -> dict[str, Target | None]:
    return {value.column: Target(value.metric, value.unit) if is_kept else None for value in values}


def ask_about_tables_beside(sample: Sample, values: Sequence[ValueColumn]) -> None:
    """Ask which times the values have, if a second table with times of its own is beside the first."""
    given = sample.given
    if given.time_columns:
        return
    position_of = {value.column: sample.columns.index(value.column) for value in values}
    for position in range(max(sample.time_positions) + 1, len(sample.columns)):
        left = [v for v in values if position_of[v.column] < position]
        right = [v for v in values if position_of[v.column] > position]
        if not left or not right or all(value.column in given.mapping for value in right):
            continue
        if not _has_own_times(sample, position):
            continue
        first, second = " + ".join(sample.time_columns), sample.columns[position]
        mapping = dict(given.mapping)
        sample.ask(
            Question(
                "time_columns",
                f"column {second!r} holds other times than {first!r}, with values beside it: are they "
                "a second table?",
                Message(
                    " Read one table with {time_columns:{0!r}} and leave out the columns of the other with "
                    "{mapping:'{1}='}, and import the file again for the other",
                    second,
                    left[0].column,
                ),
                (
                    Answer(
                        f"a second table; read the first, with {first!r}",
                        {"mapping": mapping | _to(right, is_kept=False)},
                    ),
                    Answer(
                        f"a second table; read it, with {second!r}",
                        {"time_columns": (second,), "mapping": mapping | _to(left, is_kept=False)},
                    ),
                    Answer(f"all values are of {first!r}", {"mapping": mapping | _to(right, is_kept=True)}),
                ),
            )
        )
        return


def _has_own_times(sample: Sample, position: int) -> bool:
    """Return whether a column holds times that run, and are no ends of the rows' intervals."""
    cells = sample.cells[f"c{position}"].head(_MOST_ROWS).str.strip_chars(BLANKS)
    if kind_of_times(cells) not in {Kind.INSTANT, Kind.DATE}:
        return False
    shapes = {time_shape(text) for text in cells.head(200).to_list()} - {None}
    more = [TimeFormat(text) for shape in shapes if shape for text in shape.formats[:1]]
    formats = [TimeFormat(text) for text in sample.time_formats]
    own = parse_times(sample.time_text.head(_MOST_ROWS), tuple(formats))
    times = parse_times(cells, (*formats, *more))
    steps = np.diff(times.wall[times.fits])
    runs = steps[steps != 0]
    if len(runs) < 2 or max((runs > 0).mean(), (runs < 0).mean()) < _MOSTLY:
        return False
    both = own.fits & times.fits
    own_steps = np.abs(np.diff(own.wall[both]))
    own_steps = own_steps[own_steps > 0]
    longest = max(2 * int(np.median(own_steps)) if len(own_steps) else 0, DAY)
    apart = times.wall[both] - own.wall[both]
    return bool(((apart < -longest) | (apart > longest)).mean() > 1 - _MOSTLY)


_FEWEST_ADDENDS = 4


def leave_out_total(sample: Sample, values: Sequence[ValueColumn]) -> None:
    """Leave out the last row of a wide file if each of its values is the sum of the rows above it."""
    if not sample.is_whole or sample.splitter.is_prepared or len(sample.cells) <= _FEWEST_ADDENDS:
        return
    names = [f"c{sample.columns.index(value.column)}" for value in values]
    found = [column.value for column in sample.numbers.parse([sample.cells[name] for name in names])]
    sums = [(np.nansum(value[:-1]), value[-1], value[:-1]) for value in found if not np.isnan(value[-1])]
    # Columns of zeros are the sum of any rows.
    is_total = all(np.isclose(total, last, rtol=1e-6, atol=1e-9) for total, last, _ in sums) and any(
        np.count_nonzero(np.nan_to_num(addends)) >= _FEWEST_ADDENDS for _, _, addends in sums
    )
    last = parse_times(sample.time_text.tail(1), tuple(TimeFormat(text) for text in sample.time_formats))
    number = int(sample.table.line[-1])
    # Lines behind the last are of other files like this one.
    if not is_total or not last.fits[0] or number > sample.last_line:
        return
    text = sample.line(number).lstrip(BLANKS)
    if len(text) <= _LONGEST_PREFIX and '="' not in text:
        sample.skip_prefixes = (*sample.skip_prefixes, text)
        sample.leave_out_row(len(sample.cells) - 1)
        sample.note("total", f"line {number}", "its values are the sums of all rows above; it is skipped")


_LONGEST_PREFIX = 1000

_EVERYDAY_WORDS = re.compile(
    r"(?i)export\w*|download\w*|data|daten|history|values?|readings?|file|datei|report|bericht|log|csv|test|upload"
    r"|copy|kopie|table|tabelle|sheet|untitled|unnamed|\d+"
)


def ask_about_file_name(sample: Sample, values: Sequence[ValueColumn]) -> None:
    """Ask whether the file's name is that of its only value, whose column is only called `value` or so."""
    if len(values) != 1 or not is_general_name(values[0].column) or values[0].column in sample.given.mapping:
        return
    stem = PurePath(sample.name).name.split(".")[0]
    words = [word for word in re.split(r"[\W_]+", stem) if not _EVERYDAY_WORDS.fullmatch(word)]
    named = "_".join(filter(None, words))
    if len(named) < 3:
        return
    (value,) = values
    as_column, as_file = (
        {"mapping": {value.column: Target(metric, value.unit)}} for metric in (value.metric, named)
    )
    sample.ask(
        Question(
            "mapping",
            f"the only value is called {value.column!r}; other files like this one would store theirs in the "
            "same metric",
            Message("; give it a name with {mapping:{0}={1}}", value.column, named),
            (
                Answer(f"call it {value.metric!r}", as_column),
                Answer(f"call it {named!r}, as the file", as_file),
            ),
            is_required=False,
        )
    )
