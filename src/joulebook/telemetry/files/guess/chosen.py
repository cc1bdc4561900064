"""How a file is read, whichever way was chosen: its guess, a built-in profile on top, or a saved profile."""

from __future__ import annotations

import dataclasses

from joulebook.telemetry.files.builtin import BuiltinProfile
from joulebook.telemetry.files.guess.applied import apply_profile
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout, guess_with_questions
from joulebook.telemetry.files.profile import Given, ImportProfile
from joulebook.telemetry.files.source import FileSource


def choose_layout(
    source: FileSource,
    given: Given,
    *,
    profile: ImportProfile | BuiltinProfile | None,
    device_tz: str,
    sheet: str = "",
) -> FileLayout:
    """Return how a file is read; what it leaves open is among the `questions`.

    A saved profile leaves nothing open; without one, what was not given is guessed, and times without an
    offset are local to `device_tz` unless something says otherwise. `source` is set to the sheet of a
    workbook that is read. Raises what reading the head raises, `UnclearFile` and `UnusableProfile`.
    """
    if isinstance(profile, ImportProfile):
        source.sheet = sheet or profile.sheet
        layout = apply_profile(source.head(HEAD_BYTES), profile, given)
        return _of_sheet(layout, source.sheet)
    source.sheet = sheet
    head = source.head(HEAD_BYTES)
    layout = guess_with_questions(
        head,
        is_whole=len(head) < HEAD_BYTES,
        given=given if profile is None else merged(profile.given, given),
        device_tz=device_tz,
        further=source.further(head),
    )
    return _of_sheet(layout, sheet)


def merged(base: Given, given: Given) -> Given:
    """Return the settings of `base`, overruled by those that were given."""
    changed = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(Given)
        if field.name != "mapping" and getattr(given, field.name) not in (None, ())
    }
    return dataclasses.replace(base, mapping={**base.mapping, **given.mapping}, **changed)


def _of_sheet(layout: FileLayout, sheet: str) -> FileLayout:
    return dataclasses.replace(layout, profile=dataclasses.replace(layout.profile, sheet=sheet))
