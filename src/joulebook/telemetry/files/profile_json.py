"""Import profiles as JSON objects: written whole, and checked entry by entry when they are read."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from joulebook.telemetry.files.errors import UnusableProfile

VERSION = 1
_LONGEST_TEXT = 1000
_MOST_ENTRIES = {
    "time_columns": 6,
    "time_formats": 20,
    "widths": 4096,
    "skip_prefixes": 100,
    "na_values": 1000,
    "affixes": 200,
    "key_columns": 16,
    "key": 16,
    "hour_columns": 4096,
    "values": 50_000,
    "ignored_keys": 50_000,
}
"""How long each list of a profile may be: what is done for each row grows with most of them."""


def profile_to_json(profile: Any) -> dict[str, Any]:
    """Return a profile (a data class) as a JSON object; nested entries leave out what has its default."""
    described: dict[str, Any] = {"version": VERSION}
    for entry in dataclasses.fields(profile):
        value = getattr(profile, entry.name)
        if isinstance(value, tuple):
            value = [_short(item) if dataclasses.is_dataclass(item) else item for item in value]
        described[entry.name] = value
    return described


def profile_from_json(stored: object, profile_type: type) -> dict[str, Any]:
    """Return the entries of a profile by name; raises `UnusableProfile` that names what cannot be used."""
    if not isinstance(stored, Mapping):
        raise UnusableProfile("an import profile is a JSON object, such as --save-profile writes")
    version = stored.get("version", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
        raise UnusableProfile(
            f"the profile has version {version!r}; this Joulebook reads versions 1 to {VERSION}, "
            "so use the Joulebook that wrote it, or a newer one"
        )
    return _entries({name: value for name, value in stored.items() if name != "version"}, profile_type, "")


def _short(item: Any) -> dict[str, Any]:
    shown = {}
    for entry in dataclasses.fields(item):
        value = getattr(item, entry.name)
        if entry.default is dataclasses.MISSING or value != entry.default:
            shown[entry.name.removesuffix("_")] = list(value) if isinstance(value, tuple) else value
    return shown


def _entries(stored: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    hints = _hints(kind)
    fields = {field.name.removesuffix("_"): field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(stored) - set(fields)):
        raise UnusableProfile(
            f"the profile has the unknown entry {where}{str(unknown[0])[:80]!r}; "
            f"there are {', '.join(fields)}"
        )
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in stored:
            raise UnusableProfile(f"the profile lacks the entry {where}{name!r}")
    return {
        fields[name].name: _checked(value, hints[fields[name].name], f"{where}{name}")
        for name, value in stored.items()
    }


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a data class's fields: to find them takes longer than to read an entry."""
    return get_type_hints(kind)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type of a field wants it; raises `UnusableProfile` where it is of another."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple:
        most = _MOST_ENTRIES[where.rpartition(".")[2]]
        if not isinstance(value, list):
            raise _unfit(value, "a list", where)
        if len(value) > most:
            raise UnusableProfile(
                f"the profile's entry {where} has {len(value):,} items, at most {most:,} are read"
            )
        items = [_checked(item, args[0], f"{where}[{at}]") for at, item in enumerate(value)]
        return items if dataclasses.is_dataclass(args[0]) else tuple(items)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise _unfit(value, "an object", where)
        return _entries(value, hint, f"{where}.")
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise _unfit(value, " or ".join(map(repr, args)), where)
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _checked(value, args[0], where)
    return _plain(value, hint, where)


def _plain(value: Any, hint: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or isinstance(value, bool):
        raise _unfit(value, {str: "text", int: "a whole number", float: "a number"}[hint], where)
    # A database of accounts may not take a NUL, and no line of a file has one.
    if hint is str and (len(value) > _LONGEST_TEXT or "\0" in value):
        raise _unfit(value, f"text of at most {_LONGEST_TEXT} characters without NUL", where)
    if hint is int and not 0 <= value < 2**31:
        raise _unfit(value, "a whole number of 0 or more", where)
    return value


def _unfit(value: Any, wanted: str, where: str) -> UnusableProfile:
    return UnusableProfile(f"the profile's entry {where} is {str(value)[:80]!r}; it must be {wanted}")
