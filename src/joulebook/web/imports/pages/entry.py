"""What somebody has entered on the page of a draft, as texts: read from the form, and shown there again."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from django.http import QueryDict

from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.profile import Given
from joulebook.web.imports.models import Import

FIELDS_OF_A_ROW = ("metric", "unit", "factor", "device")
_MOST_ROWS = 10_000
_LONGEST = 1000
_MOST_FORMATS = 20
_LINES = ("time_formats", "na_values")
_LISTS = ("time_columns", "key_columns")
_WORDS: dict[str, tuple[str, ...]] = {
    "layout": ("wide", "long", "across"),
    "time_marks": ("start", "end"),
    "doubled_hour": ("order", "first", "second"),
    "missing_hour": ("reject", "shift"),
}
_TEXTS = ("delimiter", "encoding", "tz", "decimal", "thousands")
NO_MARK = "none"
NOT_WITH_A_PROFILE = ("layout", "delimiter", "header_line", "time_columns", "key_columns")
"""Settings that a saved profile fixes: they are not asked for beside one."""


class BadEntry(Exception):
    """Something entered cannot be understood; the message says what."""


@dataclass(frozen=True)
class MappedRow:
    """What was entered for a column, or a key: texts as they were entered, by `FIELDS_OF_A_ROW`."""

    is_on: bool
    texts: Mapping[str, str]


RowKey = tuple[str, tuple[str, ...]]
"""A column and the cells of a key; either may be empty."""


@dataclass(frozen=True)
class DraftEntry:
    """Everything that the form of a draft says.

    `settings` are texts (lists of texts for columns) by the field of `Given`; `answers` labels of answers
    by the setting that was asked about. `profile` is empty for the guess alone, or a profile's name.
    """

    device: str = ""
    profile: str = ""
    sheet: str = ""
    settings: Mapping[str, str | list[str]] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[RowKey, MappedRow] = field(default_factory=dict)
    takes_new_keys: bool = True
    on_conflict: Literal["keep", "replace"] = "keep"
    is_strict: bool = False

    @classmethod
    def of_draft(cls, import_: Import) -> DraftEntry:
        """Return what the page of a draft begins with."""
        device = import_.device
        is_own = device is not None and device.owner_id == import_.user_id
        return cls(device=device.device_id if device is not None and is_own else "")

    @classmethod
    def of_form(cls, form: QueryDict) -> DraftEntry:
        """Return what was entered. Raises `BadEntry` for a form that is not this page's."""
        settings: dict[str, str | list[str]] = {}
        for name in (*_WORDS, *_TEXTS, *_LINES, "header_line"):
            settings[name] = _text(form, f"s-{name}")
        for name in _LISTS:
            settings[name] = [text.replace("\0", "\ufffd")[:_LONGEST] for text in form.getlist(f"s-{name}")][
                :6
            ]
        return cls(
            device=_text(form, "device"),
            profile=_text(form, "profile"),
            sheet=_text(form, "sheet"),
            settings=settings,
            answers={
                name.removeprefix("answer-"): _text(form, name) for name in form if name.startswith("answer-")
            },
            rows=_rows(form),
            takes_new_keys=not form.get("has-keys") or "new-keys" in form,
            on_conflict="replace" if form.get("on-conflict") == "replace" else "keep",
            is_strict="strict" in form,
        )

    @property
    def is_saved_profile(self) -> bool:
        """Whether a saved profile says how the file is read, and fixes some settings."""
        return bool(self.profile) and self.profile not in BUILTIN

    def hidden_fields(self, *, with_rows: bool, asked: Collection[str]) -> list[tuple[str, str]]:
        """Return the fields that the page does not show now, but must not forget.

        Those are answers to what is not `asked` now, and the rows where the file cannot be read.
        """
        fields = [(f"answer-{name}", label) for name, label in self.answers.items() if name not in asked]
        if with_rows:
            fields.append(("rows", str(len(self.rows))))
            for number, (key, row) in enumerate(self.rows.items()):
                fields.append((f"row-{number}", row_text(key)))
                fields += [(f"{name}-{number}", text) for name, text in row.texts.items()]
                fields += [(f"on-{number}", "on")] if row.is_on else []
        return fields

    def given(self) -> Given:
        """Return the settings that were entered. Raises `BadEntry` that says what cannot be understood."""
        entered: dict[str, Any] = {}
        for name, value in self.settings.items():
            if self.is_saved_profile and name in NOT_WITH_A_PROFILE:
                continue
            if isinstance(value, list):
                entered[name] = tuple(text for text in value if text.strip())
            elif value:
                entered[name] = _setting(name, value)
        return Given(**entered)


def _text(form: QueryDict, name: str) -> str:
    # No NUL: a database of accounts may not take one.
    return str(form.get(name, "")).replace("\r\n", "\n").replace("\0", "\ufffd")[:_LONGEST]


def _setting(name: str, text: str) -> Any:
    if name in _LINES:
        lines = tuple(line.strip() for line in text.split("\n") if line.strip())
        if name == "time_formats" and len(lines) > _MOST_FORMATS:
            raise BadEntry(f"Time formats: there are {len(lines)}; enter {_MOST_FORMATS} at most")
        return lines
    if name == "header_line":
        if not text.strip().isascii() or not text.strip().isdigit() or len(text.strip()) > 9:
            raise BadEntry(f"Header line: {text[:40]!r} is no line number; 0 says that there is no header")
        return int(text)
    if name in _WORDS and text not in _WORDS[name]:
        raise BadEntry(f"{text[:40]!r} is none of {', '.join(_WORDS[name])}")
    if name == "thousands":
        return "" if text == NO_MARK else text
    return text if name == "delimiter" else text.strip()


def _rows(form: QueryDict) -> dict[RowKey, MappedRow]:
    rows: dict[RowKey, MappedRow] = {}
    count = form.get("rows", "0")[:_LONGEST]
    for number in range(min(int(count) if count.isascii() and count.isdigit() else 0, _MOST_ROWS)):
        key = _row_key(form.get(f"row-{number}", ""))
        texts = {name: _text(form, f"{name}-{number}").strip() for name in FIELDS_OF_A_ROW}
        rows[key] = MappedRow(is_on=f"on-{number}" in form, texts=texts)
    return rows


def row_text(key: RowKey) -> str:
    """Return how the form writes which column and key a row is of."""
    return json.dumps([key[0], *key[1]], ensure_ascii=False, separators=(",", ":"))


def _row_key(text: str) -> RowKey:
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or not parts or not all(_is_text(part) for part in parts):
        raise BadEntry("The form is not this page's; load the page again.")
    return parts[0], tuple(parts[1:])


def _is_text(part: object) -> bool:
    """Say whether it is text that can be shown again: JSON may write half of a character."""
    return isinstance(part, str) and not any("\ud800" <= each <= "\udfff" for each in part)
