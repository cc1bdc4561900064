"""The same instant again with another value, in one series and one file: found, counted, shown and asked about."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.guess.layout import guess_layout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.preview import check_file
from joulebook.telemetry.files.repeats import RepeatWatch
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import ParsedBlock

from .readings_of import NOW, by_answer, layout_of, readings_of, required

reading = st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 2))
blocks = st.lists(st.lists(reading, max_size=12), max_size=6)


def block_of(readings: list[tuple[int, int, int]], first_line: int) -> ParsedBlock:
    """Return a block of readings (column, time, value), one a line, ordered by column as a parser's."""
    ordered = sorted(
        ((column, time, value, first_line + at) for at, (column, time, value) in enumerate(readings)),
        key=lambda one: (one[0], one[3]),
    )
    column, time, value, line = (list(each) for each in zip(*ordered, strict=True)) if ordered else ([],) * 4
    return ParsedBlock(
        np.array(column, np.int32), np.array(time, np.int64), np.array(value, float),
        np.array(line, np.int64), len(readings), Counter(), 0, (0, 0), [], [],
    )  # fmt: skip


def repeats_of(parts: list[ParsedBlock], watch: RepeatWatch) -> set[tuple[int, int, int, float]]:
    """Return column, line, first line and first value of each repeat."""
    return {
        (int(part.column[row]), int(part.line[row]), int(line), float(value))
        for part in parts
        for repeats in [watch.find(part)]
        for row, line, value in zip(
            repeats.rows.tolist(), repeats.first_line.tolist(), repeats.first_value.tolist(), strict=True
        )
    }


@settings(deadline=None)
@given(blocks)
def test_each_repeat_is_found_with_the_first_of_its_instant(parts: list[list[tuple[int, int, int]]]) -> None:
    first: dict[tuple[int, int], tuple[int, int]] = {}
    expected = set()
    line = 2
    made = []
    for readings in parts:
        made.append(block_of(readings, line))
        for column, time, value in readings:
            first_line, first_value = first.setdefault((column, time), (line, value))
            if value != first_value:
                expected.add((column, line, first_line, float(first_value)))
            line += 1
    assert repeats_of(made, RepeatWatch()) == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.booleans(), st.integers(1, 7))
def test_times_in_order_are_compared_exactly_however_little_is_remembered(
    steps: list[int], is_falling: bool, size: int
) -> None:
    times = (-1 if is_falling else 1) * np.cumsum(steps)
    readings = [(column, int(time), 0) for time in times for column in (0, 1)]
    parts = [block_of(readings[at : at + size], at) for at in range(0, len(readings), size)]
    assert repeats_of(parts, RepeatWatch(most=1)) == set()


def test_beyond_what_is_remembered_a_repeat_is_not_found() -> None:
    rising = [(0, time, 0) for time in range(20)]
    parts = [block_of(rising[at : at + 5], at) for at in range(0, 20, 5)]
    again = block_of([(0, 2, 1), (0, 17, 1)], 20)
    assert {line for _, line, _, _ in repeats_of([*parts, again], RepeatWatch(most=5))} == {21}
    assert {line for _, line, _, _ in repeats_of([*parts, again], RepeatWatch(most=20))} == {20, 21}


def quarters(count: int, *, day: int = 3, first: int = 0) -> list[str]:
    return [f"2024-06-{day:02d} {(first + at) // 4:02d}:{(first + at) % 4 * 15:02d}" for at in range(count)]


def write(path: Path, lines: list[str], name: str = "meter.csv") -> Path:
    (path / name).write_text("\n".join(lines) + "\n")
    return path / name


def one_question(path: Path, given: Given | None = None) -> Question:
    (question,) = required(layout_of(path, given))
    return question


def test_a_stray_row_is_counted_and_shown_with_both_lines_and_not_asked_about(tmp_path: Path) -> None:
    lines = ["time,P", *(f"{time},{at}" for at, time in enumerate(quarters(60))), "2024-06-03 00:15,7.5"]
    path = write(tmp_path, lines)
    layout = layout_of(path)
    assert required(layout) == []
    report = check_file(FileSource(path), layout.profile, layout.columns, now=NOW)
    assert (report.repeated, report.problem_count, report.readable) == (1, 1, 61)
    assert report.as_json()["repeated"] == report.as_json()["columns"][0]["repeated"] == 1
    (problem,) = report.problems
    assert (problem.line, problem.column, problem.code) == (62, "P", "repeated")
    assert problem.text == "7.5, and 1.0 in line 3"


def test_an_identical_row_is_harmless(tmp_path: Path) -> None:
    rows = [f"{time},{at}" for at, time in enumerate(quarters(40))]
    path = write(tmp_path, ["time,P", *rows, *rows])
    layout = layout_of(path)
    assert required(layout) == []
    assert check_file(FileSource(path), layout.profile, layout.columns, now=NOW).repeated == 0


def test_a_key_that_tells_repeats_apart_is_named_and_applied_by_its_answer(tmp_path: Path) -> None:
    rows = [f"{time},{at},4" for at, time in enumerate(quarters(60))]
    rows[30:30] = [f"{time},{100 + at},7" for at, time in enumerate(quarters(5))]
    path = write(tmp_path, ["time,P,how", *rows])
    question = one_question(path)
    assert question.setting == "key_columns"
    assert "the key 'how' ('4', '7')" in question.about
    assert "line 32 has 100.0 where line 2 has 0.0" in question.about
    keyed, kept = by_answer(path, question).values()
    assert keyed == {"4": [float(at) for at in range(60)], "7": [100, 101, 102, 103, 104]}
    assert len(kept["P"]) == 65


def test_a_number_with_the_name_of_a_key_is_the_key_without_a_question(tmp_path: Path) -> None:
    rows = [f"{time},11,{at}" for at, time in enumerate(quarters(60))]
    path = write(tmp_path, ["time,period_id,used", "2024-06-03 00:00,12,60", *rows])
    layout = layout_of(path)
    assert required(layout) == []
    assert readings_of(path, layout) == {"12": [60], "11": [float(at) for at in range(60)]}


def test_another_column_of_times_is_named_and_applied_by_its_answer(tmp_path: Path) -> None:
    rows = [f"2024-06-03,{time[11:]},{at}" for at, time in enumerate(quarters(40))]
    path = write(tmp_path, ["day,clock,P", *rows])
    given = Given(time_columns=("day",))
    question = one_question(path, given)
    assert (question.setting, "the time 'clock'" in question.about) == ("time_columns", True)
    joined, _ = by_answer(path, question, given).values()
    assert joined == {"P": [float(at) for at in range(40)]}
    layout = layout_of(path, question.answers[0].applied_to(given))
    assert check_file(FileSource(path), layout.profile, layout.columns, now=NOW).repeated == 0


def test_the_header_again_with_times_that_begin_anew_is_a_second_table(tmp_path: Path) -> None:
    table = ["time,P", *(f"{time},{at}" for at, time in enumerate(quarters(20)))]
    path = write(tmp_path, [*table, *(line.replace(",", ",1") if "-" in line else line for line in table)])
    question = one_question(path)
    assert "a second table from line 22 on" in question.about
    second, first = by_answer(path, question).values()
    assert second == {"P": [float(f"1{at}") for at in range(20)]}
    assert len(first["P"]) == 40


def test_the_header_again_with_times_that_go_on_is_the_same_table(tmp_path: Path) -> None:
    lines = ["time,P", *(f"{time},1" for time in quarters(20))]
    lines += ["time,P", *(f"{time},2" for time in quarters(20, first=20))]
    assert required(layout_of(write(tmp_path, lines))) == []


def test_the_hour_repeated_in_autumn_neither_makes_a_key_nor_hides_one(tmp_path: Path) -> None:
    clock = ["01:30", "01:45", *["02:00", "02:15", "02:30", "02:45"] * 2, "03:00", "03:15", "03:30", "03:45"]
    season = ["S"] * 6 + ["W"] * 8
    one = [
        f"2025-10-26 {time},{at},{mark}" for at, (time, mark) in enumerate(zip(clock, season, strict=True))
    ]
    path = write(tmp_path, ["time,P,clock", *one])
    layout = layout_of(path)
    assert (required(layout), readings_of(path, layout)) == ([], {"P": [float(at) for at in range(14)]})
    two = [line.replace(",", f",{sign}").rpartition(",")[0] + f",{key}" for sign, key in (("", "imp"), ("-", "exp"))
           for line in one]  # fmt: skip
    path = write(tmp_path, ["time,P,register", *two])
    layout = layout_of(path)
    assert layout.profile.key_columns == ("register",)
    assert readings_of(path, layout) == {
        "imp": [float(at) for at in range(14)],
        "exp": [-float(at) for at in range(14)],
    }


def test_keeping_the_first_is_accepted_once_and_for_all(tmp_path: Path) -> None:
    lines = ["time,P", *(f"2024-06-03 10:00,{at}" for at in range(30))]
    path = write(tmp_path, lines)
    question = one_question(path)
    assert [dict(answer.given) for answer in question.answers] == [{"repeats": "first"}]
    layout = layout_of(path, Given(repeats="first"))
    assert required(layout) == []
    assert check_file(FileSource(path), layout.profile, layout.columns, now=NOW).repeated == 29


def test_times_that_begin_anew_far_behind_the_head_are_asked_about() -> None:
    head = "\n".join(["time,P", *(f"{time},1" for time in quarters(90))]) + "\n"
    later = "".join(f"{time},2\n" for time in quarters(90, day=9))
    again = "".join(f"{time}:30,3\n" for time in quarters(90))

    def asked(further: str, **given: Any) -> list[str]:
        layout = guess_layout(
            head.encode(), is_whole=False, given=Given(**given), device_tz="UTC", further=further.encode()
        )
        return [question.about for question in required(layout)]

    assert asked(later) == asked(later + again, repeats="first") == []
    assert asked(later + again) == [
        "the times of the file begin anew behind its first part: does a second table follow the first?"
    ]


def test_the_repeated_hour_in_a_zone_without_one_asks_for_the_zone(tmp_path: Path) -> None:
    clock = [time.replace("06-03", "10-27") for time in [*quarters(12), *quarters(80, first=8)]]
    path = write(tmp_path, ["time,P", *(f"{time},{at}" for at, time in enumerate(clock))])
    (question,) = required(layout_of(path, tz="UTC"))
    assert "the hour that clocks repeat in autumn, in another zone than UTC" in question.about
    assert question.setting == "repeats"
