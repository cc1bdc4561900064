"""NEM12 and NEM13 files of Australian meters: market time, qualities, registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import UnreadableFile

from .reading_files import ReadFile, read_file

HEAD = "100,NEM12,202603011200,MDP1,RETAIL1\n"
END = "900\n"


def meter(suffix: str = "E1", *, unit: str = "KWH", minutes: int = 30, nmi: str = "6123456789") -> str:
    return f"200,{nmi},E1B1,1,{suffix},N1,SERIAL{suffix},{unit},{minutes},20260401\n"


def day(date: str, values: list[str], quality: str = "A") -> str:
    return f"300,{date},{','.join(values)},{quality},,,20260302000000,\n"


def read(tmp_path: Path, text: str, name: str = "nem12.csv") -> ReadFile:
    path = tmp_path / name
    path.write_text(text)
    return read_file(path, device_tz="Australia/Sydney")


def halves(value: str = "0.5") -> list[str]:
    return [value] * 48


def test_intervals_begin_at_midnight_of_the_market_also_in_summer(tmp_path: Path) -> None:
    values = [f"{at}.125" for at in range(48)]
    found = read(tmp_path, HEAD + meter() + day("20260115", values) + END)
    (series,) = found.series.values()
    assert (series.unit, series.kind, list(found.series)) == ("kWh", "amount", ["E1"])
    assert series.values["2026-01-14 14:00"] == 0.125
    assert series.values["2026-01-15 13:30"] == 47.125
    assert sum(series.values.values()) == sum(range(48)) + 48 * 0.125
    assert not found.problems
    assert set(found.lines) == {3}


@pytest.mark.parametrize("minutes", [5, 15, 30])
def test_the_length_of_an_interval_is_that_of_its_meter(tmp_path: Path, minutes: int) -> None:
    count = 1440 // minutes
    found = read(tmp_path, HEAD + meter(minutes=minutes) + day("20260115", ["0.25"] * count) + END)
    assert sum(found.series["E1"].values.values()) == count / 4
    assert f"2026-01-14 14:{minutes:02d}" in found.series["E1"].values


def test_registers_are_metrics_of_their_own_with_their_units(tmp_path: Path) -> None:
    text = HEAD + meter("E1") + day("20260115", halves()) + meter("B1") + day("20260115", halves("0.125"))
    text += meter("Q1", unit="KVARH") + day("20260115", halves("0.25"))
    text += meter("V1", unit="v") + day("20260115", halves("231.5")) + END
    found = read(tmp_path, text)
    shown = {name: (each.unit, each.kind, sum(each.values.values())) for name, each in found.series.items()}
    assert shown == {
        "E1": ("kWh", "amount", 24.0),
        "B1": ("kWh", "amount", 6.0),
        "Q1": ("kvarh", "amount", 12.0),
        "V1": ("V", "gauge", 48 * 231.5),
    }


def test_two_meters_with_the_same_suffix_stay_apart(tmp_path: Path) -> None:
    text = HEAD + meter() + day("20260115", halves()) + meter(nmi="6999999999") + day("20260115", halves("2"))
    found = read(tmp_path, text + END)
    assert {name: sum(each.values.values()) for name, each in found.series.items()} == {
        "E1": 24.0,
        "E1 6999999999": 96.0,
    }


def test_a_replaced_meter_continues_its_metric(tmp_path: Path) -> None:
    text = HEAD + meter() + day("20260115", halves())
    text += meter().replace("SERIALE1", "NEWER") + day("20260116", halves()) + END
    found = read(tmp_path, text)
    assert {name: len(each.values) for name, each in found.series.items()} == {"E1": 96}


def test_a_day_of_null_quality_has_no_values(tmp_path: Path) -> None:
    text = HEAD + meter() + day("20260115", halves("0"), "N") + day("20260116", halves(), "S14") + END
    found = read(tmp_path, text)
    assert min(found.series["E1"].values) == "2026-01-15 14:00"
    assert len(found.series["E1"].values) == 48


def test_intervals_of_null_quality_have_no_values_within_a_day_of_several_qualities(tmp_path: Path) -> None:
    text = HEAD + meter() + day("20260115", halves(), "V")
    text += "400,1,20,A,,\n400,21,24,N,,\n400,25,48,F14,76,\n500,O,S01009,20260115,\n" + END
    values = read(tmp_path, text).series["E1"].values
    assert len(values) == 44
    assert "2026-01-14 23:30" in values
    assert not {"2026-01-15 00:00", "2026-01-15 00:30", "2026-01-15 01:00", "2026-01-15 01:30"} & set(values)
    assert "2026-01-15 02:00" in values


def test_damaged_lines_are_counted_with_their_line_and_text(tmp_path: Path) -> None:
    text = HEAD + meter() + day("20260115", halves()[:-1]) + day("2026-01-16", halves())
    text += day("20260117", ["x", *halves()[1:]]) + "777,?\n" + END
    found = read(tmp_path, text)
    assert [(line, code) for line, code, _ in found.problems] == [
        (3, "time_malformed"),
        (4, "time_malformed"),
        (5, "value_type"),
        (6, "time_malformed"),
    ]
    assert [text[:12] for _, _, text in found.problems] == ["300,20260115", "300,2026-01-", "x", "777,?"]
    assert len(found.series["E1"].values) == 47


def test_a_file_without_its_last_record_is_refused_after_its_readings(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"cut off: its last record \(900\) is missing; fetch"):
        read(tmp_path, HEAD + meter() + day("20260115", halves()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + day("20260115", halves()) + END, "line 2 .*with a meter before it; fetch"),
        (HEAD + meter(minutes=7) + END, "line 2 does not say how long"),
        (HEAD + "200,6123456789\n" + END, "line 2 does not say how long"),
    ],
)
def test_days_of_no_meter_or_of_unknown_intervals_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UnreadableFile, match=message):
        read(tmp_path, text)


def registers(previous: str, current: str, quantity: str, *, quality: str = "A") -> str:
    return (
        f"250,6123456789,11,1,E1,11,SERIAL1,E,{previous},20251001000000,A,,,{current},20260101103000,"
        f"{quality},,,{quantity},kWh,20260401,20260103000000,\n"
    )


def test_register_readings_are_counters_and_their_quantity_an_amount(tmp_path: Path) -> None:
    text = HEAD.replace("NEM12", "NEM13") + registers("1000", "1412.5", "825") + "550,N,,A,\n" + END
    found = read(tmp_path, text)
    assert found.series["E1 register 1"] == (
        "kWh",
        "counter",
        {"2025-09-30 14:00": 1000.0, "2026-01-01 00:30": 1412.5},
    )
    assert found.series["E1"] == ("kWh", "amount", {"2025-09-30 14:00": 825.0})
    assert not found.problems


def test_a_register_of_null_quality_has_no_reading(tmp_path: Path) -> None:
    found = read(tmp_path, HEAD.replace("NEM12", "NEM13") + registers("1000", "0", "0", quality="N") + END)
    assert {name: len(each.values) for name, each in found.series.items()} == {"E1 register 1": 1}


def test_a_portal_that_leaves_out_the_header_is_recognised(tmp_path: Path) -> None:
    assert len(read(tmp_path, meter() + day("20260115", halves())).series["E1"].values) == 48
