"""Import profiles saved by users, beside the built-in ones."""

from __future__ import annotations

import dataclasses

from django.contrib.auth.models import User
from django.db import transaction

from joulebook.telemetry.files.builtin import BUILTIN, BuiltinProfile
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.text import codec_name
from joulebook.telemetry.files.times import TimeFormat, find_zone
from joulebook.web.imports.models import SavedProfile

MOST_PROFILES = 500
LONGEST_NAME = 100


class UnableToSaveProfile(Exception):
    """A profile cannot be saved under this name; the message gives the reason and the remedy."""


def find_profile(owner: User, name: str) -> ImportProfile | BuiltinProfile:
    """Return the owner's profile of this name, or the built-in one. Raises `UnusableProfile`."""
    if name in BUILTIN:
        return BUILTIN[name]
    saved = SavedProfile.objects.filter(owner=owner, name=name).first()
    if saved is None:
        own = list(SavedProfile.objects.filter(owner=owner).values_list("name", flat=True)[:20])
        raise UnusableProfile(
            f"there is no profile {name[:80]!r}; there are {', '.join([*BUILTIN, *own])}", setting="profile"
        )
    return ImportProfile.from_json(saved.profile)


def save_profile(owner: User, name: str, profile: ImportProfile) -> bool:
    """Save a profile, replacing the owner's profile of this name; return whether the name is new.

    Raises `UnableToSaveProfile` for the name of a built-in profile and for too many profiles, and
    `UnusableProfile` for an invalid name or setting.
    """
    if name in BUILTIN:
        raise UnableToSaveProfile(f"{name!r} is a built-in profile; save yours under another name")
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable() or "/" in name:
        raise UnusableProfile(
            f"the profile's name {name[:80]!r} is not 1 to {LONGEST_NAME} printable characters and no slash"
        )
    check_settings(profile)
    stored = dataclasses.replace(profile, name=name).as_json()
    with transaction.atomic():
        if SavedProfile.objects.filter(owner=owner, name=name).update(profile=stored):
            return False
        if SavedProfile.objects.filter(owner=owner).count() >= MOST_PROFILES:
            raise UnableToSaveProfile(f"there are {MOST_PROFILES} profiles already; remove one first")
        SavedProfile.objects.update_or_create(owner=owner, name=name, defaults={"profile": stored})
    return True


def remove_profile(owner: User, name: str) -> bool:
    """Remove a saved profile; return whether there was one. Imported readings stay."""
    deleted, _ = SavedProfile.objects.filter(owner=owner, name=name).delete()
    return bool(deleted)


def check_settings(profile: ImportProfile) -> None:
    """Raise `UnusableProfile` for a setting unusable with any file."""
    Splitter.of(profile)
    codec_name(profile.encoding)
    for text_format in profile.time_formats:
        TimeFormat(text_format)
    find_zone(profile.tz)
    NumberFormat.of(profile)
