"""The files beside the one that is imported: saved profiles in and out, and the list of what was rejected."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulebook.cli.output import fail
from joulebook.telemetry.files.builtin import BUILTIN, find_builtin
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.guess.applied import apply_profile
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout, guess_layout
from joulebook.telemetry.files.profile import Given, ImportProfile
from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.files.source import FileSource

_LARGEST_PROFILE = 4 << 20


def layout_of(
    source: FileSource, given: Given, *, profile: str | None, device_tz: str, sheet: str
) -> FileLayout:
    """Return how a file is read: by its guess, by a built-in profile on top of it, or by a saved one.

    Raises what the guess does, and `UnusableProfile`.
    """
    saved = None
    if profile is not None and profile not in BUILTIN:
        saved = load_profile(Path(profile))
        if saved.sheet and not sheet:
            source.sheet = saved.sheet
    head = source.head(HEAD_BYTES)
    if saved is not None:
        return apply_profile(head, saved, given)
    if profile is not None:
        given = _merged(find_builtin(profile).given, given)
    layout = guess_layout(
        head,
        is_whole=len(head) < HEAD_BYTES,
        given=given,
        device_tz=device_tz,
        further=source.further(head),
    )
    return dataclasses.replace(layout, profile=dataclasses.replace(layout.profile, sheet=sheet))


def load_profile(path: Path) -> ImportProfile:
    """Return a saved profile; raises `UnusableProfile`."""
    try:
        if path.stat().st_size > _LARGEST_PROFILE:
            raise UnusableProfile(f"{path} is too large for a profile; is it the file to be imported?")
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        find_builtin(str(path))
        raise
    except (OSError, ValueError, RecursionError) as exc:
        raise UnusableProfile(f"{path} cannot be read as a profile: {str(exc)[:200]}") from exc
    return ImportProfile.from_json(stored)


def save_profile(profile: ImportProfile, path: Path) -> None:
    """Write a profile as JSON, named after its file unless it has a name."""
    named = dataclasses.replace(profile, name=profile.name or path.stem)
    try:
        path.write_text(json.dumps(named.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as exc:
        fail(f"the profile cannot be written to {path}: {exc.strerror}")


@contextmanager
def rejected_writer(path: Path | None) -> Iterator[RejectedWriter | None]:
    """Open the list of rejected rows and cells, where one is wanted."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        fail(f"the rejected rows cannot be written to {path}: {exc.strerror}")
    with file:
        yield RejectedWriter(file)


def _merged(base: Given, given: Given) -> Given:
    """Return the settings of `base`, overruled by those that were given."""
    changed = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(Given)
        if field.name != "mapping" and getattr(given, field.name) not in (None, ())
    }
    return dataclasses.replace(base, mapping={**base.mapping, **given.mapping}, **changed)
