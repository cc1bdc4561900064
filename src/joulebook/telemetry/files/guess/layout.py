"""Guesses how a file is read, from its beginning and the settings given; recognizes our own exports."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from joulebook.telemetry.csv_format import header, unguarded
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.formats.format import READINGS_HEADER, READINGS_LINE
from joulebook.telemetry.files.formats.named_series import TEXT
from joulebook.telemetry.files.guess.columns import column_names
from joulebook.telemetry.files.guess.delimiter import find_splitter
from joulebook.telemetry.files.guess.heading import find_heading
from joulebook.telemetry.files.guess.intervals import settle_clock
from joulebook.telemetry.files.guess.keys import find_key_positions
from joulebook.telemetry.files.guess.kinds import settle_kinds
from joulebook.telemetry.files.guess.numbers import settle_numbers
from joulebook.telemetry.files.guess.questions import Question, ReadingSetting
from joulebook.telemetry.files.guess.repeats import ask_about_repeats
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.structure import (
    ask_about_file_name,
    ask_about_tables_beside,
    ask_about_unnamed,
    leave_out_total,
)
from joulebook.telemetry.files.guess.time_columns import find_hours
from joulebook.telemetry.files.guess.times import settle_time_formats
from joulebook.telemetry.files.guess.values import choose_values
from joulebook.telemetry.files.guess.zones import settle_zone
from joulebook.telemetry.files.members import Member
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES, ImportProfile, ValueColumn
from joulebook.telemetry.files.series_table import kind_of, metric_of
from joulebook.telemetry.files.settings import Given, Target

HEAD_BYTES = 4 * 1024 * 1024
"""Size of the sample: the beginning of a file, after unpacking."""


@dataclass(frozen=True)
class FileLayout:
    """How one file is read: the profile, the file's column names by position, and the reading settings.

    `questions` are the decisions left open; the profile applies the first answer to each.
    """

    profile: ImportProfile
    columns: tuple[str, ...]
    settings: tuple[ReadingSetting, ...]
    questions: tuple[Question, ...] = ()
    members: tuple[Member, ...] = ()
    """The files, if they are several."""

    def require_answers(self) -> None:
        """Raise `UnclearFile` for the first question to be answered before anything is stored."""
        for question in self.questions:
            if question.is_required:
                raise UnclearFile(question)


def guess_layout(
    head: bytes,
    *,
    is_whole: bool,
    given: Given,
    device_tz: str,
    further: bytes = b"",
    name: str = "",
) -> FileLayout:
    """Return how to read the file beginning with `head`; `is_whole` means nothing follows the head.

    The `given` settings are used, all others are guessed. Times without an offset are local to the zone
    given, or named in the header, or to `device_tz`. `further` are whole lines from behind the head; they
    may settle open decisions. `name` is the file's. Decisions still open are among the layout's `questions`.

    Raises `UnclearFile` if there is no answer to propose (no columns, no time, no numbers), and
    `UnusableProfile` for given settings that do not fit.
    """
    if own := _own_export(head, given) or _converted(head, given):
        return own
    sample = Sample(head, is_whole=is_whole, given=given, device_tz=device_tz, further=further, name=name)
    find_splitter(sample)
    find_heading(sample)
    sample.read_cells()
    settle_time_formats(sample)
    settle_zone(sample)
    find_hours(sample)
    check_budget()
    settle_numbers(sample)
    check_budget()
    key_positions = find_key_positions(sample)
    check_budget()
    choice = choose_values(sample, key_positions)
    if not sample.hours and not key_positions:
        leave_out_total(sample, choice.values)
        ask_about_unnamed(sample, choice.values)
        ask_about_tables_beside(sample, choice.values)
        ask_about_file_name(sample, choice.values)
    values = settle_kinds(sample, choice.values, key_positions, choice.unit_column)
    clock = settle_clock(sample, values)
    splitter = sample.splitter
    profile = ImportProfile(
        encoding=sample.encoding, line_end=sample.line_end,
        delimiter="" if splitter.is_prepared else splitter.delimiter, delimiter_pattern=splitter.pattern,
        widths=splitter.widths, quote=splitter.quote,
        header_line=sample.header_line, first_data_line=sample.first_data_line,
        skip_prefixes=sample.skip_prefixes, time_columns=sample.time_columns,
        time_formats=sample.time_formats, tz=sample.tz, decimal=sample.decimal, thousands=sample.thousands,
        na_values=sample.na_values, affixes=sample.accepted_affixes,
        hour_columns=sample.hours,
        layout="across" if sample.hours else "long" if key_positions else "wide",
        values=values, key_columns=tuple(sample.columns[position] for position in key_positions),
        unit_column=choice.unit_column, ignored_keys=choice.ignored_keys,
    )  # fmt: skip
    profile = replace(profile, **clock)
    ask_about_repeats(sample, profile)
    return FileLayout(profile, sample.columns, tuple(sample.settings), tuple(sample.questions))


_SAMPLE_ROWS = 20_000


def _own_export(head: bytes, given: Given) -> FileLayout | None:
    """Return how to read a CSV file exported by Joulebook exactly, without a guess; None for other files.

    It is also None if more than a mapping was given, or a mapping with unknown or equal metrics: then the
    guess reads the file, or says why it cannot.
    """
    if given != Given(mapping=given.mapping) or not head.startswith(b'"time",'):
        return None
    try:
        lines = head[: head.rfind(b"\n") + 1].decode().split("\n")
    except UnicodeDecodeError:
        return None
    names = next(csv.reader(lines[:1]))
    is_long = names == ["time", "metric", "value"] and lines[0] == header(names, [True, True, False])
    if is_long:
        columns = tuple(names)
        keys = dict.fromkeys(row[1] for row in islice(csv.reader(lines[1:]), _SAMPLE_ROWS) if len(row) == 3)
        found = [ValueColumn("value", unguarded(key), key=(key,)) for key in keys]
    elif lines[0] == header(names, [True, *[False] * (len(names) - 1)]):
        columns = column_names(names)
        wide = zip(columns[1:], names[1:], strict=True)
        found = [ValueColumn(column, unguarded(name)) for column, name in wide]
    else:
        return None
    if not given.mapping.keys() <= {value.metric for value in found}:
        return None
    targets = [given.mapping.get(value.metric, Target(value.metric)) for value in found]
    values = [
        value.with_target(target) for value, target in zip(found, targets, strict=True) if target is not None
    ]
    if not values or len({(value.device, value.metric) for value in values}) < len(values):
        return None
    profile = ImportProfile(
        time_columns=("time",),
        time_formats=("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"),
        values=tuple(values),
        layout="long" if is_long else "wide",
        key_columns=("metric",) if is_long else (),
        na_values=(),
    )
    words = f"{profile.layout}, as Joulebook exports"
    return FileLayout(profile, columns, (ReadingSetting("layout", words, "found: by its header"),))


def _converted(head: bytes, given: Given) -> FileLayout | None:
    """Return how to read the CSV made from a format that leaves nothing open; None for other files.

    Raises `UnusableProfile` for other settings than a mapping, and for a metric that the file lacks.
    """
    if not head.startswith(READINGS_LINE):
        return None
    if given != Given(mapping=given.mapping):
        raise UnusableProfile(Message("the file itself says how it is read; leave out all but {mapping}"))
    rows = islice(csv.reader(head[: head.rfind(b"\n") + 1].decode().split("\n")[1:]), _SAMPLE_ROWS)
    found: dict[str, ValueColumn] = {}
    for _, _, metric, unit, kind, _ in (row for row in rows if len(row) == 6):
        named = ValueColumn(
            "value", metric_of([metric], ""), unit, (metric,), kind=kind_of(kind), cell_unit=unit
        )
        found.setdefault(metric, named)
    if unknown := [name for name in given.mapping if name not in found]:
        raise UnusableProfile(
            Message(
                "{mapping:{0!r}}: the file has no such metric among its first ones; it has {1}",
                unknown[0],
                ", ".join(map(repr, islice(found, 20))),
            ),
            setting="mapping",
        )
    for name, target in given.mapping.items():
        if target is not None:
            found[name] = found[name].with_target(target)
    return converted_layout(
        [value for name, value in found.items() if given.mapping.get(name, value) is not None],
        ignored=[name for name, target in given.mapping.items() if target is None],
    )


def converted_layout(values: Sequence[ValueColumn], *, ignored: Sequence[str] = ()) -> FileLayout:
    """Return how to read the CSV made from a format that leaves nothing open, with these series."""
    profile = ImportProfile(
        time_columns=("time",),
        time_formats=("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"),
        values=tuple(values),
        layout="long",
        key_columns=("metric",),
        unit_column="unit",
        kind_column="kind",
        line_column="line",
        na_values=(*DEFAULT_NA_VALUES, "unavailable", "unknown", TEXT),
        ignored_keys=tuple(ignored),
    )
    columns = tuple(next(csv.reader([READINGS_HEADER])))
    return FileLayout(profile, columns, (ReadingSetting("layout", "readings", "found: by its format"),))
