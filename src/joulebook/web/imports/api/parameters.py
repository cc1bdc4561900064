"""The parameters of the API of imports: their descriptions and checks, and settings named as parameters."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from django.http import QueryDict

from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.errors import FileError, UnusableProfile
from joulebook.telemetry.files.guess.delimiter import named_splitter
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import Given, mapping_from, mapping_word
from joulebook.telemetry.files.text import codec_name
from joulebook.telemetry.files.times import TimeFormat, find_zone
from joulebook.web.api.parameters import BadParameter, check_names
from joulebook.web.imports.models import Import

PARAMETERS = {
    "device": "the device of the readings, one of your own; required",
    "name": "your name for the file; default: the name in the form",
    "profile": "a saved profile of yours, or a built-in one; default: the file is guessed",
    "delimiter": "character between cells, or a word: tab, blanks; /PATTERN/; widths: 10,8,8",
    "encoding": "such as utf-8, cp1252, latin-1, utf-16",
    "header_line": "line with the column names; 0: no header",
    "time_column": "column of the time; repeatable",
    "time_format": "format of the times, such as %d/%m/%Y %H:%M:%S; repeatable",
    "tz": "time zone of times without offset; default: the device's",
    "na": "text of a missing value, besides an empty cell; repeatable",
    "decimal": "decimal mark: . or ,",
    "thousands": "thousands mark; empty: none",
    "map": "COLUMN=METRIC[:UNIT[:KIND]] names a column's metric, COLUMN= leaves it out; repeatable",
    "layout": "wide (a column per metric), long (a key in each row) or across (a column per hour)",
    "key_column": "column naming the metric of a row; repeatable; empty: none",
    "time_marks": "times mark the start or the end of an interval",
    "doubled_hour": "times of the doubled hour: by row order, all first pass or all second pass",
    "missing_hour": "reject or shift times skipped by the clock change",
    "amounts": "whether values of energy and the like that rise and fall are amounts per interval: yes or no",
    "sheet": "sheet of a workbook; default: the first with two rows or more",
    "strict": "1: store nothing if any row or cell cannot be read",
    "on_conflict": "keep or replace a stored value different from the file's",
    "force": "1: import even if the same file was imported before",
    "dry_run": "1: store nothing and keep nothing, answer with the report",
}
"""The parameters of an import, with their descriptions."""

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
    "amounts": "amounts",
}
"""The field of `Given` set by each parameter with a reading setting."""

REPEATABLE = {"time_column": 6, "time_format": 20, "na": 1000, "map": 4096, "key_column": 16}
"""The repeatable parameters, with their largest number."""

_MAY_BE_EMPTY = ("thousands", "na", "key_column")
KNOWN = tuple(PARAMETERS)

WORDS: dict[str, tuple[str, ...]] = {
    "layout": ("wide", "long", "across"),
    "time_marks": ("start", "end"),
    "doubled_hour": ("order", "first", "second"),
    "missing_hour": ("reject", "shift"),
    "amounts": ("yes", "no"),
    "on_conflict": ("keep", "replace"),
    "strict": ("0", "1"),
    "force": ("0", "1"),
    "dry_run": ("0", "1"),
}
"""The words accepted by parameters with a fixed choice."""

_CHECKS: dict[str, Callable[[str], object]] = {
    "delimiter": named_splitter,
    "encoding": codec_name,
    "tz": find_zone,
    "time_format": TimeFormat,
    "decimal": lambda mark: NumberFormat(decimal=mark),
    "thousands": lambda mark: NumberFormat(decimal="," if mark == "." else ".", thousands=mark),
}
"""Functions raising `FileError` for a value unusable with any file, by parameter."""

DEFAULT_LIMIT = 50
MOST_LISTED = 500
HIGHEST_NUMBER = 2**31

_LONGEST = 1000
_Word = TypeVar("_Word", bound=str)


def _described(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def _described_setting(name: str, description: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name in WORDS:
        schema["enum"] = list(WORDS[name])
    if name == "header_line":
        schema = {"type": "integer", "minimum": 0}
    if name in REPEATABLE:
        schema = {"type": "array", "items": schema}
    if name == "profile":
        description += f" ({', '.join(BUILTIN)})"
    return _described(name, description, required=name == "device", **schema)


IMPORT_PARAMETERS = [_described_setting(name, text) for name, text in PARAMETERS.items()]
"""The parameters of an import as OpenAPI describes them."""

LIST_PARAMETERS = [
    _described("device", "only imports for this device"),
    _described(
        "state",
        "only imports in this state; repeatable",
        type="array",
        items={"type": "string", "enum": Import.State.values},
    ),
    _described(
        "before", "only imports with smaller numbers", type="integer", minimum=1, maximum=HIGHEST_NUMBER
    ),
    _described(
        "limit",
        "up to this number of imports",
        type="integer",
        default=DEFAULT_LIMIT,
        minimum=1,
        maximum=MOST_LISTED,
    ),
]
"""The parameters of a list as OpenAPI describes them."""


@dataclass(frozen=True)
class ImportParameters:
    """The checked parameters of an import.

    `profile` is the name of a saved or built-in one, empty for none; `name` the sender's name for the file.
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
    """Return the parameters of a query, and of a form's fields `also`.

    Raises `BadParameter` with the parameter and the remedy.
    """
    values = _values(query, also)
    device = _one(values, "device")
    if not device:
        raise BadParameter("device", "name the device of the readings: device=ID")
    return ImportParameters(
        device=device,
        given=_given(values),
        name=_one(values, "name"),
        profile=_one(values, "profile"),
        sheet=_one(values, "sheet"),
        is_strict=_word(values, "strict", "0") == "1",
        on_conflict=cast('Literal["keep", "replace"]', _word(values, "on_conflict", "keep")),
        is_forced=_word(values, "force", "0") == "1",
        is_dry_run=_word(values, "dry_run", "0") == "1",
    )


@dataclass(frozen=True)
class ListParameters:
    """The checked parameters of a list: up to `limit` imports, with numbers below `before`."""

    device: str
    states: tuple[str, ...]
    before: int | None
    limit: int


def read_list(query: QueryDict) -> ListParameters:
    """Return the parameters of a list. Raises `BadParameter`."""
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
    """Return fields of `Given` as parameters with their values."""
    names = {field: name for name, field in FIELDS.items()}
    parameters: dict[str, list[str]] = {}
    for field, value in given.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            parameters[names[field]] = [mapping_word(column, target) for column, target in value.items()]
        elif isinstance(value, tuple):
            parameters[names[field]] = [str(each) for each in value]
        else:
            parameters[names[field]] = [str(value)]
    return parameters


def given_parameters(given: Given) -> dict[str, list[str]]:
    """Return the given settings as parameters with their values."""
    empty = Given()
    fields = (field.name for field in dataclasses.fields(Given))
    return parameters_of(
        {name: getattr(given, name) for name in fields if getattr(given, name) != getattr(empty, name)}
    )


def parameter_of(setting: str) -> str:
    """Return the parameter for a setting of a `FileError`, or an empty text."""
    names = {field: name for name, field in FIELDS.items()}
    return names.get(setting, setting if setting in KNOWN else "")


def parameter_words(setting: str, value: str) -> str:
    """Return the parameter for a reading setting, with its value: `tz=UTC`."""
    return f"{parameter_of(setting)}={value}"


def _values(query: QueryDict, also: QueryDict | None) -> dict[str, list[str]]:
    """Return the values by parameter; empty fields of a form are left out, unless empty is a value."""
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


def _given(values: dict[str, list[str]]) -> Given:
    for name, check in _CHECKS.items():
        for value in values.get(name, ()):
            try:
                check(value)
            except FileError as exc:
                raise BadParameter(name, exc.said(parameter_words)) from None
    try:
        mapping = mapping_from(values.get("map", ()))
    except UnusableProfile as exc:
        raise BadParameter("map", exc.said(parameter_words)) from None
    settings: dict[str, Any] = {"mapping": mapping}
    for name in ("delimiter", "encoding", "tz", "decimal", "thousands"):
        settings[name] = values[name][0] if values.get(name) else None
    for name in ("time_column", "time_format", "key_column"):
        settings[FIELDS[name]] = tuple(values.get(name, ()))
    for name in ("layout", "time_marks", "doubled_hour", "missing_hour", "amounts"):
        settings[name] = _word(values, name, None)
    line = _one(values, "header_line")
    if line and not re.fullmatch(r"[0-9]{1,6}", line):
        raise BadParameter("header_line", f"header_line {line[:20]!r} is no line number; 0: no header")
    return Given(
        header_line=int(line) if line else None,
        na_values=tuple(values["na"]) if "na" in values else None,
        **settings,
    )


def _one(values: dict[str, list[str]], name: str) -> str:
    return values[name][0] if values.get(name) else ""


def _word(values: dict[str, list[str]], name: str, default: str | None) -> str | None:
    word = _one(values, name)
    if not word:
        return default
    if word not in WORDS[name]:
        raise BadParameter(name, f"{name} {word[:20]!r} is not one of {', '.join(WORDS[name])}")
    return word
