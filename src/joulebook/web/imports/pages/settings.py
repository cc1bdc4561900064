"""The reading settings on a draft's page: the value of each, its reason, and the field for changing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.telemetry.files.guess.delimiter import splitter_name
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES, ImportProfile
from joulebook.telemetry.files.settings import NONE, SETTINGS, Setting
from joulebook.telemetry.files.split import Splitter
from joulebook.time_zones import time_zone_names
from joulebook.web.imports.pages.preview import DraftReading
from joulebook.web.imports.pages.words import on_page


@dataclass(frozen=True)
class SettingField:
    """The field of one setting: its value `now` with its `reason`, and the `entered` texts overruling it."""

    setting: Setting
    entered: Sequence[str]
    now: str = ""
    reason: str = ""
    is_fixed: bool = False
    """Whether the chosen profile decides it."""

    @property
    def value(self) -> str:
        """The entry in a field for one text."""
        return self.entered[0] if self.entered else ""


@dataclass(frozen=True)
class SettingGroup:
    """Related settings under one title."""

    title: str
    fields: list[SettingField]


def setting_groups(reading: DraftReading) -> list[SettingGroup]:
    """Return the settings of a draft with their present values.

    Columns are named in their table, and by a setting only while the file cannot be read.
    """
    shown = [each for each in SETTINGS if each.group and not (each.kind == "mapping" and reading.rows)]
    return [
        SettingGroup(title, [_field(each, reading) for each in shown if each.group == title])
        for title in dict.fromkeys(each.group for each in shown)
    ]


def suggestions(reading: DraftReading) -> dict[str, Sequence[str]]:
    """Return the proposals for fields of text, by the field of their setting."""
    columns = reading.layout.columns if reading.layout is not None else ()
    found: dict[str, Sequence[str]] = {each.field: each.proposals for each in SETTINGS if each.proposals}
    found |= {each.field: columns for each in SETTINGS if each.inputs}
    return found | {"tz": sorted(name for name in time_zone_names() if "/" in name or name == "UTC")}


def _field(setting: Setting, reading: DraftReading) -> SettingField:
    texts = list(reading.entry.settings.get(setting.field, ()))
    texts += [""] * (max(1, setting.inputs) - len(texts))
    is_fixed = reading.entry.is_saved_profile and setting.is_fixed
    now = "" if reading.layout is None else _now(setting, reading.layout.profile)
    return SettingField(
        setting,
        [] if is_fixed else texts,
        now=setting.choices.get(now, now),
        reason=_reason(setting, reading),
        is_fixed=is_fixed,
    )


def _reason(setting: Setting, reading: DraftReading) -> str:
    """Return the source of a setting's value, or the open question about it."""
    if reading.layout is None:
        return ""
    wanted = setting.reason_name or setting.field
    source = next((each.reason for each in reading.layout.settings if each.name == wanted), "")
    if any(each.question.setting == setting.field and each.answer for each in reading.asked):
        return "your answer"
    for question in reading.layout.questions:
        if question.setting == setting.field and not question.is_required:
            return question.about
    if source == "given":
        return "your entry" if any(reading.entry.settings.get(setting.field, ())) else "from the profile"
    return on_page(source.removeprefix("guessed: ")) if source else ""


def _now(setting: Setting, profile: ImportProfile) -> str:
    """Return the present value of a setting as its field shows it, empty if the profile does not say."""
    match setting.field:
        case "delimiter":
            return splitter_name(Splitter.of(profile))
        case "header_line":
            return str(profile.header_line or 0)
        case "na_values" if profile.na_values == DEFAULT_NA_VALUES:
            return "the usual ones: " + " ".join(profile.na_values)
        case "amounts":
            return "yes" if any(value.kind == "amount" for value in profile.values) else ""
    value = getattr(profile, setting.field, "")
    if isinstance(value, tuple):
        return "\n".join(value) if setting.is_lines else " + ".join(value) or NONE
    return str(value) or (NONE if setting.may_be_empty else "")
