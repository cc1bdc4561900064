"""The files beside the one that is imported: saved profiles in and out, and the list of what was rejected."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from joulebook.cli.output import fail
from joulebook.telemetry.files.builtin import BuiltinProfile
from joulebook.telemetry.files.errors import FileError, UnusableProfile
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.profile import Given, ImportProfile
from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.files.source import FileSource

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

_LARGEST_PROFILE = 4 << 20
_OPTIONS = {
    "time_columns": "time-column", "time_formats": "time-format", "na_values": "na", "mapping": "map",
    "key_columns": "key-column",
}  # fmt: skip
"""The options that are not called as their setting is."""


def option_words(setting: str, value: str) -> str:
    """Return the option that gives a setting of the file, with its value: `--tz UTC`."""
    return f"--{_OPTIONS.get(setting, setting.replace('_', '-'))} {value}".rstrip()


def layout_of(
    source: FileSource, given: Given, *, profile: str | None, device: Device, sheet: str
) -> FileLayout:
    """Return how a file is read: by its guess, by a built-in profile on top of it, or by a saved one.

    `profile` is the name of one, built in or saved by the device's owner, or the path of a file. Raises
    `UnclearFile` for what has to be asked, what the guess does, and `UnusableProfile`.
    """
    chosen: ImportProfile | BuiltinProfile | None = None
    if profile is not None:
        chosen = _named_profile(profile, device)
    try:
        layout = choose_layout(source, given, profile=chosen, device_tz=device.time_zone, sheet=sheet)
        layout.require_answers()
    except FileError as exc:
        raise type(exc)(exc.said(option_words), setting=exc.setting) from exc
    return layout


def _named_profile(name: str, device: Device) -> ImportProfile | BuiltinProfile:
    from joulebook.web.imports.profiles import find_profile

    try:
        return find_profile(device.owner, name)
    except UnusableProfile as exc:
        if not Path(name).exists():
            raise UnusableProfile(f"{exc}, and no file of that name") from exc
    return load_profile(Path(name))


def load_profile(path: Path) -> ImportProfile:
    """Return a saved profile; raises `UnusableProfile`."""
    try:
        if path.stat().st_size > _LARGEST_PROFILE:
            raise UnusableProfile(f"{path} is too large for a profile; is it the file to be imported?")
        stored = json.loads(path.read_text(encoding="utf-8"))
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
