"""The preview shows the first rows as they would be read, without reading more than that."""

from __future__ import annotations

import pytest

from joulebook.telemetry.files.guess.layout import guess_layout
from joulebook.telemetry.files.preview import Preview, preview
from joulebook.telemetry.files.settings import Given

NOW = 1_900_000_000_000_000
MIDNIGHT = 1_705_104_000_000_000


def shown(text: str, *, encoding: str = "utf-8", is_whole: bool = True, **given: object) -> Preview:
    head = text.encode(encoding)
    layout = guess_layout(head, is_whole=is_whole, given=Given(**given), device_tz="UTC")  # type: ignore[arg-type]
    return preview(head, layout.profile, layout.columns, is_whole=is_whole, now=NOW)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_rows_are_shown_with_what_stands_there_and_what_becomes_of_it(encoding: str) -> None:
    rows = [
        "2024-01-13 00:00;1,5;x",
        "",
        "2024-01-13 00:01;?;2",
        "broken;3;4",
        *(f"2024-01-13 01:{m:02d};1,5;2" for m in range(50)),
    ]
    found = shown("Zähler 7\ntime;P;E\n" + "\n".join(rows) + "\n", encoding=encoding)
    assert found.lines_above == ["Zähler 7", "time;P;E"]
    assert [value.metric for value in found.values] == ["P", "E"]
    assert [(row.line, row.text) for row in found.rows[:3]] == [
        (3, "2024-01-13 00:00;1,5;x"), (5, "2024-01-13 00:01;?;2"), (6, "broken;3;4"),
    ]  # fmt: skip
    assert found.rows[0].readings == [(0, MIDNIGHT, 1.5)]
    assert [(p.column, p.code) for p in found.rows[0].problems] == [("E", "value_type")]
    assert found.rows[1].readings == [(1, MIDNIGHT + 60_000_000, 2)]
    assert [(p.column, p.code) for p in found.rows[2].problems] == [(None, "time_malformed")]
    assert len(found.rows) == 20


def test_a_file_that_leaves_something_open_is_shown_by_its_first_answer() -> None:
    found = shown("t;P\n" + "".join(f"03/04/2024 0{h}:00;1\n" for h in range(9)))
    assert len(found.rows) == 9


def test_rows_without_any_value_are_shown_too() -> None:
    found = shown("time,P\n" + "".join(f"2024-01-13 00:{m:02d},\n" for m in range(40)))
    assert [row.line for row in found.rows] == list(range(2, 22))
    assert not any(row.readings or row.problems for row in found.rows)
    assert found.rows_before == 0


@pytest.mark.parametrize("nothing", ["", "0", "0.0"])
@pytest.mark.parametrize("night", [30, 420, 1200])
def test_a_preview_begins_where_values_are(nothing: str, night: int) -> None:
    rows = (f"2024-01-13 {m // 60:02d}:{m % 60:02d},{m if m >= night else nothing}\n" for m in range(1440))
    found = shown("time,P\n" + "".join(rows))
    assert [row.line for row in found.rows] == list(range(2 + night, 22 + night))
    assert found.rows[0].readings[0][2] == night
    assert found.rows_before == night


def test_a_few_rows_without_values_are_shown_before_those_with_some() -> None:
    found = shown("time,P\n" + "".join(f"2024-01-13 00:{m:02d},{m if m > 5 else 0}\n" for m in range(40)))
    assert (found.rows[0].line, found.rows_before) == (2, 0)


def test_a_line_that_the_head_cuts_off_is_not_shown() -> None:
    text = "time,P\n" + "".join(f"2024-01-13 00:0{m},1{m}\n" for m in range(5))
    assert [row.line for row in shown(text[:-3], is_whole=False).rows] == [2, 3, 4, 5]
    assert [row.line for row in shown(text[:-1]).rows] == [2, 3, 4, 5, 6]
