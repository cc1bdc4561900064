"""What a form of a draft may hold that no page of ours sends."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.http import QueryDict

from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.settings import SETTINGS
from joulebook.web.imports.pages.entry import BadEntry, DraftEntry
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
