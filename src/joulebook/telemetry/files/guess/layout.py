"""Puts the guesses together: the beginning of a file and what a person has given make an import profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from joulebook.telemetry.files.blocks import Block, line_ends
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnclearFile
from joulebook.telemetry.files.guess.columns import column_names, find_column
from joulebook.telemetry.files.guess.delimiter import guess_splitter, named_splitter, splitter_name
from joulebook.telemetry.files.guess.heading import place_heading
from joulebook.telemetry.files.guess.numbers import guess_numbers
from joulebook.telemetry.files.guess.own_export import own_export
from joulebook.telemetry.files.guess.questions import Account, Answer, Question, Setting
from joulebook.telemetry.files.guess.sample import guess_encoding, sample_lines
from joulebook.telemetry.files.guess.time_columns import find_hours
from joulebook.telemetry.files.guess.times import guess_time_formats, settle_clock, settle_zone
from joulebook.telemetry.files.guess.values import (
    Choice,
    ask_about_text,
    choose_keyed_values,
    choose_values,
    guess_key_positions,
    possible_key,
    read_keys,
)
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.parser import most_lines
from joulebook.telemetry.files.profile import Given, HourColumn, ImportProfile
from joulebook.telemetry.files.records import RecordReader
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import join_time_cells
from joulebook.telemetry.files.text import codec_name, utf8_chunks
from joulebook.telemetry.files.times import TimeFormat, parse_times

HEAD_BYTES = 4 * 1024 * 1024
"""How much of a file, after inflating, is looked at before it is read."""

_MOST_CELLS = 1_000_000
"""Cells that are looked at; short lines below a wide header have many, though they are empty."""

__all__ = ["HEAD_BYTES", "FileLayout", "Question", "Setting", "guess_layout"]


@dataclass(frozen=True)
class FileLayout:
    """How one file will be read: the profile, the file's column names by position, and an account of both.

    `questions` are what the file leaves open; the profile holds the first answer to each.
    """

    profile: ImportProfile
    columns: tuple[str, ...]
    settings: tuple[Setting, ...]
    questions: tuple[Question, ...] = ()

    def require_answers(self) -> None:
        """Raise `UnclearFile` for the first question that has to be answered before anything is stored."""
        for question in self.questions:
            if question.is_required:
                raise UnclearFile(question)


def guess_layout(
    head: bytes, *, is_whole: bool, given: Given, device_tz: str, further: bytes = b""
) -> FileLayout:
    """Return how to read the file that begins with `head` (or is it, where `is_whole`).

    What was given is used, everything else is guessed; times without an offset are local to the zone
    given, or named in the header, or to `device_tz`. `further` are whole lines from behind the head, which
    may settle what the head leaves open. What remains open is among the layout's `questions`.

    Raises `UnclearFile` where no answer can be proposed (no columns, no time, no numbers), and
    `UnusableProfile` for what was given and does not fit.
    """
    if own := own_export(head, given):
        return FileLayout(own.profile, own.columns, own.settings)
    account = Account()
    # ASCII says nothing about the letters that may follow.
    sample = head + further if further and head.isascii() else head
    encoding = _encoding(sample, given, account, is_whole=is_whole)
    text = b"".join(utf8_chunks([head], encoding=encoding))
    line_end = "\n" if b"\n" in text or b"\r" not in text else "\r"
    text = _whole_lines(text.replace(b"\r", b"\n") if line_end == "\r" else text, is_whole=is_whole)
    lines = sample_lines(text)
    splitter = _splitter(lines, given, account)
    place = place_heading(lines, splitter, given, account)
    columns = column_names(place.heading.names)
    times = tuple(columns[position] for position in place.positions)
    most = place.heading.first_data_line + most_lines(len(columns), cells=_MOST_CELLS)
    text = _first_lines(text, most)
    if further:
        more = b"".join(utf8_chunks([further], encoding=encoding))
        text += _first_lines(more.replace(b"\r", b"\n") if line_end == "\r" else more, most)
    check_budget()
    cells = _cells(text, place.heading.first_data_line, splitter, len(columns), place.skip_prefixes)
    time_text = join_time_cells(cells, [f"c{position}" for position in place.positions])
    formats = _time_formats(time_text, times, place.time_format, given, account)
    tz = settle_zone(times, formats, given, account, device_tz=device_tz)
    hours = _hours(columns, formats, given)
    taken = (*place.positions, *(columns.index(hour.column) for hour in hours))
    check_budget()
    numbers = guess_numbers(cells, place.positions, given, account, delimiter=splitter.delimiter)
    check_budget()
    keys = _key_positions(cells, time_text, taken, columns, numbers.format, given, is_across=bool(hours))
    if not keys and not hours and given.layout is None and not given.key_columns:
        _ask_for_key(cells, time_text, formats, taken, columns, numbers.format, account)
    check_budget()
    profile = ImportProfile(
        encoding=encoding, line_end=line_end,
        delimiter="" if splitter.is_prepared else splitter.delimiter, delimiter_pattern=splitter.pattern,
        widths=splitter.widths, quote=splitter.quote,
        header_line=place.heading.header_line, first_data_line=place.heading.first_data_line,
        skip_prefixes=place.skip_prefixes, time_columns=times, time_formats=formats, tz=tz,
        decimal=numbers.decimal, thousands=numbers.thousands, na_values=numbers.na_values,
        affixes=tuple(sorted(set(numbers.affixes.values()))), hour_columns=hours,
        layout="across" if hours else "long" if keys else "wide", values=(),
        **settle_clock(given, account, time_text, formats, hours),
    )  # fmt: skip
    choice = _values(profile, cells, columns, keys, place.heading.names, numbers.affixes, given, account)
    return FileLayout(choice, columns, tuple(account.settings), tuple(account.questions))


def _encoding(head: bytes, given: Given, account: Account, *, is_whole: bool) -> str:
    if given.encoding is not None:
        encoding, reason = codec_name(given.encoding), ""
    else:
        encoding, reason = guess_encoding(head, is_whole=is_whole)
    account.note("encoding", encoding, reason, is_given=given.encoding is not None)
    return encoding


def _whole_lines(text: bytes, *, is_whole: bool) -> bytes:
    if not is_whole:
        text = text[: text.rfind(b"\n") + 1]
    if not text.strip():
        raise UnclearFile(
            Message("the file has no lines of text; is it a logger's text file, and in this {encoding}?")
        )
    return text


def _first_lines(text: bytes, most: int) -> bytes:
    """Return at most so many lines from the beginning of a text."""
    ends = line_ends(text)
    return text if len(ends) <= most else text[: int(ends[most - 1])]


def _splitter(lines: Sequence[str], given: Given, account: Account) -> Splitter:
    if given.delimiter is not None:
        splitter, reason = named_splitter(given.delimiter), ""
    else:
        splitter, reason = guess_splitter(lines, given.time_formats)
    account.note("delimiter", splitter_name(splitter), reason, is_given=given.delimiter is not None)
    return splitter


def _cells(
    text: bytes, first_data_line: int, splitter: Splitter, width: int, skip_prefixes: tuple[str, ...]
) -> pl.DataFrame:
    """Return the data rows of the head as text."""
    begin = 0
    for _ in range(first_data_line - 1):
        begin = text.index(b"\n", begin) + 1
    block = Block(text[begin:], first_data_line, is_last=True)
    return RecordReader(splitter, width=width, skip_prefixes=skip_prefixes).read(block).cells


def _time_formats(
    text: pl.Series, names: Sequence[str], known: str, given: Given, account: Account
) -> tuple[str, ...]:
    column = " + ".join(names)
    if given.time_formats:
        formats = given.time_formats
    elif known:
        formats = (known,)
    else:
        formats = guess_time_formats(text, column=column, account=account)
    for text_format in formats:
        TimeFormat(text_format)
    account.note("time", column, "its cells look like times", is_given=bool(given.time_columns))
    account.note(
        "time format", " or ".join(formats), "fits the first lines", is_given=bool(given.time_formats)
    )
    return formats


def _hours(columns: Sequence[str], formats: Sequence[str], given: Given) -> tuple[HourColumn, ...]:
    """Return the hour columns of a file with the hours across: its times are days without a clock."""
    if given.layout not in (None, "across") or any(
        word in text for text in formats for word in ("%H", "%I", "%k")
    ):
        return ()
    hours = find_hours(columns)
    if given.layout == "across" and not hours:
        raise UnclearFile(
            Message("no columns of the file are hours of the day; is the header found? see {header_line}")
        )
    return hours


def _key_positions(
    cells: pl.DataFrame,
    times: pl.Series,
    taken: Sequence[int],
    columns: Sequence[str],
    numbers: NumberFormat,
    given: Given,
    *,
    is_across: bool,
) -> tuple[int, ...]:
    if given.key_columns or (given.layout == "wide" and not is_across):
        return tuple(
            columns.index(find_column(name, columns, setting="key_columns"))
            for name in given.key_columns
            if name
        )
    return guess_key_positions(cells, times, taken, numbers)


def _ask_for_key(
    cells: pl.DataFrame,
    times: pl.Series,
    formats: Sequence[str],
    taken: Sequence[int],
    columns: Sequence[str],
    numbers: NumberFormat,
    account: Account,
) -> None:
    """Ask whether a column tells series apart, where the times look as if there were several."""
    parsed = parse_times(times, tuple(TimeFormat(text) for text in formats))
    fits = pl.Series(parsed.fits)
    position = possible_key(cells.filter(fits), parsed.wall[parsed.fits], taken, numbers)
    if position is None:
        return
    name = columns[position]
    words = cells[f"c{position}"].unique(maintain_order=True).head(3).to_list()
    account.ask(
        Question(
            "key_columns",
            f"the times do not run on evenly, and column {name!r} holds words such as "
            f"{', '.join(map(repr, words))}: does it say what each row measures?",
            Message(
                " say so with {key_columns:{0!r}}, or that all rows are of one kind with {layout:wide}", name
            ),
            (
                Answer(f"each word of {name!r} is a series of its own", {"key_columns": (name,)}),
                Answer("all rows are of one kind", {"layout": "wide"}),
            ),
        )
    )


def _values(
    profile: ImportProfile,
    cells: pl.DataFrame,
    columns: Sequence[str],
    key_positions: Sequence[int],
    named: Sequence[str],
    affixes: dict[str, str],
    given: Given,
    account: Account,
) -> ImportProfile:
    """Return the profile with its keys and values."""
    if profile.layout == "wide":
        choice = choose_values(
            cells, columns, profile.time_columns, named=named, profile=profile, affixes=affixes,
            mapping=given.mapping,
        )  # fmt: skip
        _note_left_out(choice, account)
        ask_about_text(choice, given.mapping, account)
        return replace(profile, values=choice.values)
    taken = [columns.index(name) for name in profile.time_columns]
    taken += [columns.index(hour.column) for hour in profile.hour_columns]
    keys = read_keys(cells, key_positions, taken)
    key_columns = tuple(columns[position] for position in key_positions)
    if profile.hour_columns:
        account.note("layout", "hours across", "the names of columns are hours")
    else:
        account.note("layout", "a key a row", "the same times come again for each key")
    if key_columns:
        account.note(
            "key", " + ".join(key_columns), "with it each time comes once", is_given=bool(given.key_columns)
        )
    choice = choose_keyed_values(
        cells, columns, profile, keys=keys, taken=(*taken, *key_positions), mapping=given.mapping,
        named=named, affixes=affixes,
    )  # fmt: skip
    _note_left_out(choice, account)
    unit = "" if keys.unit_position is None else columns[keys.unit_position]
    return replace(
        profile,
        values=choice.values,
        key_columns=key_columns,
        unit_column=unit,
        ignored_keys=choice.ignored_keys,
    )


def _note_left_out(choice: Choice, account: Account) -> None:
    for name, reason in choice.left_out:
        account.settings.append(Setting("left out", name, reason))
