"""What a request to import a file asks for, read from its parameters and checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from django.http import QueryDict

from joulebook.telemetry.files.errors import FileError, UnusableProfile
from joulebook.telemetry.files.guess.delimiter import named_splitter
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import Given, mapping_from, mapping_word
from joulebook.telemetry.files.text import codec_name
from joulebook.telemetry.files.times import TimeFormat, find_zone
from joulebook.web.api.parameters import BadParameter, check_names
from joulebook.web.imports.models import Import

FIELDS = {
    "delimiter": "delimiter",
    "encoding": "encoding",
    "header_line": "header_line",
    "time_column": "time_columns",
    "time_format": "time_formats",
    "tz": "tz",
    "na": "na_values",
    "decimal": "decimal",
    "thousands": "thousands",
    "map": "mapping",
    "layout": "layout",
    "key_column": "key_columns",
    "time_marks": "time_marks",
    "doubled_hour": "doubled_hour",
    "missing_hour": "missing_hour",
}
"""The field of `Given` behind each parameter that says how the file is read."""

REPEATABLE = {"time_column": 6, "time_format": 20, "na": 1000, "map": 4096, "key_column": 16}
"""The parameters that may be given again, and how often."""

_MAY_BE_EMPTY = ("thousands", "na", "key_column")
_OTHERS = ("device", "name", "profile", "sheet", "strict", "on_conflict", "force", "dry_run")
KNOWN = (*_OTHERS, *FIELDS)

WORDS: dict[str, tuple[str, ...]] = {
    "layout": ("wide", "long", "across"),
    "time_marks": ("start", "end"),
    "doubled_hour": ("order", "first", "second"),
    "missing_hour": ("reject", "shift"),
    "on_conflict": ("keep", "replace"),
    "strict": ("0", "1"),
    "force": ("0", "1"),
    "dry_run": ("0", "1"),
}
"""The parameters that take one of a few words."""

_CHECKS: dict[str, Callable[[str], object]] = {
    "delimiter": named_splitter,
    "encoding": codec_name,
    "tz": find_zone,
    "time_format": TimeFormat,
    "decimal": lambda mark: NumberFormat(decimal=mark),
    "thousands": lambda mark: NumberFormat(decimal="," if mark == "." else ".", thousands=mark),
}
"""What raises `FileError` for a value that no file can be read with, by parameter."""

DEFAULT_LIMIT = 50
MOST_LISTED = 500
HIGHEST_NUMBER = 2**31

_LONGEST = 1000
_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True)
class ImportParameters:
    """A checked request: the device's id, how the file is to be read, and what is to be done with it.

    `profile` is the name of a saved or built-in one, empty for none; `name` what people call the file.
    """

    device: str
    given: Given
    name: str = ""
    profile: str = ""
    sheet: str = ""
    is_strict: bool = False
    on_conflict: Literal["keep", "replace"] = "keep"
    is_forced: bool = False
    is_dry_run: bool = False


def read_import(query: QueryDict, *, also: QueryDict | None = None) -> ImportParameters:
    """Return what a query asks for, and a form's fields `also`.

    Raises `BadParameter` that names the parameter and the remedy.
    """
    asked = _values(query, also)
    device = _one(asked, "device")
    if not device:
        raise BadParameter("device", "name the device whose readings they are: device=ID")
    return ImportParameters(
        device=device,
        given=_given(asked),
        name=_one(asked, "name"),
        profile=_one(asked, "profile"),
        sheet=_one(asked, "sheet"),
        is_strict=_word(asked, "strict", "0") == "1",
        on_conflict=cast('Literal["keep", "replace"]', _word(asked, "on_conflict", "keep")),
        is_forced=_word(asked, "force", "0") == "1",
        is_dry_run=_word(asked, "dry_run", "0") == "1",
    )


@dataclass(frozen=True)
class ListParameters:
    """Which imports are to be listed: at most `limit`, with numbers below `before`."""

    device: str
    states: tuple[str, ...]
    before: int | None
    limit: int


def read_list(query: QueryDict) -> ListParameters:
    """Return what a query for a list asks for. Raises `BadParameter`."""
    check_names(query, ("device", "state", "before", "limit"), repeatable=("state",))
    if "device" in query and not query["device"]:
        raise BadParameter("device", "device is empty; name one of your devices, or leave it out")
    states = tuple(query.getlist("state"))
    for state in states:
        if state not in Import.State.values:
            raise BadParameter("state", f"state {state[:20]!r} is none of {', '.join(Import.State.values)}")
    return ListParameters(
        device=query.get("device", ""),
        states=states,
        before=_number(query, "before", None, most=HIGHEST_NUMBER),
        limit=_number(query, "limit", DEFAULT_LIMIT, most=MOST_LISTED) or DEFAULT_LIMIT,
    )


def _number(query: QueryDict, name: str, default: int | None, *, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= most:
        raise BadParameter(name, f"{name} {text[:20]!r} is no number from 1 to {most:,}")
    return int(text)


def parameters_of(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return fields of `Given` as the parameters, and their values, that say the same."""
    names = {field: name for name, field in FIELDS.items()}
    said: dict[str, list[str]] = {}
    for field, value in given.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            said[names[field]] = [mapping_word(column, target) for column, target in value.items()]
        elif isinstance(value, tuple):
            said[names[field]] = [str(each) for each in value]
        else:
            said[names[field]] = [str(value)]
    return said


def given_parameters(given: Given) -> dict[str, list[str]]:
    """Return what was given as the parameters, and their values, that say the same."""
    empty = Given()
    fields = (field.name for field in dataclasses.fields(Given))
    return parameters_of(
        {name: getattr(given, name) for name in fields if getattr(given, name) != getattr(empty, name)}
    )


def parameter_of(setting: str) -> str:
    """Return the parameter that says a setting of a `FileError`; empty where none does."""
    names = {field: name for name, field in FIELDS.items()}
    return names.get(setting, setting if setting in _OTHERS else "")


def parameter_words(setting: str, value: str) -> str:
    """Return the parameter that gives a setting of the file, with its value: `tz=UTC`."""
    return f"{parameter_of(setting)}={value}"


def _values(query: QueryDict, also: QueryDict | None) -> dict[str, list[str]]:
    """Return the values of each parameter that is given; most empty fields of a form say nothing."""
    for name, values in query.lists():
        if name in KNOWN and name not in _MAY_BE_EMPTY and not all(values):
            raise BadParameter(name, f"{name} is empty; give it a value, or leave it out")
    found: dict[str, list[str]] = {}
    for source in (query, also or QueryDict()):
        for name, values in source.lists():
            if name not in KNOWN:
                raise BadParameter(name[:40], f"parameter {name[:40]!r} is not known; use {', '.join(KNOWN)}")
            found.setdefault(name, []).extend(v for v in values if v or name in _MAY_BE_EMPTY)
    for name, values in found.items():
        most = REPEATABLE.get(name, 1)
        if len(values) > most:
            remedy = "give it once" if most == 1 else f"give it {most:,} times at most"
            raise BadParameter(name, f"{name} is given {len(values):,} times; {remedy}")
        for value in values:
            if len(value) > _LONGEST or "\0" in value:
                raise BadParameter(name, f"{name} has at most {_LONGEST:,} characters, and no NUL")
    return found


def _check_values(asked: dict[str, list[str]]) -> None:
    """Raise `BadParameter` for a value that no file can be read with."""
    for name, check in _CHECKS.items():
        for value in asked.get(name, ()):
            try:
                check(value)
            except FileError as exc:
                raise BadParameter(name, exc.said(parameter_words)) from None


def _given(asked: dict[str, list[str]]) -> Given:
    _check_values(asked)
    try:
        mapping = mapping_from(asked.get("map", ()))
    except UnusableProfile as exc:
        raise BadParameter("map", exc.said(parameter_words)) from None
    settings: dict[str, Any] = {"mapping": mapping}
    for name in ("delimiter", "encoding", "tz", "decimal", "thousands"):
        settings[name] = asked[name][0] if asked.get(name) else None
    for name in ("time_column", "time_format", "key_column"):
        settings[FIELDS[name]] = tuple(asked.get(name, ()))
    for name in ("layout", "time_marks", "doubled_hour", "missing_hour"):
        settings[name] = _word(asked, name, None)
    return Given(
        header_line=_line(asked), na_values=tuple(asked["na"]) if "na" in asked else None, **settings
    )


def _one(asked: dict[str, list[str]], name: str) -> str:
    return asked[name][0] if asked.get(name) else ""


def _word(asked: dict[str, list[str]], name: str, default: str | None) -> str | None:
    word = _one(asked, name)
    if not word:
        return default
    if word not in WORDS[name]:
        raise BadParameter(name, f"{name} {word[:20]!r} is not one of {', '.join(WORDS[name])}")
    return word


def _line(asked: dict[str, list[str]]) -> int | None:
    text = _one(asked, "header_line")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise BadParameter(
            "header_line", f"header_line {text[:20]!r} is no number of a line; 0: there is none"
        )
    return int(text)
