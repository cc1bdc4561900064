"""The entry on the page of a draft: form fields as text, and the mapping of columns to metrics."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from django.http import QueryDict

from joulebook.telemetry.csv_format import unguarded
from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.settings import SETTINGS, Given, KindWord, Setting
from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.written_units import written_unit
from joulebook.telemetry.readings import metric_name_problem
from joulebook.web.imports.models import Import

FIELDS_OF_A_ROW = ("metric", "kind", "unit", "factor", "device")
_MOST_ROWS = 10_000
_LONGEST = 1000
_LONGEST_UNIT = 32
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadEntry(Exception):
    """An entry cannot be understood; the message says which."""


@dataclass(frozen=True)
class MappedRow:
    """The entry for a column or key: unchanged texts, by `FIELDS_OF_A_ROW`."""

    is_on: bool
    texts: Mapping[str, str]


RowKey = tuple[str, tuple[str, ...]]
"""A column and the cells of a key; either may be empty."""


@dataclass(frozen=True)
class DraftEntry:
    """All fields of a draft's form.

    `settings` are the texts in the fields of each setting, by the field of `Given`; `answers` are labels of
    answers by the setting of their question. `profile` is a profile's name, or empty for the guess alone.
    """

    device: str = ""
    profile: str = ""
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[RowKey, MappedRow] = field(default_factory=dict)
    takes_new_keys: bool = True
    on_conflict: Literal["keep", "replace"] = "keep"
    is_strict: bool = False

    @classmethod
    def of_draft(cls, import_: Import) -> DraftEntry:
        """Return the initial entry of a draft."""
        device = import_.device
        is_own = device is not None and device.owner_id == import_.user_id
        return cls(device=device.device_id if device is not None and is_own else "")

    @classmethod
    def of_form(cls, form: QueryDict) -> DraftEntry:
        """Return the entry of a sent form. Raises `BadEntry` for a form of another page."""
        return cls(
            device=_text(form, "device"),
            profile=_text(form, "profile"),
            settings={
                each.field: [_clean(text) for text in form.getlist(f"s-{each.field}")[: max(1, each.inputs)]]
                for each in SETTINGS
            },
            answers={
                name.removeprefix("answer-"): _text(form, name) for name in form if name.startswith("answer-")
            },
            rows=_rows(form),
            takes_new_keys=not form.get("has-keys") or "new-keys" in form,
            on_conflict="replace" if form.get("on-conflict") == "replace" else "keep",
            is_strict="strict" in form,
        )

    @property
    def sheet(self) -> str:
        """The chosen sheet of a workbook, empty for the first with data."""
        return "".join(self.settings.get("sheet", ()))

    @property
    def settings_given(self) -> int:
        """The number of settings with an entry."""
        return sum(any(texts) for texts in self.settings.values())

    @property
    def is_saved_profile(self) -> bool:
        """Whether a saved profile is chosen, with settings fixed by it."""
        return bool(self.profile) and self.profile not in BUILTIN

    def hidden_fields(self, *, with_rows: bool, shown_questions: Collection[str]) -> list[tuple[str, str]]:
        """Return the fields not shown on the page now, to be sent again with the form.

        These are answers to questions not shown, and either the rows of a file that cannot be read now, or
        the mapping entered while it could not be read.
        """
        fields = [
            (f"answer-{name}", label) for name, label in self.answers.items() if name not in shown_questions
        ]
        if not with_rows:
            return fields + [("s-mapping", text) for text in self.settings.get("mapping", ()) if text]
        fields.append(("rows", str(len(self.rows))))
        for number, (key, row) in enumerate(self.rows.items()):
            fields.append((f"row-{number}", row_text(key)))
            fields += [(f"{name}-{number}", text) for name, text in row.texts.items()]
            fields += [(f"on-{number}", "on")] if row.is_on else []
        return fields

    def given(self) -> Given:
        """Return the entered settings. Raises `UnusableProfile` for one that cannot be understood."""
        entered = {
            each.name: _texts(each, self.settings.get(each.field, ()))
            for each in SETTINGS
            if not (each.is_fixed and self.is_saved_profile)
        }
        return Given.read(entered)


def _text(form: QueryDict, name: str) -> str:
    return _clean(form.get(name, ""))[:_LONGEST]


def _clean(text: str) -> str:
    # NUL is replaced: PostgreSQL, a possible accounts database, cannot store it.
    return text.replace("\r\n", "\n").replace("\0", "\ufffd")


def _texts(setting: Setting, entered: Sequence[str]) -> list[str]:
    """Return the texts of a setting's fields on the page, without empty ones and blanks around others."""
    if setting.is_lines:
        entered = [line for text in entered for line in text.split("\n") if line.strip()]
    return [text if text in setting.choices else text.strip() or text for text in entered if text]


def _rows(form: QueryDict) -> dict[RowKey, MappedRow]:
    rows: dict[RowKey, MappedRow] = {}
    count = form.get("rows", "0")[:_LONGEST]
    for number in range(min(int(count) if count.isascii() and count.isdigit() else 0, _MOST_ROWS)):
        key = _row_key(form.get(f"row-{number}", ""))
        texts = {name: _text(form, f"{name}-{number}").strip() for name in FIELDS_OF_A_ROW}
        rows[key] = MappedRow(is_on=f"on-{number}" in form, texts=texts)
    return rows


def row_text(key: RowKey) -> str:
    """Return a column and key as a text for the form."""
    return json.dumps([key[0], *key[1]], ensure_ascii=False, separators=(",", ":"))


def _row_key(text: str) -> RowKey:
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        parts = None
    # JSON may contain half of a character.
    is_key = isinstance(parts, list) and all(
        isinstance(part, str) and not _SURROGATE.search(part) for part in parts
    )
    if not parts or not is_key:
        raise BadEntry("The form is not this page's; load the page again.")
    return parts[0], tuple(parts[1:])


@dataclass
class MappingRow:
    """A column or key of the file with its target; the texts are as entered, or as guessed.

    `kind` is empty for the `guessed` one.
    """

    guessed: ValueColumn
    is_on: bool
    metric: str
    unit: str
    factor: str = "1"
    device: str = ""
    kind: str = ""
    reason: str = ""
    """The reason for leaving it out by default."""
    problem: str = ""

    @property
    def column(self) -> str:
        """The column of the file; empty for the hours across."""
        return self.guessed.column

    @property
    def key(self) -> tuple[str, ...]:
        """The cells of the key, if any."""
        return self.guessed.key

    @property
    def name(self) -> RowKey:
        """The identity of the row within its file."""
        return self.column, self.key

    @property
    def usual_unit(self) -> str:
        """The unit shown for a metric of this name without another."""
        return guess_unit(self.metric)

    @property
    def usual_kind(self) -> str:
        """The kind without an entry, with the reason: the values', or else that of the name."""
        if self.guessed.kind:
            return f"{self.guessed.kind}: as its values show"
        guess = guess_kind(self.metric)
        return f"{guess.kind}: {guess.why}"

    def value(self) -> ValueColumn:
        """Return the numbers of the row with their target."""
        return replace(
            self.guessed,
            metric=self.metric,
            unit=self.unit,
            factor=_factor(self.factor),
            device=self.device,
            kind=cast("KindWord", self.kind) or self.guessed.kind,
        )

    @property
    def text(self) -> str:
        """The name as a text for the form."""
        return row_text(self.name)

    @property
    def label(self) -> str:
        """The column, if any, and the cells of the key."""
        return " · ".join(filter(None, (self.column, *self.key))) or "all values"


def mapping_rows(layout: FileLayout, entered: Mapping[RowKey, MappedRow]) -> list[MappingRow]:
    """Return the columns or keys of a file: guessed, then replaced by the entry.

    A row with the metric of an earlier row has a problem.
    """
    rows = _guessed_rows(layout)
    for row in rows:
        if (mapped := entered.get(row.name)) is not None:
            row.is_on = mapped.is_on
            row.metric, row.unit = mapped.texts["metric"], mapped.texts["unit"]
            row.factor, row.device = mapped.texts["factor"], mapped.texts["device"]
            row.kind = mapped.texts["kind"]
        row.problem = _row_problem(row) if row.is_on else ""
    by_target: dict[tuple[str, str], MappingRow] = {}
    for row in rows:
        if not row.is_on or row.problem:
            continue
        first = by_target.setdefault((row.device, row.metric), row)
        if first is not row:
            row.problem = f"{first.label[:80]!r} goes to the metric {row.metric!r} already; give each its own"
    return rows


def mapped_profile(
    profile: ImportProfile, rows: Sequence[MappingRow], *, takes_new_keys: bool
) -> ImportProfile:
    """Return the profile with the values of the rows; rows with a problem are left out."""
    values = tuple(row.value() for row in rows if row.is_on and not row.problem)
    if profile.layout == "wide":
        return replace(profile, values=values)
    mapped_keys = {value.key for value in values}
    off = [row for row in rows if not row.is_on]
    ignored = dict.fromkeys(" ".join(row.key) for row in off if row.key not in mapped_keys)
    # With one column of a key left out, the key would be found again as a new one.
    is_key_split = any(row.key in mapped_keys for row in off)
    return replace(
        profile,
        values=values,
        ignored_keys=tuple(dict.fromkeys((*profile.ignored_keys, *ignored))),
        new_keys="import" if takes_new_keys and not is_key_split else "ignore",
    )


def _guessed_rows(layout: FileLayout) -> list[MappingRow]:
    profile = layout.profile
    rows = {
        (value.column, value.key): MappingRow(
            value, True, value.metric, value.unit, f"{value.factor:.15g}", value.device
        )
        for value in profile.values
    }
    if profile.layout != "wide":
        return list(rows.values())
    reasons = {each.value: each.reason for each in layout.settings if each.name == "left out"}
    others: dict[RowKey, MappingRow] = {
        (column, ()): MappingRow(
            ValueColumn(column, unguarded(column)), False, unguarded(column), written_unit(column) or "",
            reason=reasons.get(column, "not in the profile").removeprefix("guessed: "),
        )
        for column in layout.columns
        if column not in profile.time_columns
    }  # fmt: skip
    return list({**others, **rows}.values())


def _row_problem(row: MappingRow) -> str:
    """Return the problem of an entered row, or an empty text."""
    if problem := metric_name_problem(row.metric):
        return problem
    if row.kind and row.kind not in KINDS:
        return f"{row.kind[:40]!r} is none of {', '.join(KINDS)}"
    if len(row.unit) > _LONGEST_UNIT or not row.unit.isprintable():
        return f"a unit has at most {_LONGEST_UNIT} printable characters"
    factor = _factor(row.factor)
    if not math.isfinite(factor) or not 1e-12 <= abs(factor) <= 1e12:
        return f"factor {row.factor[:40]!r} is no number from 1e-12 to 1e12; write it like 0.001"
    return ""


def _factor(text: str) -> float:
    try:
        return float((text or "1").replace(",", ".").replace("\u2212", "-"))
    except ValueError:
        return math.nan
