"""Reads several files as one: those with the same columns share one reading, and each has its own spelling.

Files are grouped by columns and by how times and numbers are written in them. The evidence of all files of
a group decides what one of them leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import (
    FileError,
    Message,
    ReadingAbandoned,
    TooMuchWork,
    UnreadableFile,
)
from joulebook.telemetry.files.guess.columns import column_names
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout
from joulebook.telemetry.files.guess.questions import Answer, Question, ReadingSetting
from joulebook.telemetry.files.guess.sample import SampleRow, guess_encoding, sample_lines, sample_rows
from joulebook.telemetry.files.guess.time_columns import time_text
from joulebook.telemetry.files.guess.times import Shape, time_shape
from joulebook.telemetry.files.members import Member
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.files.text import utf8_chunks

ReadHead = Callable[[FileSource, Given, bytes, bytes, bool], FileLayout]
"""Reads a file by the settings given, its head, further lines, and whether the head is all of it."""

_ORDER = "time_formats"
_LOOK_BYTES = 65_536
_STYLE_ROWS = 40
_EVIDENCE_BYTES = 2 << 20
_MOST_GROUPS = 20
_MOST_OPEN = 3
"""Groups asked about in one question: it has two answers or more for each."""
_DATE_LENGTH = 10
_MONTHS, _DAYS = 12, 31
_NUMBER = re.compile("[0-9]+")
_CLOCK = re.compile(r"%[HIk].*")
_MARKS = re.compile(r"[0-9]([.,])[0-9]")


@dataclass(frozen=True)
class _Style:
    """How times and numbers are written in a file: the forms of its dates, and its marks in numbers.

    `orders` are the orders of day and month by which all of its dates exist, where their form leaves it open.
    """

    dates: frozenset[tuple[str, ...]] = frozenset()
    marks: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()

    def joined(self, other: _Style) -> _Style | None:
        """Return the style of both; None if they differ. Whole numbers, or no rows, fit any style."""
        if self.dates and other.dates and self.dates != other.dates:
            return None
        if self.marks and other.marks and self.marks != other.marks:
            return None
        orders = self.orders & other.orders or self.orders | other.orders
        if self.orders and other.orders and not self.orders & other.orders:
            return None
        return _Style(self.dates | other.dates, self.marks | other.marks, orders)


@dataclass
class _Group:
    """Files with the same columns, written alike. `own` is each file's profile, by its name."""

    layout: FileLayout
    style: _Style
    own: dict[str, ImportProfile]
    evidence: dict[str, Sequence[str]]
    open_orders: set[str]
    """The files whose dates exist in several orders of day and month."""

    def add(self, name: str, found: _Found) -> None:
        """Add a file."""
        self.own[name], self.evidence[name] = found.own, found.lines
        if len(found.style.orders) > 1:
            self.open_orders.add(name)


def read_alike(source: FileSource, given: Given, read: ReadHead) -> FileLayout:
    """Return how several files are read as one, with each file among the `members`.

    The largest group of files with the same columns is read; files with other columns are left out, and so
    are those that cannot be read. Raises `UnclearFile` and other errors if none can be read.
    """
    groups: list[_Group] = []
    problems: dict[str, str] = {}
    first_failure: FileError | None = None
    for name in source.members:
        check_budget()
        try:
            _place(source.member(name), groups, given, read)
        except (TooMuchWork, ReadingAbandoned):
            raise
        except FileError as exc:
            first_failure = first_failure or exc
            problems[name] = str(exc)
    if not groups:
        raise first_failure or UnreadableFile(f"{source.name} holds no file; there is nothing to import")
    problems |= _take_undecided(groups)
    for group in groups:
        _settle(source, group, given, read)
        problems |= _take_named_otherwise(source, group, given, read)
    return _shared(source, groups, problems)


def _place(file: FileSource, groups: list[_Group], given: Given, read: ReadHead) -> None:
    """Add a file to the group written like it, or to a new one. Raises `FileError`."""
    head = file.head(_LOOK_BYTES)
    for group in groups:
        found = _found_in(head, group.layout)
        style = None if found is None else group.style.joined(found.style)
        if found is not None and style is not None:
            group.style = style
            group.add(file.name, found)
            return
    if len(groups) >= _MOST_GROUPS:
        raise UnreadableFile("it is written differently from the files before it; import it on its own")
    layout = _read(file, given, read, b"")
    found = _found_in(head, layout) or _Found(layout.profile, _Style(), ())
    groups.append(_Group(layout, found.style, {}, {}, set()))
    groups[-1].add(file.name, found)


def _take_undecided(groups: list[_Group]) -> dict[str, str]:
    """Take out of their groups the files whose dates other files write in both orders of day and month."""
    problems: dict[str, str] = {}
    for group in groups:
        others = (each.style for each in groups if each is not group)
        if any(group.style.dates & style.dates and group.style.joined(style) is None for style in others):
            for name in group.open_orders & set(group.own):
                problems[name] = (
                    "its dates can be read in two ways, and the other files use both; import it on its own"
                )
                del group.own[name]
    groups[:] = [group for group in groups if group.own] or groups[:1]
    return problems


def _read(file: FileSource, given: Given, read: ReadHead, further: bytes) -> FileLayout:
    head = file.head(HEAD_BYTES)
    is_whole = len(head) < HEAD_BYTES
    further = further or file.further(head)
    try:
        return read(file, given, head, further, is_whole)
    except FileError:
        if not given.time_formats:
            raise
        # The formats given may be those of other files.
        return read(file, replace(given, time_formats=()), head, further, is_whole)


@dataclass(frozen=True)
class _Found:
    """What a layout finds in another file: the file's profile, its style, and its first lines of data."""

    own: ImportProfile
    style: _Style
    lines: Sequence[str]


def _found_in(head: bytes, layout: FileLayout) -> _Found | None:
    """Return what a layout finds in the file beginning with `head`; None if it has other columns."""
    profile = layout.profile
    encoding, _ = guess_encoding(head, is_whole=False)
    if head.isascii() or profile.encoding != "utf-8":
        encoding = profile.encoding
    text = b"".join(utf8_chunks([head], encoding=encoding, line_end=profile.line_end))
    lines = sample_lines(text)
    rows = sample_rows(lines, Splitter.of(profile), skip_prefixes=profile.skip_prefixes)
    header, begin = None, profile.first_data_line
    if profile.header_line is not None:
        header = _header_line(rows, layout.columns, near=profile.header_line)
        if header is None:
            return None
        begin += header - profile.header_line
    data = [row for row in rows if row.line >= begin]
    if header is None and any(len(row.cells) != len(layout.columns) for row in data[:_STYLE_ROWS]):
        return None
    own = replace(profile, encoding=encoding, header_line=header, first_data_line=begin)
    return _Found(own, _style(data, layout), [lines[row.line - 1] for row in data])


def _header_line(rows: Sequence[SampleRow], columns: Sequence[str], *, near: int) -> int | None:
    for row in sorted(rows, key=lambda row: (abs(row.line - near), row.line)):
        if len(row.cells) <= len(columns):
            padded = (*row.cells, *[""] * (len(columns) - len(row.cells)))
            bare = (padded[0].lstrip("#%/*!; "), *padded[1:])
            if tuple(columns) in (column_names(padded), column_names(bare)):
                return row.line
    return None


def _style(rows: Sequence[SampleRow], layout: FileLayout) -> _Style:
    positions = [layout.columns.index(name) for name in layout.profile.time_columns]
    dates: set[tuple[str, ...]] = set()
    marks: set[str] = set()
    texts: dict[Shape, dict[str, str]] = {}
    for row in rows:
        text = time_text(row.cells, positions)
        shape = time_shape(text)
        if shape is not None:
            dates.add(tuple(_CLOCK.sub("", text).strip() for text in shape.formats))
            if len(shape.orders) > 1:
                texts.setdefault(shape, {})[text[:_DATE_LENGTH]] = text
        for position, cell in enumerate(row.cells[:_STYLE_ROWS]):
            if position not in positions:
                marks.update(_MARKS.findall(cell))
    orders = [_orders(shape, found.values()) for shape, found in texts.items()]
    return _Style(
        frozenset(dates), frozenset(marks), frozenset.intersection(*orders) if orders else frozenset()
    )


def _orders(shape: Shape, texts: Iterable[str]) -> frozenset[str]:
    """Return the orders of day, month and year by which all of these dates exist."""
    dates = [[int(number) for number in _NUMBER.findall(text)[:3]] for text in texts]
    return frozenset(
        order
        for order in shape.orders
        if all(date[order.index("m")] <= _MONTHS and date[order.index("d")] <= _DAYS for date in dates)
    )


def _settle(source: FileSource, group: _Group, given: Given, read: ReadHead) -> None:
    """Read the largest file of a group again, with lines of all others as evidence."""
    if len(group.own) == 1:
        return
    largest = max(group.own, key=lambda name: source.members[name])
    share = _EVIDENCE_BYTES // len(group.own)
    others = (lines for name, lines in group.evidence.items() if name != largest)
    text = "".join("".join(_beginning(lines, share)) for lines in others)
    # The largest file may lack the end of its last line.
    evidence = f"\n{text}".encode(group.own[largest].encoding, "replace")
    layout = _read(source.member(largest), given, read, evidence)
    if layout.columns != group.layout.columns:
        return
    for name, own in group.own.items():
        group.own[name] = replace(
            layout.profile, encoding=own.encoding, header_line=own.header_line,
            first_data_line=own.first_data_line,
        )  # fmt: skip
    group.layout = layout


def _take_named_otherwise(source: FileSource, group: _Group, given: Given, read: ReadHead) -> dict[str, str]:
    """Take out of a group the files whose columns are other metrics, as in files of one sensor each."""
    problems: dict[str, str] = {}
    largest = max(group.own, key=lambda name: source.members[name])
    others = [name for name in group.own if name != largest]
    # Of most files one tells for all.
    if not others or _names_alike(_read(source.member(others[-1]), given, read, b""), group.layout):
        return problems
    for name in others:
        check_budget()
        layout = _read(source.member(name), given, read, b"")
        if not _names_alike(layout, group.layout):
            problems[name] = f"it holds other metrics than {largest}; import it on its own"
            del group.own[name]
    return problems


def _names_alike(layout: FileLayout, main: FileLayout) -> bool:
    """Return whether a file's columns are the metrics of `main`, also by the names that it could have."""
    names = {(value.column, value.key): value.metric for value in main.profile.values}
    metrics = [value.metric for value in layout.profile.values]
    return metrics == [
        names.get((value.column, value.key), value.metric) for value in layout.profile.values
    ] and _proposed_names(layout) == _proposed_names(main)


def _proposed_names(layout: FileLayout) -> list[str]:
    asked = [question for question in layout.questions if question.setting == "mapping"]
    return [answer.label for question in asked for answer in question.answers]


def _beginning(lines: Sequence[str], most: int) -> Iterator[str]:
    for line in lines:
        most -= len(line) + 1
        if most < 0:
            return
        yield line + "\n"


def _shared(source: FileSource, groups: Sequence[_Group], problems: dict[str, str]) -> FileLayout:
    """Return the layout of most files with the same columns, for all files read by it."""
    counts: dict[tuple[str, ...], int] = {}
    for group in groups:
        counts[group.layout.columns] = counts.get(group.layout.columns, 0) + len(group.own)
    columns = max(counts, key=lambda each: counts[each])
    alike = [group for group in groups if group.layout.columns == columns]
    others = [group for group in groups if group.layout.columns != columns]
    chosen = max(alike, key=lambda group: len(group.own))
    main, values = chosen.layout, list(chosen.layout.profile.values)
    settings = list(main.settings)
    members: dict[str, Member] = {}
    open_orders: list[Question] = []
    for group in sorted(alike, key=lambda group: -len(group.own)) + others:
        asked = _orders_asked(group)
        reason = "" if group is chosen else _difference(group.layout, main)
        if not reason and asked and len(open_orders) >= _MOST_OPEN:
            reason = f"{asked[0].about}; import it on its own"
        if reason:
            problems |= dict.fromkeys(group.own, reason)
            continue
        open_orders += asked
        if group is not chosen and main.profile.key_columns:
            values += _further_keys(group.layout.profile.values, values)
        members |= {name: Member.of(name, own, main.profile) for name, own in group.own.items()}
        if group is not chosen:
            formats = " or ".join(group.layout.profile.time_formats)
            of = f"guessed: of {len(group.own):,} other file(s), such as {min(group.own)}"
            settings.append(ReadingSetting("time format", formats, of))
    questions = [each for each in main.questions if each not in open_orders]
    if open_orders:
        questions.append(_asked_together(open_orders))
    members |= {name: Member(name, problem=reason) for name, reason in problems.items()}
    left_out = f", {len(problems):,} of them left out" if problems else ""
    count = f"{len(source.members):,}{left_out}"
    return replace(
        main,
        profile=replace(main.profile, values=tuple(values)),
        questions=tuple(questions),
        settings=(ReadingSetting("files", count, "found: with the same columns"), *settings),
        members=tuple(members[name] for name in source.members),
    )


def _difference(layout: FileLayout, main: FileLayout) -> str:
    """Return why the files of a layout are left out beside those of `main`; "" if they are not."""
    if layout.columns != main.columns:
        listed = ", ".join(layout.columns)
        return f"its columns are not those of most files, but {shown(listed)}; import it on its own"
    theirs, ours = layout.profile, main.profile
    if (theirs.layout, theirs.time_columns, theirs.key_columns) != (
        ours.layout, ours.time_columns, ours.key_columns,
    ):  # fmt: skip
        return "its times or keys stand in other columns than those of most files; import it on its own"
    asked = {question.setting for question in main.questions} | {_ORDER}
    for question in layout.questions:
        if question.is_required and question.setting not in asked:
            return f"{question.about}; import it on its own"
    return ""


def _orders_asked(group: _Group) -> list[Question]:
    return [each for each in group.layout.questions if each.setting == _ORDER and each.is_required]


def _asked_together(questions: Sequence[Question]) -> Question:
    """Return one question for groups of files whose dates can each be read in several ways."""
    if len(questions) == 1:
        return questions[0]
    answers = [
        Answer(
            ", ".join(each.label for each in answers),
            {_ORDER: tuple(text for each in answers for text in each.given[_ORDER])},
        )
        for answers in product(*(question.answers for question in questions))
    ]
    texts = list(dict.fromkeys(text for each in answers for text in each.given[_ORDER]))
    options = " or ".join(
        " ".join(f"{{{_ORDER}:'{{{texts.index(text)}}}'}}" for text in each.given[_ORDER]) for each in answers
    )
    about = "; ".join(question.about for question in questions)
    return Question(_ORDER, about, Message(f"; say which with {options}", *texts), tuple(answers))


def _further_keys(values: Sequence[ValueColumn], known: Sequence[ValueColumn]) -> list[ValueColumn]:
    """Return the values of keys and metrics not known yet."""
    keys = {(value.column, value.key) for value in known}
    metrics = {(value.device, value.metric) for value in known}
    return [
        value
        for value in values
        if (value.column, value.key) not in keys and (value.device, value.metric) not in metrics
    ]
