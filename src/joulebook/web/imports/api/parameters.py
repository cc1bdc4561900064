"""The parameters of the API of imports: their descriptions and checks, and settings named as parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from django.http import QueryDict

from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.guess.chosen import check_given
from joulebook.telemetry.files.settings import HANDLING, SETTING_OF, SETTINGS, Given, Setting
from joulebook.web.api.parameters import BadParameter, check_names
from joulebook.web.imports.models import Import

_OWN = (
    Setting("Device", "the device of the readings, one of your own; required", name="device", field="device"),
    Setting("Name", "your name for the file; default: the name in the form", name="name", field="name"),
)
PARAMETERS = {each.name: each for each in (*_OWN, *SETTINGS, *HANDLING)}
"""The parameters of an import: its own, and a parameter for each setting."""

DEFAULT_LIMIT = 50
MOST_LISTED = 500
HIGHEST_NUMBER = 2**31


def _described(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def _described_setting(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if setting.is_closed:
        schema["enum"] = list(setting.choices)
    if setting.kind == "number":
        schema = {"type": "integer", "minimum": 0}
    if setting.most > 1:
        schema = {"type": "array", "items": schema}
    about = setting.help if setting.name != "profile" else f"{setting.help} ({', '.join(BUILTIN)})"
    return _described(setting.name, about, required=setting.name == "device", **schema)


IMPORT_PARAMETERS = [_described_setting(each) for each in PARAMETERS.values()]
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
    is_strict: bool = False
    on_conflict: Literal["keep", "replace"] = "keep"
    is_forced: bool = False
    is_dry_run: bool = False


def read_import(query: QueryDict, *, also: QueryDict | None = None) -> ImportParameters:
    """Return the parameters of a query, and of a form's fields `also`.

    Raises `BadParameter` and `UnusableProfile` with the parameter and the remedy.
    """
    texts = _texts(query, also)
    values = {each.field: each.read(texts[each.name]) for each in (*_OWN, *HANDLING) if texts.get(each.name)}
    if not values.get("device"):
        raise BadParameter("device", "name the device of the readings: device=ID")
    given = Given.read(texts)
    check_given(given)
    return ImportParameters(
        device=values["device"],
        given=given,
        name=values.get("name", ""),
        profile=values.get("profile", ""),
        is_strict=values.get("strict", False),
        on_conflict=values.get("on_conflict", "keep"),
        is_forced=values.get("force", False),
        is_dry_run=values.get("dry_run", False),
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


def parameter_of(setting: str) -> str:
    """Return the parameter for a setting of a `FileError`, or an empty text."""
    return SETTING_OF[setting].name if setting in SETTING_OF else setting if setting in PARAMETERS else ""


def parameter_words(setting: str, value: str) -> str:
    """Return the parameter for a reading setting, with its value: `tz=UTC`."""
    return f"{parameter_of(setting)}={value}" if value else parameter_of(setting)


def _texts(query: QueryDict, also: QueryDict | None) -> dict[str, list[str]]:
    """Return the texts by parameter; empty fields of a form are left out, unless empty is a value."""
    texts: dict[str, list[str]] = {}
    for source in (query, also or QueryDict()):
        for name, found in source.lists():
            if name not in PARAMETERS:
                known = ", ".join(PARAMETERS)
                raise BadParameter(name[:40], f"parameter {name[:40]!r} is not known; use {known}")
            may_be_empty = PARAMETERS[name].may_be_empty
            if source is query and not may_be_empty and not all(found):
                raise BadParameter(name, f"{name} is empty; give it a value, or leave it out")
            texts.setdefault(name, []).extend(each for each in found if each or may_be_empty)
    return texts
