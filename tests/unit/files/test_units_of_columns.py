"""The units of a file's columns, wherever it writes them, and the columns that measure nothing."""

from __future__ import annotations

import pytest

from joulebook.telemetry.files.blocks import Block
from joulebook.telemetry.files.guess.layout import FileLayout, guess_layout
from joulebook.telemetry.files.parser import parse_blocks
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.settings import Given, Target

NOW = 1_900_000_000_000_000


def table(*columns: tuple[str, list[object]], units: list[str] | None = None, rows: int = 12) -> str:
    """Return a file with one row a quarter hour; a shorter column repeats its cells."""
    lines = [";".join(["time", *(name for name, _ in columns)])]
    if units is not None:
        lines.append(";".join(["", *units]))
    for row in range(rows):
        cells = (str(cells[row % len(cells)]) for _, cells in columns)
        lines.append(";".join([f"2026-02-{1 + row // 96:02} {row // 4 % 24:02}:{row % 4 * 15:02}", *cells]))
    return "\n".join(lines) + "\n"


def guess(text: str, **given: object) -> FileLayout:
    return guess_layout(text.encode(), is_whole=True, given=Given(**given), device_tz="UTC")  # type: ignore[arg-type]


def units(layout: FileLayout) -> dict[str, str]:
    return {value.metric: value.unit for value in layout.profile.values}


def reasons(layout: FileLayout, name: str) -> dict[str, str]:
    return {setting.value: setting.reason for setting in layout.settings if setting.name == name}


def values(layout: FileLayout, text: str) -> dict[str, list[float]]:
    """Return the numbers of each metric, in the order of the file."""
    lines = text.encode().split(b"\n")
    first = layout.profile.first_data_line
    block = Block(b"\n".join(lines[first - 1 :]), first, is_last=True)
    (parsed,) = parse_blocks([block], layout.profile, layout.columns, now=NOW)
    named = [value.metric for value in (*layout.profile.values, *parsed.added)]
    return {
        metric: [value for column, value in zip(parsed.column, parsed.value, strict=True) if column == at]
        for at, metric in enumerate(named)
    }


NUMBERS = [1.5, 2.25, 1.75, 3.5]


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Power W", "W"),
        ("Leistung [kW] L1", "kW"),
        ("Einspeisung (kWh) gesamt", "kWh"),
        ("Verbrauch in kWh", "kWh"),
        ("Netzbezug/kWh", "kWh"),
        ("Temp [Deg C]", "°C"),
        ("Energy (kwh)", "kWh"),
        ("Current (A)", "A"),
        ("Strom L1 (A)", "A"),
        ("I L2 (A)", "A"),
        ("Voltage (V) Avg", "V"),
        ("Sunshine (h)", "h"),
        ("U [V]", "V"),
        ("[V] PV", "V"),
        ("Load (V)", "V"),
        ("Load V", "V"),
        ("G(h)", ""),
        ("Gb(n)", ""),
        ("Phase (A)", ""),
        ("Roof (S)", ""),
        ("Power (A)", ""),
        ("WS10m", ""),
        ("Dir78mS", ""),
        ("T2m", ""),
        ("meter", ""),
        ("min", ""),
    ],
)
def test_a_unit_in_a_name_is_found_and_a_letter_needs_a_name_of_its_quantity(name: str, unit: str) -> None:
    assert units(guess(table((name, NUMBERS)))) == {name: unit}


def test_a_lone_letter_is_a_unit_beside_other_units_in_brackets() -> None:
    layout = guess(table(("Feeder (A)", NUMBERS), ("Feeder energy (kWh)", NUMBERS)))
    assert units(layout)["Feeder (A)"] == "A"
    assert units(guess(table(("Feeder (A)", NUMBERS), ("Feeder (B)", NUMBERS)))) == {
        "Feeder (A)": "",
        "Feeder (B)": "",
    }


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize(
    ("row", "found"),
    [
        (["W", "V", "°C"], ["W", "V", "°C"]),
        (["[kW]", "(hPa)", "in kWh"], ["kW", "hPa", "kWh"]),
        (["Watt", "", "Deg C"], ["W", "", "°C"]),
        (["A", "B", "C"], ["", "", ""]),
        (["Avg", "Smp", "m"], ["", "", ""]),
    ],
)
def test_a_row_of_units_gives_them_to_the_columns(row: list[str], found: list[str], above: bool) -> None:
    text = table(("one", NUMBERS), ("two", NUMBERS), ("three", NUMBERS), units=row)
    if above:
        header, second, *rest = text.split("\n")
        text = "\n".join([second, header, *rest])
    layout = guess(text)
    assert units(layout) == dict(zip(["one", "two", "three"], found, strict=True))
    assert len(values(layout, text)["one"]) == 12


def test_a_row_of_units_fits_names_without_the_closing_delimiter_of_the_data() -> None:
    rows = "".join(f"253171;2026-02-01 {hour:02}:00;{hour},87;591,64;865,86;\n" for hour in range(12))
    layout = guess(f"Serial;t;Batterie;Netz;Feed-in\n;;W;kWh;hPa\n{rows}")
    assert units(layout) == {"Batterie": "W", "Netz": "kWh", "Feed-in": "hPa"}


def test_a_column_of_units_belongs_to_the_column_before_it() -> None:
    text = table(("Usage", NUMBERS), ("Units", ["kwh"]), ("Cost (EUR)", NUMBERS))
    layout = guess(text)
    assert units(layout) == {"Usage": "kWh", "Cost (EUR)": "EUR"}
    assert reasons(layout, "left out") == {"Units": "guessed: holds units of 'Usage'"}
    assert values(layout, text)["Usage"] == NUMBERS * 3


def test_numbers_beside_a_unit_that_changes_are_of_one_unit() -> None:
    text = table(("Load", [1.005, 950, 1.1]), ("unit", ["kW", "W", "kW"]))
    layout = guess(text)
    assert units(layout) == {"Load": "W"}
    assert values(layout, text)["Load"] == [1005, 950, 1100] * 4


def test_a_unit_that_changes_behind_the_guess_is_converted_or_counted_as_malformed() -> None:
    layout = guess(table(("Load", NUMBERS), ("unit", ["W"])))
    later = table(("Load", [1.5, 2, 3]), ("unit", ["kW", "W", "kWh"]), rows=3)
    block = Block(b"\n".join(later.encode().split(b"\n")[1:]), 2, is_last=True)
    (parsed,) = parse_blocks([block], layout.profile, layout.columns, now=NOW)
    assert parsed.value.tolist() == [1500, 2]
    assert [(problem.line, problem.code, problem.text) for problem in parsed.problems] == [
        (4, "value_unit", "3 kWh")
    ]


def test_cells_with_their_own_unit_are_of_one_unit() -> None:
    text = table(("Load", ["1.20 kW", "950 W", "1.005 kW"]), ("Feed-in", ["0 W", "120 W"]))
    layout = guess(text)
    assert units(layout) == {"Load": "W", "Feed-in": "W"}
    assert values(layout, text)["Load"] == [1200, 950, 1005] * 4


def test_each_key_of_a_long_file_has_the_unit_of_its_rows() -> None:
    rows = [("a", 1.5, "kW"), ("b", 20, "°C"), ("a", 900, "W"), ("b", 21, "°C")]
    lines = [
        f"2026-02-01 {hour:02}:{15 * part:02};{key};{value};{unit}"
        for hour in range(6)
        for part in range(2)
        for key, value, unit in rows[2 * part : 2 * part + 2]
    ]
    text = "time;what;value;unit\n" + "\n".join(lines) + "\n"
    layout = guess(text)
    assert units(layout) == {"a": "W", "b": "°C"}
    assert values(layout, text) == {"a": [1500, 900] * 6, "b": [20, 21] * 6}


def test_a_metric_renamed_without_a_unit_keeps_the_files_unit() -> None:
    text = table(("P [kW]", NUMBERS))
    assert units(guess(text, mapping={"P [kW]": Target("power")})) == {"power": "kW"}
    assert units(guess(text, mapping={"P [kW]": Target("power", "W")})) == {"power": "W"}


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("Meter Id", [40017755], "an identifier such as '40017755'"),
        ("Zählernummer", [1234], "an identifier such as '1234'"),
        ("Serial No", [77, 77, 77], "an identifier such as '77'"),
        ("plant", [12345678], "an identifier such as '12345678'"),
        ("RECORD", list(range(500, 512)), "counts the rows"),
        ("Interval", ["60min"], "always '60min', no measured quantity"),
        ("Interval", [15], "always '15', no measured quantity"),
        ("Quality flag", [0], "always '0', no measured quantity"),
        ("status", ["ok"], "text such as 'ok'"),
    ],
)
def test_columns_that_measure_nothing_are_left_out_and_can_be_taken(
    name: str, cells: list[object], reason: str
) -> None:
    text = table((name, cells), ("Power [W]", NUMBERS))
    layout = guess(text)
    assert units(layout) == {"Power [W]": "W"}
    assert reasons(layout, "left out") == {name: f"guessed: {reason}"}
    assert set(units(guess(text, mapping={name: Target("taken")}))) == {"taken", "Power [W]"}


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("Export [kWh]", [0]),
        ("Energy", [12345678]),
        ("Wh", [12345678]),
        ("errors", [0]),
        ("persons", list(range(12))),
        ("Satellites", [10]),
        ("Meter", [101.5, 102.5]),
    ],
)
def test_a_quantity_that_stands_still_is_imported(name: str, cells: list[object]) -> None:
    assert name in units(guess(table((name, cells), ("Power [W]", NUMBERS))))


def test_the_words_of_home_assistant_are_no_values() -> None:
    text = table(("state", ["unavailable", "unknown", "unavailable", "412.5"]))
    layout = guess(text)
    assert values(layout, text) == {"state": [412.5] * 3}


def test_kinds_and_units_are_said_as_the_page_of_the_metric_will_show_them() -> None:
    layout = guess(table(("battery voltage", NUMBERS), ("kWh", NUMBERS), ("x", NUMBERS)))
    assert reasons(layout, "units") == {
        "battery voltage: V": "guessed: usual for the name",
        "kWh: kWh": "guessed: in the name",
    }
    assert reasons(layout, "kinds") == {
        "battery voltage: gauge": "guessed: “voltage” in the name",
        "kWh: amount": "guessed: its values rise and fall",
        "x: gauge": "guessed: nothing in the name says otherwise",
    }


def test_a_given_kind_is_kept_and_nothing_is_asked_about_it() -> None:
    text = table(("Import [kWh]", NUMBERS))
    layout = guess(text, mapping={"Import [kWh]": Target("import", "kWh", kind="counter")})
    assert [value.kind for value in layout.profile.values] == ["counter"]
    assert "amounts" not in {question.setting for question in layout.questions}
    assert reasons(layout, "kinds") == {"import: counter": "given"}


@pytest.mark.parametrize(
    ("cells", "kind"), [([250, 500, 750], "counter"), (NUMBERS, "amount"), ([5], "counter")]
)
def test_a_unit_of_energy_beside_a_name_without_meaning_makes_no_level(
    cells: list[object], kind: str
) -> None:
    text = table(("value", cells), ("unit", ["Wh"]), rows=3 if len(cells) == 3 else 40)
    assert [value.kind for value in guess(text).profile.values] == [kind]


def test_a_saved_profile_converts_units_as_the_guess_did() -> None:
    text = table(("Load", [1.5, 950]), ("unit", ["kW", "W"]))
    layout = guess(text)
    stored = ImportProfile.from_json(layout.profile.as_json())
    assert stored == layout.profile
    assert values(FileLayout(stored, layout.columns, ()), text)["Load"] == [1500, 950] * 6
