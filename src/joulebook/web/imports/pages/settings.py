"""The reading settings on a draft's page: the value of each, its reason, and the field for changing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.telemetry.files.guess.delimiter import splitter_name
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES, ImportProfile
from joulebook.telemetry.files.split import Splitter
from joulebook.time_zones import time_zone_names
from joulebook.web.imports.pages.entry import NO_MARK, NOT_WITH_A_PROFILE
from joulebook.web.imports.pages.preview import DraftReading
from joulebook.web.imports.pages.words import on_page

_ENCODINGS = ("utf-8", "cp1252", "latin-1", "utf-16", "cp1250", "cp1251", "cp850", "mac-roman")
_DELIMITERS = (",", ";", "tab", "|", "blanks")
_WORDS = {
    "wide": "a time, then a value a column",
    "long": "a time, the metric, a value",
    "across": "a day, then its hours a column",
    "start": "the start of an interval, or an instant",
    "end": "the end of an interval",
    "order": "by the order of rows",
    "first": "always the first pass",
    "second": "always the second pass",
    "reject": "refused",
    "shift": "moved an hour later",
    "yes": "amounts, each of one interval",
    "no": "registers of meters",
    ".": "point: 1.5",
    ",": "comma: 1,5",
    NO_MARK: "none",
    "'": "apostrophe: 1'000",
    " ": "blank: 1 000",
    "\u00a0": "fixed blank: 1 000",
}
_THOUSANDS = {**_WORDS, ".": "point: 1.000", ",": "comma: 1,000"}


@dataclass(frozen=True)
class SettingField:
    """One setting: its value `now` with its `reason`, and the `entered` texts overruling the guess.

    `kind` is words (choose one of `choices`), text, number, columns (several texts) or lines.
    """

    name: str
    label: str
    kind: str
    entered: Sequence[str]
    now: str = ""
    reason: str = ""
    hint: str = ""
    choices: Sequence[tuple[str, str]] = ()
    suggestions: str = ""
    """The id of a list of suggestions on the page."""
    is_fixed: bool = False

    @property
    def value(self) -> str:
        """The entry in a field for one text."""
        return self.entered[0] if self.entered else ""


@dataclass(frozen=True)
class _Field:
    name: str
    label: str
    kind: str
    setting_name: str = ""
    """The name of the setting in a layout."""
    hint: str = ""
    words: Sequence[str] = ()
    suggestions: str = ""
    count: int = 1


GROUPS: tuple[tuple[str, tuple[_Field, ...]], ...] = (
    (
        "Text",
        (
            _Field("encoding", "Encoding", "text", "encoding", suggestions="encodings"),
            _Field("delimiter", "Delimiter", "text", "delimiter", suggestions="delimiters",
                  hint="Also tab, blanks, a /regular expression/, or widths such as 10,8,8."),
            _Field("header_line", "Header line", "number", "header", hint="0: no header."),
            _Field("layout", "Layout", "words", "layout", words=("wide", "long", "across")),
            _Field("key_columns", "Columns of the key", "columns", "key", suggestions="columns", count=2,
                  hint="They name the metric of a row."),
        ),
    ),
    (
        "Time",
        (
            _Field("time_columns", "Columns of the time", "columns", "time", suggestions="columns", count=3),
            _Field("time_formats", "Time formats", "lines", "time format",
                  hint="One a line, such as %d.%m.%Y %H:%M:%S"),
            _Field("tz", "Time zone", "text", "time zone", suggestions="zones",
                  hint="A name such as Europe/Berlin, or +01:00."),
            _Field("time_marks", "Times mark", "words", "times mark", words=("start", "end")),
            _Field("doubled_hour", "Doubled hour in autumn", "words", words=("order", "first", "second")),
            _Field("missing_hour", "Missing hour in spring", "words", words=("reject", "shift")),
        ),
    ),
    (
        "Numbers",
        (
            _Field("decimal", "Decimal mark", "words", "decimal mark", words=(".", ",")),
            _Field("thousands", "Thousands mark", "words", "thousands mark",
                  words=(NO_MARK, ".", ",", "'", " ", "\u00a0")),
            _Field("na_values", "Missing values", "lines", "missing values",
                  hint="One a line. An empty cell is always one."),
            _Field("amounts", "Rising and falling values", "words", "amounts", words=("yes", "no"),
                   hint="Of columns of energy and the like."),
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class SettingGroup:
    """Related settings under one title."""

    title: str
    fields: list[SettingField]


def setting_groups(reading: DraftReading) -> list[SettingGroup]:
    """Return the settings of a draft with their present values."""
    return [SettingGroup(title, [_field(plan, reading) for plan in plans]) for title, plans in GROUPS]


def suggestions(reading: DraftReading) -> dict[str, Sequence[str]]:
    """Return the suggestions on the page by list id."""
    return {
        "encodings": _ENCODINGS,
        "delimiters": _DELIMITERS,
        "columns": reading.layout.columns if reading.layout is not None else (),
        "zones": sorted(name for name in time_zone_names() if "/" in name or name == "UTC"),
    }


def _field(plan: _Field, reading: DraftReading) -> SettingField:
    entered = reading.entry.settings.get(plan.name, "")
    texts = list(entered) if isinstance(entered, list) else [entered]
    texts += [""] * (plan.count - len(texts))
    is_fixed = reading.entry.is_saved_profile and plan.name in NOT_WITH_A_PROFILE
    now = "" if reading.layout is None else _now(plan.name, reading.layout.profile)
    words = _THOUSANDS if plan.name == "thousands" else _WORDS
    return SettingField(
        plan.name, plan.label, plan.kind, [] if is_fixed else texts[: plan.count],
        now=words.get(now, now) if plan.kind == "words" else now,
        reason=_reason(plan, reading),
        hint=plan.hint,
        choices=[(word, words[word]) for word in plan.words],
        suggestions=plan.suggestions,
        is_fixed=is_fixed,
    )  # fmt: skip


def _reason(plan: _Field, reading: DraftReading) -> str:
    """Return the source of a setting's value, or the open question about it."""
    if reading.layout is None:
        return ""
    source = next((each.reason for each in reading.layout.settings if each.name == plan.setting_name), "")
    if any(each.question.setting == plan.name and each.answer for each in reading.asked):
        return "your answer"
    for question in reading.layout.questions:
        if question.setting == plan.name and not question.is_required:
            return question.about
    if source == "given":
        return "your entry" if reading.entry.settings.get(plan.name) else "from the profile"
    return on_page(source.removeprefix("guessed: ")) if source else ""


def _now(name: str, profile: ImportProfile) -> str:
    match name:
        case "delimiter":
            return splitter_name(Splitter.of(profile))
        case "header_line":
            return str(profile.header_line or 0)
        case "time_columns" | "key_columns":
            return " + ".join(getattr(profile, name)) or "none"
        case "time_formats":
            return "\n".join(profile.time_formats)
        case "na_values":
            is_usual = profile.na_values == DEFAULT_NA_VALUES
            return (
                "the usual ones: " + " ".join(profile.na_values) if is_usual else "\n".join(profile.na_values)
            )
        case "amounts":
            return "yes" if any(value.kind == "amount" for value in profile.values) else ""
        case "thousands":
            return profile.thousands or NO_MARK
    return str(getattr(profile, name))
