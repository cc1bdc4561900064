"""Files that are not one table under one header: read right, asked about, or refused with a remedy that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import UnclearFile
from joulebook.telemetry.files.settings import Given

from .readings_of import by_answer, layout_of, readings_of, required

TIMES = [f"2024-06-03 {hour:02d}:00" for hour in range(10)]


def write(folder: Path, lines: list[str], name: str = "meter.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def numbers(first: float, count: int = 10) -> list[float]:
    return [first + at for at in range(count)]


@pytest.mark.parametrize("header", ["day;time;V;W", "day;clock end;V;W"])
def test_a_closing_delimiter_shifts_no_name(tmp_path: Path, header: str) -> None:
    rows = [f"03.06.2024;{time[11:]};{230 + at},5;{at};" for at, time in enumerate(TIMES)]
    path = write(tmp_path, [header, *rows])
    layout = layout_of(path)
    assert required(layout) == []
    assert readings_of(path, layout) == {"V": numbers(230.5), "W": numbers(0)}


def test_names_are_spread_where_blanks_have_split_date_and_time(tmp_path: Path) -> None:
    path = write(tmp_path, ["stamp V W", *(f"{time} {at} {at + 5}" for at, time in enumerate(TIMES))])
    assert readings_of(path, layout_of(path)) == {"V": numbers(0), "W": numbers(5)}


@pytest.mark.parametrize("fractions", [("5", "25"), ("5", "")], ids=["always", "mostly"])
def test_a_decimal_comma_between_commas_is_refused_with_a_remedy_that_works(
    tmp_path: Path, fractions: tuple[str, str]
) -> None:
    cells = [f"{time},{at},{fractions[at % 5 == 0]}".rstrip(",") for at, time in enumerate(TIMES)]
    path = write(tmp_path, ["time,P", *cells])
    with pytest.raises(UnclearFile, match=r"another delimiter or with decimal points.*say header line 0"):
        layout_of(path)
    assert readings_of(path, layout_of(path, Given(header_line=0)))
    assert readings_of(
        write(tmp_path, ["time;P", *(cell.replace(",", ";", 1) for cell in cells)]), layout_of(path)
    )


def test_numbers_beyond_the_names_are_asked_about_and_each_answer_is_applied(tmp_path: Path) -> None:
    path = write(tmp_path, ["time;P", *(f"{time};{at}.5;{at + 5}.5" for at, time in enumerate(TIMES))])
    (question,) = required(layout_of(path))
    assert "the header names 2 columns, and the rows hold numbers in more ('column_3')" in question.about
    assert list(by_answer(path, question).values()) == [
        {"P": numbers(0.5)},
        {"P": numbers(0.5), "column_3": numbers(5.5)},
        {"column_2": numbers(0.5), "column_3": numbers(5.5)},
    ]


def test_a_second_table_beside_the_first_has_times_of_its_own(tmp_path: Path) -> None:
    rows = [f"{time};{at};2023-02-{at + 1:02d} 00:00;{at + 50}" for at, time in enumerate(TIMES)]
    path = write(tmp_path, ["date;import;date;export", *rows])
    (question,) = required(layout_of(path))
    assert "column 'date_2' holds other times than 'date', with values beside it" in question.about
    first, second, both = by_answer(path, question).values()
    assert (first, second) == ({"import": numbers(0)}, {"export": numbers(50)})
    assert both == first | second
    layout = layout_of(path, question.answers[1].applied_to(Given()))
    assert layout.profile.time_columns == ("date_2",)


def test_the_end_of_an_interval_is_no_second_table(tmp_path: Path) -> None:
    rows = [f"{time};{at};{time[:11]}{at + 1:02d}:00;{at + 50}" for at, time in enumerate(TIMES)]
    path = write(tmp_path, ["from;import;to;export", *rows])
    assert required(layout_of(path)) == []


def test_a_second_table_below_with_other_names_is_asked_about(tmp_path: Path) -> None:
    first = ["time;import", *(f"{time};{at}" for at, time in enumerate(TIMES))]
    second = ["time;export", *(f"{time};{at + 50}" for at, time in enumerate(TIMES))]
    path = write(tmp_path, [*first, "", *second])
    (question,) = required(layout_of(path))
    assert (question.setting, "line 13 begins another table" in question.about) == ("header_line", True)
    assert list(by_answer(path, question).values()) == [{"import": numbers(0)}, {"export": numbers(50)}]


def test_records_of_several_widths_are_series_of_their_own(tmp_path: Path) -> None:
    rows = [line for at, time in enumerate(TIMES) for line in (f"A;{time};{at}", f"B;{time};{at + 50};1.5")]
    path = write(tmp_path, rows)
    (question,) = required(layout_of(path))
    assert "the rows have several widths, and no header names their cells" in question.about
    keyed, plain = by_answer(path, question).values()
    assert keyed == {"column_3 A": numbers(0), "column_3 B": numbers(50), "column_4 B": [1.5] * 10}
    assert plain


def test_lines_of_a_report_are_no_names(tmp_path: Path) -> None:
    above = ["Site: House;Serial: 4711;Period: June", "Owner:;Alice;x"]
    path = write(tmp_path, [*above, *(f"{time};{at};{at + 50};1.5" for at, time in enumerate(TIMES))])
    layout = layout_of(path)
    assert layout.profile.header_line is None
    assert layout.columns == ("column_1", "column_2", "column_3", "column_4")


def test_a_row_of_totals_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [f"{time};{at + 1},5;{at + 1}" for at, time in enumerate(TIMES)]
    path = write(tmp_path, ["from;kWh;EUR", *rows, "2024-06-04 00:00;60,0;55"])
    layout = layout_of(path)
    assert readings_of(path, layout) == {"kWh": numbers(1.5), "EUR": numbers(1)}
    assert [setting.value for setting in layout.settings if setting.name == "total"] == ["line 12"]
    path = write(tmp_path, ["from;kWh;EUR", *rows, "2024-06-04 00:00;60,0;56"])
    assert len(readings_of(path, layout_of(path))["kWh"]) == 11


@pytest.mark.parametrize("sensor", ["sensor.pv_power", "sensor.room_temp"])
def test_a_file_of_one_sensor_takes_its_name_from_the_column_that_says_it(
    tmp_path: Path, sensor: str
) -> None:
    rows = [f"{sensor},{at}.5,{time}" for at, time in enumerate(TIMES)]
    path = write(tmp_path, ["sensor,value,time", *rows])
    layout = layout_of(path)
    assert required(layout) == []
    assert readings_of(path, layout) == {sensor: numbers(0.5)}


def test_a_value_without_a_name_can_take_that_of_the_file(tmp_path: Path) -> None:
    lines = ["time,value", *(f"{time},{at}" for at, time in enumerate(TIMES))]
    path = write(tmp_path, lines, "pv_power (2) 2024-06-03.csv")
    layout = layout_of(path)
    assert readings_of(path, layout) == {"value": numbers(0)}
    (question,) = (each for each in layout.questions if each.setting == "mapping")
    assert by_answer(path, question)["call it 'pv_power', as the file"] == {"pv_power": numbers(0)}
    layout = layout_of(write(tmp_path, lines, "export 2024.csv"))
    assert not [each for each in layout.questions if each.setting == "mapping"]
