"""Files that are not wide: a key a row, the hours across, fixed widths, two tables; and clocks that jump."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import UnclearFile, UnusableProfile, plain_name
from joulebook.telemetry.files.guess.layout import FileLayout, guess_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import HourColumn, ImportProfile
from joulebook.telemetry.files.settings import Given, Target
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Checkpoint, ParsedBlock

from .settled import settled_layout

NOW = 1_900_000_000_000_000
BERLIN = "Europe/Berlin"


def read(
    folder: Path, text: str, *, tz: str = BERLIN, block_readings: int = 50_000, **given: object
) -> tuple[FileLayout, list[ParsedBlock]]:
    path = folder / "readings.txt"
    path.write_text(text)
    layout = settled_layout(text.encode(), is_whole=True, given=Given(**given), device_tz=tz)  # type: ignore[arg-type]
    return layout, list(
        parse_file(FileSource(path), layout.profile, layout.columns, now=NOW, block_readings=block_readings)
    )


def readings(layout: FileLayout, blocks: list[ParsedBlock]) -> dict[str, list[tuple[str, float]]]:
    """Return (UTC time, value) by metric."""
    values = (*layout.profile.values, *blocks[-1].added)
    found: dict[str, list[tuple[str, float]]] = {value.metric: [] for value in values}
    for block in blocks:
        for column, time, value in zip(
            block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
        ):
            found[values[column].metric].append(
                (f"{datetime.fromtimestamp(time / 1e6, UTC):%m-%d %H:%M}", value)
            )
    return found


def codes(blocks: list[ParsedBlock]) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for block in blocks for problem in block.problems]


LONG = "time;register;unit;value\n" + "".join(
    f"2024-01-13 {hour:02d}:00;{key};{unit};{hour + add}\n"
    for hour in range(12)
    for key, unit, add in (("Import", "kWh", 100), ("Export", "kWh", 200), ("Power", "W", 300))
)


def test_a_key_column_makes_a_metric_of_each_key_with_its_unit(tmp_path: Path) -> None:
    layout, blocks = read(tmp_path, LONG)
    profile = layout.profile
    assert (profile.layout, profile.key_columns, profile.unit_column) == ("long", ("register",), "unit")
    assert [(v.metric, v.unit, v.key) for v in profile.values] == [
        ("Import", "kWh", ("Import",)), ("Export", "kWh", ("Export",)), ("Power", "W", ("Power",)),
    ]  # fmt: skip
    found = readings(layout, blocks)
    assert [value for _, value in found["Export"]] == [200 + hour for hour in range(12)]
    assert found["Power"][0] == ("01-12 23:00", 300)


def test_a_key_can_be_renamed_scaled_given_to_another_device_and_left_out(tmp_path: Path) -> None:
    mapping = {"Import": Target("energy", "Wh", factor=1000, device="meter_2"), "Export": None}
    layout, blocks = read(tmp_path, LONG, mapping=mapping)
    assert [(v.metric, v.device) for v in layout.profile.values] == [("energy", "meter_2"), ("Power", "")]
    found = readings(layout, blocks)
    assert found["energy"][0][1] == 100_000
    assert set(found) == {"energy", "Power"}
    assert blocks[-1].added == ()


def test_keys_that_come_up_behind_what_was_looked_at_become_metrics_too(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(
        LONG + "2024-01-14 00:00;Heat;MWh;5\n2024-01-14 00:00;;kWh;6\n2024-01-14 00:00;Import;kWh;-\n"
    )
    layout = settled_layout(LONG.encode(), is_whole=False, given=Given(), device_tz="UTC")
    for size in (2, 50_000):
        blocks = list(
            parse_file(FileSource(path), layout.profile, layout.columns, now=NOW, block_readings=size)
        )
        assert [(v.metric, v.unit) for v in blocks[-1].added] == [("Heat", "MWh")]
        assert readings(layout, blocks)["Heat"] == [("01-14 00:00", 5)]
        assert codes(blocks) == [(39, "key_missing")]
        assert sum((cells.na for block in blocks for cells in block.cells), Counter()) == {"-": 1}


def test_blocks_of_keys_are_seen_where_the_second_begins_far_behind_the_head(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    times = [
        f"{day:02d}.{month:02d}.2024 {hour:02d}:00"
        for month in range(1, 13)
        for day in range(1, 28)
        for hour in range(24)
    ]
    path.write_text(
        "time;register;kWh\n" + "".join(f"{time};{key};1,5\n" for key in ("In", "Out") for time in times)
    )
    source = FileSource(path)
    head = source.head(100_000)
    alone = settled_layout(head, is_whole=False, given=Given(), device_tz="UTC")
    assert alone.profile.layout == "wide"
    layout = settled_layout(
        head, is_whole=False, given=Given(), device_tz="UTC", further=source.further(head)
    )
    assert [value.metric for value in layout.profile.values] == ["In", "Out"]
    blocks = list(parse_file(source, layout.profile, layout.columns, now=NOW))
    assert [sum(block.cells[at].readable for block in blocks) for at in (0, 1)] == [len(times)] * 2
    assert source.further(path.read_bytes()) == b""


@pytest.mark.parametrize("is_interleaved", [False, True])
def test_series_that_never_share_a_time_are_asked_about_and_kept_apart(
    tmp_path: Path, is_interleaved: bool
) -> None:
    rows = [
        f"{key},{n},2024-01-13T0{n // 60}:{n % 60:02d}:{(n * 37 + add) % 60:02d}Z"
        for add, key in ((0, "power"), (13, "voltage")) for n in range(90)
    ]  # fmt: skip
    text = (
        "entity,state,changed\n"
        + "\n".join(sorted(rows, key=lambda row: row[-20:]) if is_interleaved else rows)
        + "\n"
    )
    with pytest.raises(
        UnclearFile, match=r"'entity' holds words such as 'power', 'voltage'.*key columns 'entity'"
    ):
        read(tmp_path, text)
    layout, _ = read(tmp_path, text, key_columns=("entity",))
    assert [value.metric for value in layout.profile.values] == ["power", "voltage"]
    layout, _ = read(tmp_path, text, layout="wide")
    assert [value.metric for value in layout.profile.values] == ["state"]


def test_words_about_the_quality_of_a_steady_series_are_no_key(tmp_path: Path) -> None:
    text = "time;v;state\n" + "".join(
        f"2024-01-13 {n // 4:02d}:{n % 4 * 15:02d};{n};{'ok' if n % 5 else 'est.'}\n" for n in range(90)
    )
    layout, _ = read(tmp_path, text)
    assert [value.metric for value in layout.profile.values] == ["v"]


def test_each_key_has_a_doubled_hour_of_its_own(tmp_path: Path) -> None:
    text = "t;key;v\n" + "".join(
        f"27.10.2024 {clock};{key};{at}\n"
        for at, clock in enumerate(["01:00", "01:30", "02:00", "02:30", "02:00", "02:30", "03:00", "03:30"])
        for key in ("A", "B", "C")
    )
    layout, blocks = read(tmp_path, text, block_readings=4)
    hours = ["23:00", "23:30", "00:00", "00:30", "01:00", "01:30", "02:00", "02:30"]
    for key in ("A", "B", "C"):
        assert [time[6:] for time, _ in readings(layout, blocks)[key]] == hours
    assert [sum(block.doubled[at] for block in blocks) for at in (0, 1)] == [6, 6]


ACROSS = "Datum;" + ";".join(f"{hour:02d}:00" for hour in range(24)) + "\n"


def test_hours_across_are_read_from_midnight_and_an_hour_that_never_was_is_named(tmp_path: Path) -> None:
    rows = [
        f"{day:02d}.03.2024;" + ";".join(str(day * 100 + hour) for hour in range(24)) for day in (29, 30, 31)
    ]
    layout, blocks = read(tmp_path, ACROSS + "\n".join(rows) + "\n")
    assert layout.profile.layout == "across"
    assert layout.profile.hour_columns[1] == HourColumn("01:00", 60)
    found = readings(layout, blocks)["value"]
    assert found[0] == ("03-28 23:00", 2900)
    assert len(found) == 71
    assert [(p.line, p.column, p.code, p.text) for p in blocks[0].problems] == [
        (4, "02:00", "time_nonexistent", "3102.0")
    ]


@pytest.mark.parametrize(("first", "count", "minutes"), [(1, 24, 60), (0, 24, 60), (1, 96, 15), (1, 48, 30)])
def test_numbered_columns_count_the_parts_of_a_day(
    tmp_path: Path, first: int, count: int, minutes: int
) -> None:
    names = [f"H{number}" for number in range(first, first + count)]
    text = f"day,meter,{','.join(names)}\n" + "".join(
        f"2024-06-{day:02d},{meter},{','.join(map(str, range(count)))}\n"
        for day in (1, 2, 3)
        for meter in ("a", "b")
    )
    layout, blocks = read(tmp_path, text, tz="UTC")
    assert layout.profile.key_columns == ("meter",)
    found = readings(layout, blocks)
    assert found["a"][:2] == [("06-01 00:00", 0), (f"06-01 {minutes // 60:02d}:{minutes % 60:02d}", 1)]
    assert len(found["b"]) == 3 * count


def test_the_marks_a_and_b_part_the_doubled_hour_across_and_in_a_row(tmp_path: Path) -> None:
    names = ["0", "1", "2A", "2B", *map(str, range(3, 24))]
    ordinary = ",".join("" if name == "2B" else "7" for name in names)
    text = f"day,{','.join(names)}\n2024-10-25,{ordinary}\n2024-10-26,{ordinary}\n2024-10-27,{','.join(map(str, range(25)))}\n"
    layout, blocks = read(tmp_path, text)
    found = [
        time
        for time, value in readings(layout, blocks)["value"]
        if value == int(value) and time >= "10-26 22:00"
    ]
    assert found == [f"10-{26 if hour < 2 else 27} {(22 + hour) % 24:02d}:00" for hour in range(25)]
    rows = [
        *(
            f"27.10.2024 {h};{n}"
            for n, h in enumerate(["01:00", "02:00A", "02:30A", "02:00B", "02:30B", "03:00"])
        )
    ]
    layout, blocks = read(tmp_path, "t;v\n" + "\n".join(rows) + "\n")
    assert [time[6:] for time, _ in readings(layout, blocks)["v"]] == [
        "23:00",
        "00:00",
        "00:30",
        "01:00",
        "01:30",
        "02:00",
    ]


def test_a_doubled_hour_may_be_interleaved_or_named_once_and_for_all(tmp_path: Path) -> None:
    times = ["01:30", "02:00", "02:00", "02:30", "02:30", "03:00"]
    text = "t;v\n" + "".join(f"27.10.2024 {time};{at}\n" for at, time in enumerate(times))
    layout, blocks = read(tmp_path, text)
    assert [time[6:] for time, _ in readings(layout, blocks)["v"]] == [
        "23:30",
        "00:00",
        "01:00",
        "00:30",
        "01:30",
        "02:00",
    ]
    once = "t;v\n" + "".join(f"27.10.2024 {time};1\n" for time in ("01:30", "02:00", "02:30", "03:00"))
    for choice, hour in (("first", "00:00"), ("second", "01:00")):
        layout, blocks = read(tmp_path, once, doubled_hour=choice)
        assert readings(layout, blocks)["v"][1][0][6:] == hour


def test_an_hour_that_never_was_can_be_taken_for_a_clock_that_was_not_put_forward(tmp_path: Path) -> None:
    text = "t;v\n" + "".join(f"31.03.2024 {hour:02d}:00;{hour}\n" for hour in (0, 1, 2, 4))
    layout, blocks = read(tmp_path, text, missing_hour="shift")
    assert [time[6:] for time, _ in readings(layout, blocks)["v"]] == ["23:00", "00:00", "01:00", "02:00"]
    _, blocks = read(tmp_path, text)
    assert codes(blocks) == [(4, "time_nonexistent")]


def test_ends_of_intervals_are_stored_at_their_beginnings_and_said_so(tmp_path: Path) -> None:
    text = "date,time,v\n" + "".join(f"13/01/2024,{hour:02d}:00,{hour}\n" for hour in range(1, 25))
    layout = guess_layout(text.encode(), is_whole=True, given=Given(), device_tz="UTC")
    question = next(question for question in layout.questions if question.setting == "time_marks")
    assert not question.is_required
    assert "60 minutes" in question.said(plain_name)
    layout, blocks = read(tmp_path, text, tz="UTC")
    assert readings(layout, blocks)["v"][0] == ("01-13 00:00", 1)
    assert (layout.profile.time_marks, layout.profile.interval) == ("end", 3600)
    layout, blocks = read(tmp_path, text, tz="UTC", time_marks="start")
    assert readings(layout, blocks)["v"][-1] == ("01-14 00:00", 24)


def test_ends_of_hours_across_are_one_column_earlier(tmp_path: Path) -> None:
    names = [f"{hour:02d}:00" for hour in range(1, 25)]
    text = f"day,{','.join(names)}\n" + "".join(
        f"2024-06-0{day},{','.join(map(str, range(24)))}\n" for day in (1, 2, 3)
    )
    layout, blocks = read(tmp_path, text, tz="UTC")
    assert layout.profile.interval == 3600
    assert readings(layout, blocks)["value"][:2] == [("06-01 00:00", 0), ("06-01 01:00", 1)]


def test_25_hours_across_are_counted_as_they_pass(tmp_path: Path) -> None:
    head = f"day;{';'.join(map(str, range(1, 26)))}\n"
    autumn = f"27.10.2024;{';'.join(map(str, range(25)))}\n"
    spring = f"31.03.2024;{';'.join(map(str, range(23)))};;\n"
    plain = f"28.10.2024;{';'.join(map(str, range(24)))};\n"
    layout, blocks = read(tmp_path, head + spring + autumn + plain)
    found = readings(layout, blocks)["value"]
    assert found[:23] == [(f"03-{30 if h == 0 else 31} {(h + 23) % 24:02d}:00", h) for h in range(23)]
    assert found[23:48] == [(f"10-{26 + (h + 22) // 24} {(h + 22) % 24:02d}:00", h) for h in range(25)]
    assert found[48] == ("10-27 23:00", 0)


def test_keys_beyond_what_a_file_may_add_are_rejected_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joulebook.telemetry.files.series_table.MOST_SERIES", 1)
    path = tmp_path / "long.csv"
    path.write_text(LONG + "".join(f"2024-01-14 00:00;K{n};W;5\n" for n in range(3)))
    layout = settled_layout(LONG.encode(), is_whole=False, given=Given(), device_tz="UTC")
    (block,) = parse_file(FileSource(path), layout.profile, layout.columns, now=NOW)
    assert [value.metric for value in block.added] == ["K0"]
    assert block.rows_rejected == {"key_limit": 2}
    assert (block.rows_imported, codes([block])) == (37, [(39, "key_limit"), (40, "key_limit")])


def test_a_second_table_is_refused_with_its_own_code_until_the_first_goes_on(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-13 00:{minute:02d},{minute},2\n" for minute in range(20))
    text = f"time,P,E\n{rows}\ntime,T,Humidity\n2024-01-13 00:00,20,60\n2024-01-13 00:01,21,61\n\ntime,P,E\n2024-01-13 01:00,5,6\n"
    for block_readings in (2, 50_000):
        layout, blocks = read(tmp_path, text, tz="UTC", header_line=1, block_readings=block_readings)
        assert readings(layout, blocks)["P"][-1] == ("01-13 01:00", 5)
        assert len(readings(layout, blocks)["P"]) == 21
        assert codes(blocks) == [
            (23, "other_table"),
            (24, "other_table"),
            (25, "other_table"),
            (27, "header_repeated"),
        ]
    layout, blocks = read(tmp_path, text, tz="UTC", header_line=23)
    assert readings(layout, blocks)["Humidity"] == [("01-13 00:00", 60), ("01-13 00:01", 61)]


def test_a_word_among_the_data_does_not_end_the_table(tmp_path: Path) -> None:
    rows = [f"2024-01-13 00:{minute:02d},{minute},2" for minute in range(20)]
    text = (
        "\n".join(["time,P,E", *rows[:10], "Error: sensor, lost", "# note,a,b", "pause", *rows[10:]]) + "\n"
    )
    layout, blocks = read(tmp_path, text, tz="UTC")
    assert len(readings(layout, blocks)["P"]) == 20
    assert [code for _, code in codes(blocks)] in (["time_malformed"] * 2, ["time_malformed"] * 3)


def test_fixed_widths_keep_empty_cells_in_their_column(tmp_path: Path) -> None:
    text = "".join(
        f"2024-01-13 00:{minute:02d}{'' if minute % 3 else minute:>8}{minute * 2:>8}{'' if minute % 4 else 'x':>4}\n"
        for minute in range(40)
    )
    layout, blocks = read(tmp_path, text, tz="UTC", delimiter="16,8,8,4")
    assert layout.profile.widths == (16, 8, 8, 4)
    found = readings(layout, blocks)
    assert [value for _, value in found["column_2"]] == [minute for minute in range(40) if minute % 3 == 0]
    assert [value for _, value in found["column_3"]] == [minute * 2 for minute in range(40)]


def test_a_delimiter_may_be_a_regular_expression_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    text = "time::P::E\n" + "".join(f"2024-01-13 00:{m:02d} :: {m} ::{m * 2}\n" for m in range(9))
    layout, blocks = read(tmp_path, text, tz="UTC", delimiter="/ *:: */")
    assert readings(layout, blocks)["E"][-1] == ("01-13 00:08", 16)
    for pattern in ("/a*/", "/(/", "/" + "x" * 300 + "/"):
        with pytest.raises(UnusableProfile, match="the pattern in delimiter"):
            read(tmp_path, text, delimiter=pattern)


def test_comments_among_the_data_are_counted_and_no_rows(tmp_path: Path) -> None:
    rows = [f"2024-01-13 00:{m:02d},{m},1" for m in range(9)]
    text = "\n".join(["# logger 7", "time,P,E", *rows[:3], "# restarted", *rows[3:]]) + "\n"
    layout, blocks = read(tmp_path, text, tz="UTC")
    assert layout.profile.skip_prefixes == ("#",)
    assert (sum(b.skipped_lines for b in blocks), sum(b.rows_imported for b in blocks), codes(blocks)) == (
        1,
        9,
        [],
    )


@pytest.mark.parametrize("text", [LONG, ACROSS + "01.06.2024" + ";1" * 24 + "\n"])
def test_a_profile_goes_through_json_and_back(text: str) -> None:
    layout = settled_layout(text.encode(), is_whole=True, given=Given(), device_tz=BERLIN)
    stored = json.loads(json.dumps(layout.profile.as_json()))
    assert ImportProfile.from_json(stored) == layout.profile
    assert stored["version"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "has version 2; this Joulebook reads versions 1 to 1"),
        ({"colour": "red"}, "unknown entry 'colour'; there are time_columns"),
        ({"layout": "deep"}, "entry layout is 'deep'; it must be 'wide' or 'long' or 'across'"),
        ({"header_line": "one"}, "entry header_line is 'one'; it must be a whole number"),
        ({"header_line": True}, "it must be a whole number"),
        ({"time_columns": "time"}, "it must be a list"),
        ({"values": [{"column": "P"}]}, r"lacks the entry values\[0\]\.'metric'"),
        (
            {"values": [{"column": "P", "metric": "p", "factor": "x"}]},
            r"values\[0\]\.factor is 'x'; it must be a number",
        ),
        ({"na_values": [1]}, r"na_values\[0\] is '1'; it must be text"),
    ],
)
def test_a_profile_that_cannot_be_used_names_the_entry(change: dict[str, object], message: str) -> None:
    stored = settled_layout(LONG.encode(), is_whole=True, given=Given(), device_tz="UTC").profile.as_json()
    with pytest.raises(UnusableProfile, match=message):
        ImportProfile.from_json({**stored, **change})
    with pytest.raises(UnusableProfile, match="is a JSON object"):
        ImportProfile.from_json([stored])


@pytest.mark.parametrize("block_readings", [1, 3, 7, 40])
@pytest.mark.parametrize("kind", ["wide", "long"])
def test_an_import_goes_on_at_any_checkpoint_as_if_it_had_never_stopped(
    tmp_path: Path, kind: str, block_readings: int
) -> None:
    clock = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00", "broken", "03:30"]
    if kind == "wide":
        text = "t;note;v\n" + "".join(f'27.10.2024 {time};"a\nb";{at}\n\n' for at, time in enumerate(clock))
    else:
        text = "t;key;v\n" + "".join(
            f"27.10.2024 {time};{key};{at}\n" for at, time in enumerate(clock) for key in "ABC"
        )
    layout, whole = read(tmp_path, text, block_readings=block_readings)
    source = FileSource(tmp_path / "readings.txt")
    for at, block in enumerate(whole):
        assert block.checkpoint is not None
        stored = json.loads(json.dumps(block.checkpoint.as_json()))
        rest = list(
            parse_file(
                source,
                layout.profile,
                layout.columns,
                now=NOW,
                block_readings=5,
                checkpoint=Checkpoint.from_json(stored),
            )
        )
        assert flat(whole[: at + 1] + rest) == flat(whole)
    assert whole[-1].checkpoint is not None
    assert whole[-1].checkpoint.offset == len(text.encode())


def flat(blocks: list[ParsedBlock]) -> list[object]:
    """Return everything that blocks say, wherever they end."""
    rows = sorted(
        (line, column, time, value)
        for block in blocks
        for line, column, time, value in zip(
            block.line.tolist(), block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
        )
    )
    return [rows, codes(blocks), sum(b.rows_imported for b in blocks), sum(b.blank_lines for b in blocks)]
