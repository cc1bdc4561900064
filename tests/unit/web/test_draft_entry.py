"""What a form of a draft may hold that no page of ours sends."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

import pytest
from django.http import QueryDict

from joulebook.telemetry.files.guess.layout import FileLayout, guess_layout
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.settings import SETTINGS, Given
from joulebook.web.imports.pages.entry import (
    BadEntry,
    DraftEntry,
    MappedRow,
    mapped_profile,
    mapping_rows,
)
from joulebook.web.imports.pages.preview import DraftReading
from joulebook.web.imports.pages.settings import setting_groups


def entry(**fields: str) -> DraftEntry:
    return DraftEntry.of_form(QueryDict(urlencode({name.replace("_", "-"): fields[name] for name in fields})))


@pytest.mark.parametrize("count", ["9" * 5000, "99999999999", "2"])
def test_a_number_of_rows_that_is_none_of_the_page_is_refused(count: str) -> None:
    with pytest.raises(BadEntry, match="load the page again"):
        entry(rows=count)


def test_half_a_character_in_a_row_is_refused_and_could_not_be_shown_again() -> None:
    with pytest.raises(BadEntry, match="load the page again"):
        entry(rows="1", row_0='["a\\ud800"]')


def test_no_nul_goes_on_to_the_accounts() -> None:
    got = entry(rows="1", row_0='["power"]', metric_0="p\0q", s_delimiter="\0", device="\0")
    assert [row.texts["metric"] for row in got.rows.values()] == ["p\ufffdq"]
    assert (got.settings["delimiter"], got.device) == (["\ufffd"], "\ufffd")


def test_every_setting_has_a_field_on_the_page_with_its_value() -> None:
    profile = ImportProfile(("time",), ("%Y-%m-%d",), (ValueColumn("power", "power"),))
    layout = FileLayout(profile, ("time", "power"), ())
    reading = DraftReading(DraftEntry(), [], None, "UTC", layout=layout, profile=profile)
    fields = {each.setting.field: each for group in setting_groups(reading) for each in group.fields}
    assert {each.field for each in SETTINGS} - {"sheet"} == set(fields)
    assert all(each.now == "" or each.now.isprintable() for each in fields.values())
    assert (fields["thousands"].now, fields["time_columns"].now, fields["layout"].now) == (
        "none", "time", "a time, then a value a column",
    )  # fmt: skip


def test_a_row_keeps_what_the_values_show_and_its_kind_can_be_changed() -> None:
    cells = ["0.1 kWh", "500 Wh", "0.2 kWh", "0.4 kWh"]
    rows = "".join(f"2026-02-01 {hour:02}:00;{cells[hour % 4]}\n" for hour in range(24))
    layout = guess_layout(f"time;Import\n{rows}".encode(), is_whole=True, given=Given(), device_tz="UTC")
    [guessed] = layout.profile.values
    assert (guessed.kind, guessed.unit, guessed.cell_unit) == ("amount", "Wh", "Wh")

    def mapped(**texts: str) -> ValueColumn:
        whole = {"metric": "import", "kind": "", "unit": "Wh", "factor": "", "device": "", **texts}
        entered = {("Import", ()): MappedRow(is_on=True, texts=whole)}
        [row] = mapping_rows(layout, entered)
        assert row.usual_kind == "amount: as its values show"
        profile = mapped_profile(layout.profile, [row], takes_new_keys=True)
        return next(iter(profile.values), ValueColumn("", row.problem))

    assert mapped() == replace(guessed, metric="import")
    assert mapped(kind="counter").kind == "counter"
    assert mapped(kind="meter").metric == "'meter' is none of gauge, counter, amount, state"


def test_a_column_left_out_says_why_and_can_be_taken_with_the_kind_of_its_name() -> None:
    rows = "".join(f"2026-02-01 {hour:02}:00;4711;{hour}.5\n" for hour in range(24))
    layout = guess_layout(
        f"time;Meter Id;Battery power\n{rows}".encode(), is_whole=True, given=Given(), device_tz="UTC"
    )
    identifier, power = mapping_rows(layout, {})
    assert (identifier.is_on, identifier.reason) == (False, "an identifier such as '4711'")
    assert (power.usual_kind, power.usual_unit) == ("gauge: “power” in the name", "W")
    taken = replace(identifier, is_on=True)
    profile = mapped_profile(layout.profile, [taken, power], takes_new_keys=True)
    assert [value.metric for value in profile.values] == ["Meter Id", "Battery power"]
