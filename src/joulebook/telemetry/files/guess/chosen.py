"""Reads a file's layout by its guess, with a built-in profile on top, or by a saved profile."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from joulebook.telemetry.files.builtin import BuiltinProfile
from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.files.guess.alike import read_alike
from joulebook.telemetry.files.guess.columns import column_names
from joulebook.telemetry.files.guess.delimiter import named_splitter
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout, guess_layout
from joulebook.telemetry.files.guess.questions import ReadingSetting
from joulebook.telemetry.files.guess.sample import SampleRow, sample_lines, sample_rows
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.parser import check_columns
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.settings import SETTINGS, Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.text import codec_name, utf8_chunks
from joulebook.telemetry.files.times import TimeFormat, find_zone

_OVERRIDES = {setting.field for setting in SETTINGS if not setting.is_fixed} & {
    entry.name for entry in dataclasses.fields(ImportProfile)
}
"""Settings that can be given beside a saved profile, and then replace its own."""


def apply_profile(head: bytes, profile: ImportProfile, given: Given) -> FileLayout:
    """Return how the file beginning with `head` is read by a profile, with given settings on top.

    The header is at the profile's line, or else at a line with its names. Raises `UnusableProfile` if the
    file lacks one of the columns, or if a given setting cannot be combined with a profile.
    """
    profile = _with_given(profile, given)
    text = b"".join(utf8_chunks([head], encoding=profile.encoding))
    text = text.replace(b"\r", b"\n") if profile.line_end == "\r" else text
    lines = sample_lines(text)
    rows = sample_rows(lines, Splitter.of(profile), skip_prefixes=profile.skip_prefixes)
    if not rows:
        raise UnusableProfile("the file has no rows of text that the profile could be applied to")
    columns, profile = _placed(rows, profile)
    check_columns(profile, columns)
    for text_format in profile.time_formats:
        TimeFormat(text_format)
    find_zone(profile.tz)
    NumberFormat.of(profile)
    settings = (
        ReadingSetting("profile", profile.name or "(without a name)", "given"),
        ReadingSetting("header", f"line {profile.header_line}" if profile.header_line else "none", "profile"),
        ReadingSetting("time", " + ".join(profile.time_columns), "profile"),
        ReadingSetting("time format", " or ".join(profile.time_formats), "profile"),
        ReadingSetting("time zone", profile.tz, "profile" if given.tz is None else "given"),
        ReadingSetting("decimal mark", profile.decimal, "profile" if given.decimal is None else "given"),
    )
    return FileLayout(profile, columns, settings)


def _with_given(profile: ImportProfile, given: Given) -> ImportProfile:
    for name in (setting.field for setting in SETTINGS if setting.is_fixed):
        if getattr(given, name) not in (None, ()):
            raise UnusableProfile(
                Message(
                    f"{{{name}}} cannot be combined with a saved profile: change the profile, or leave it out"
                ),
                setting=name,
            )
    if given.time_marks == "end" and not profile.interval:
        raise UnusableProfile(
            Message(
                "{time_marks:end}: the profile does not say how long an interval is; say {time_marks:start}"
            ),
            setting="time_marks",
        )
    changed = {name: getattr(given, name) for name in _OVERRIDES if getattr(given, name) not in (None, ())}
    if given.encoding is not None:
        changed["encoding"] = codec_name(given.encoding)
    if given.mapping:
        left = dict(given.mapping)
        values = []
        for value in profile.values:
            names = [name for name in (value.metric, value.column, " ".join(value.key)) if name in left]
            if not names:
                values.append(value)
            elif (target := left.pop(names[0])) is not None:
                values.append(value.with_target(target))
        if left:
            raise UnusableProfile(
                Message("{mapping:{0!r}}: the profile has no such column, key or metric", next(iter(left))),
                setting="mapping",
            )
        changed["values"] = tuple(values)
    return replace(profile, **changed)


def _placed(rows: Sequence[SampleRow], profile: ImportProfile) -> tuple[tuple[str, ...], ImportProfile]:
    """Return the file's columns, and the profile with this file's lines of header and first data."""
    lengths = Counter(len(row.cells) for row in rows)
    width = max(lengths, key=lambda length: (lengths[length], length))
    if profile.header_line is None:
        return column_names([""] * width), profile
    needed = set(profile.columns)
    nearest = sorted(rows, key=lambda row: (row.line != profile.header_line, row.line))
    for row in nearest:
        columns = column_names((*row.cells, *[""] * (width - len(row.cells))))
        bare = column_names((row.cells[0].lstrip("#%/*!; "), *columns[1:]))
        for names in (columns, bare):
            if needed <= set(names):
                moved = row.line - profile.header_line
                return names, replace(
                    profile, header_line=row.line, first_data_line=profile.first_data_line + moved
                )
    here = next((row for row in rows if row.line == profile.header_line), rows[0])
    lacking = sorted(needed - set(column_names(here.cells)))
    raise UnusableProfile(
        f"the file has no column {lacking[0]!r}, which the profile names; line {here.line} has "
        f"{', '.join(map(repr, here.cells[:20]))}"
    )


def check_given(given: Given) -> None:
    """Raise `UnusableProfile` for a given setting that is unusable with any file."""
    if given.delimiter is not None:
        named_splitter(given.delimiter)
    if given.encoding is not None:
        codec_name(given.encoding)
    for text_format in given.time_formats:
        TimeFormat(text_format)
    if given.tz is not None:
        find_zone(given.tz)
    thousands = given.thousands or ""
    NumberFormat(decimal=given.decimal or ("," if thousands == "." else "."), thousands=thousands)


_SHORT_HEAD_BYTES = 1 << 20
"""Size of the beginning of a large file, where pieces from all over it say more than a longer beginning."""
_PIECE_BYTES = 8192


def choose_layout(
    source: FileSource, given: Given, *, profile: ImportProfile | BuiltinProfile | None, device_tz: str
) -> FileLayout:
    """Return how a file is read; open decisions are among its `questions`.

    A saved profile leaves nothing open. Without one, settings not given are guessed, and times without an
    offset are local to `device_tz` unless the file or a setting names a zone. Sets the sheet of `source`.
    Raises `FileError`.
    """
    check_given(given)
    if given.sheet and not source.members and not source.sheets():
        raise UnusableProfile(
            Message("{sheet:{0!r}}: it has no sheets, lists or tables to choose from", given.sheet[:80]),
            setting="sheet",
        )
    source.sheet = given.sheet or (profile.sheet if isinstance(profile, ImportProfile) else "")
    given = dataclasses.replace(given, sheet=None)
    if isinstance(profile, BuiltinProfile):
        given = merged(profile.given, given)

    def read(file: FileSource, given: Given, head: bytes, further: bytes, is_whole: bool) -> FileLayout:
        if isinstance(profile, ImportProfile):
            return apply_profile(head, profile, given)
        return guess_layout(
            head, is_whole=is_whole, given=given, device_tz=device_tz, further=further, name=file.name
        )

    if source.members:
        layout = read_alike(source, given, read)
    else:
        head = source.head(HEAD_BYTES)
        is_whole = len(head) < HEAD_BYTES
        short = head[:_SHORT_HEAD_BYTES]
        further = b"" if is_whole else source.further(short, piece_bytes=_PIECE_BYTES)
        layout = read(source, given, short if further else head, further, is_whole)
    notes = (ReadingSetting(*note) for note in source.notes())
    of_sheet = replace(layout.profile, sheet=source.sheet)
    return replace(layout, profile=of_sheet, settings=(*layout.settings, *notes))


def merged(base: Given, given: Given) -> Given:
    """Return the settings of `base`, with those given in their place."""
    changed = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(Given)
        if field.name != "mapping" and getattr(given, field.name) not in (None, ())
    }
    return dataclasses.replace(base, mapping={**base.mapping, **given.mapping}, **changed)
