"""Whether columns of energy are amounts or registers, told by what their values do."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from joulebook.telemetry.files.guess.layout import guess_layout
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.settings import Given

START = datetime(2026, 1, 1)
DAY = [0.0, 0.0, 0.1, 0.4, 0.2, 0.5, 0.0, 0.3]
REGISTER = [100.0, 100.2, 100.2, 101.0, 104.5, 104.6, 104.9, 107.0]


def layout_of(header: str, *columns: list[object], times: list[datetime] | None = None, **given: object):
    rows = len(columns[0])
    times = times or [START + timedelta(minutes=15 * row) for row in range(rows)]
    lines = [header]
    for at, *cells in zip(times, *columns, strict=True):
        lines.append(f"{at:%Y-%m-%d %H:%M};" + ";".join(map(str, cells)))
    text = "\n".join(lines) + "\n"
    return guess_layout(text.encode(), is_whole=True, given=Given(**given), device_tz="UTC")


def kinds(layout) -> dict[str, str]:
    return {value.metric: value.kind for value in layout.profile.values}


@pytest.mark.parametrize(
    ("header", "column", "kind"),
    [
        ("time;Import [kWh]", 6 * DAY, "amount"),
        ("time;Volume (kWh)", 6 * DAY, "amount"),
        ("time;water_m3", 6 * DAY, "amount"),
        ("time;Import [kWh]", [value + day * 7 for day in range(6) for value in REGISTER], "counter"),
        ("time;Volume (kWh)", [value + day * 7 for day in range(6) for value in REGISTER], "counter"),
        # A register of the day falls once a day, and rises else.
        ("time;Energy today [kWh]", 6 * [0.0, 0.1, 0.4, 0.9, 1.3, 1.8, 2.2, 2.4], ""),
        ("time;Power [W]", 6 * DAY, ""),
        ("time;Temperature", 6 * DAY, ""),
        ("time;Stored energy [kWh]", 6 * DAY, ""),
        ("time;Tank level [l]", 6 * DAY, ""),
        ("time;alpha", 6 * DAY, ""),
        # Too few changes to judge by.
        ("time;Import [kWh]", [*DAY, *40 * [0.0]][:8], ""),
        ("time;Import [kWh]", 48 * [0.3], ""),
    ],
)
def test_the_values_and_the_unit_show_what_a_column_is(header, column, kind):
    assert list(kinds(layout_of(header, column)).values()) == [kind]


def test_a_file_that_begins_with_its_newest_row_has_registers_too():
    column = [value + day * 7 for day in range(6) for value in REGISTER]
    times = [START + timedelta(minutes=15 * row) for row in range(len(column))]
    layout = layout_of("time;Volume (kWh)", column[::-1], times=times[::-1])
    assert list(kinds(layout).values()) == ["counter"]


def test_amounts_are_asked_about_and_the_answer_decides():
    layout = layout_of("time;Import [kWh];Export [kWh]", 6 * DAY, 6 * DAY[::-1])
    [question] = [each for each in layout.questions if each.setting == "amounts"]
    assert "'Import [kWh]', 'Export [kWh]' rise and fall" in question.about
    assert not question.is_required
    assert set(kinds(layout).values()) == {"amount"}
    yes, no = (answer.applied_to(Given()) for answer in question.answers)
    assert (yes.amounts, no.amounts) == ("yes", "no")
    layout = layout_of("time;Import [kWh];Export [kWh]", 6 * DAY, 6 * DAY[::-1], amounts="no")
    assert set(kinds(layout).values()) == {"counter"}
    assert not [each for each in layout.questions if each.setting == "amounts"]


def test_a_column_with_few_changes_is_like_its_neighbours_in_the_same_unit():
    zeros = 48 * [0.0]
    register = [value + day * 7 for day in range(6) for value in REGISTER]
    assert kinds(layout_of("time;Import [kWh];Export [kWh];Heat [Wh]", 6 * DAY, zeros, zeros)) == {
        "Import [kWh]": "amount",
        "Export [kWh]": "amount",
        "Heat [Wh]": "",
    }
    both = layout_of("time;Import [kWh];Meter [kWh];Export [kWh]", 6 * DAY, register, zeros)
    assert kinds(both) == {"Import [kWh]": "amount", "Meter [kWh]": "counter", "Export [kWh]": ""}


def test_each_key_of_a_long_file_is_judged_by_its_own_rows():
    keys = 48 * ["taken", "register"]
    values = [value for pair in zip(6 * DAY, range(48), strict=True) for value in pair]
    times = [START + timedelta(minutes=15 * (row // 2)) for row in range(96)]
    layout = layout_of("time;what;unit;value", keys, 96 * ["kWh"], values, times=times)
    assert layout.profile.layout == "long"
    assert kinds(layout) == {"taken": "amount", "register": "counter"}


def test_the_hours_of_a_row_follow_one_another():
    lines = ["date;key;unit;" + ";".join(f"{hour:02}:00" for hour in range(24))]
    for day in range(6):
        hours = ";".join(str(0.1 + 7 * hour % 10 / 10) for hour in range(24))
        lines += [
            f"{START + timedelta(days=day):%Y-%m-%d};{key};kWh;{hours}" for key in ("Bezug", "Lieferung")
        ]
    layout = guess_layout(("\n".join(lines) + "\n").encode(), is_whole=True, given=Given(), device_tz="UTC")
    assert layout.profile.layout == "across"
    assert kinds(layout) == {"Bezug": "amount", "Lieferung": "amount"}


def test_a_saved_profile_has_the_kinds_and_an_earlier_one_none():
    profile = layout_of("time;Import [kWh]", 6 * DAY).profile
    stored = profile.as_json()
    assert ImportProfile.from_json(stored) == profile
    del stored["values"][0]["kind"]
    assert ImportProfile.from_json(stored).values[0].kind == ""
