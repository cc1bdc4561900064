"""JSON and JSON lines: which list is read, its columns, exact digits, damage, and bounded memory."""

from __future__ import annotations

import codecs
import json
import tracemalloc
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats import json_lists
from joulebook.telemetry.files.formats.format import Content
from joulebook.telemetry.files.formats.json_lists import JSON
from joulebook.telemetry.files.source import FileSource

from .reading_files import ReadFile, read_file


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "readings.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document, ensure_ascii=False))
    return path


def table(tmp_path: Path, document: Any, sheet: str = "") -> list[str]:
    """Return the lines of CSV that a document is converted to."""
    return b"".join(FileSource(write(tmp_path, document), sheet=sheet).chunks()).decode().splitlines()


def read(tmp_path: Path, document: Any, sheet: str = "") -> ReadFile:
    return read_file(write(tmp_path, document), sheet=sheet)


RECORDS = [
    {"time": "2026-01-01T00:00:00Z", "grid": {"power": 1.5, "voltage": 230.25}},
    {"time": "2026-01-01T00:01:00Z", "grid": {"power": -2, "voltage": None}},
    {"time": "2026-01-01T00:02:00Z", "grid": {"power": 3, "voltage": 231}},
]


def test_a_list_of_objects_is_found_wherever_it_is(tmp_path: Path) -> None:
    made = {"made": "2026-02-01T00:00:00Z", "count": 3}
    for document in (RECORDS, {"data": {"readings": RECORDS}}, {**made, "meta": made, "list": RECORDS}):
        found = read(tmp_path, document)
        assert found.series["grid.power"].values == {
            "2026-01-01 00:00": 1.5,
            "2026-01-01 00:01": -2.0,
            "2026-01-01 00:02": 3.0,
        }
        assert list(found.series["grid.voltage"].values.values()) == [230.25, 231.0]
        assert not found.problems


def test_a_line_may_be_an_object(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(record) for record in RECORDS) + "\n"
    assert read(tmp_path, lines) == read(tmp_path, RECORDS)


def test_a_line_that_is_no_json_is_counted_with_its_text(tmp_path: Path) -> None:
    lines = [json.dumps(record) for record in RECORDS]
    found = read(tmp_path, "\n".join([*lines[:2], '{"time": "2026-01-01T00:01:30Z", "gr', lines[2]]))
    assert [(code, text[:8]) for _, code, text in found.problems] == [("time_malformed", '{"time":')]
    assert len(found.series["grid.power"].values) == 3


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    text = '[{"t": 1767225600, "a": 0.10, "b": 12345678901234567890.123, "c": 1e-7}]'
    assert table(tmp_path, text)[1] == "1767225600,0.10,12345678901234567890.123,1e-7"


def test_lists_side_by_side_are_columns_with_the_units_and_the_zone_beside_them(tmp_path: Path) -> None:
    document = {
        "utc_offset_seconds": 7200,
        "timezone": "Europe/Berlin",
        "hourly_units": {"time": "iso8601", "temperature_2m": "°C", "cloud_cover": "%"},
        "hourly": {
            "time": [f"2026-06-01T{hour:02d}:00" for hour in range(4)],
            "temperature_2m": [12.1, None, 11.5, 11],
            "cloud_cover": [0, 50, 75, 100],
        },
    }
    assert table(tmp_path, document)[0] == "time (UTC+02:00),temperature_2m [°C],cloud_cover [%]"
    found = read(tmp_path, document)
    assert found.series["temperature_2m [°C]"] == (
        "°C",
        "",
        {"2026-05-31 22:00": 12.1, "2026-06-01 00:00": 11.5, "2026-06-01 01:00": 11.0},
    )


def test_objects_with_times_as_keys_are_columns_where_the_times_are_the_same(tmp_path: Path) -> None:
    document = {
        "result": {
            "watts": {"2026-06-01 05:00:00": 0, "2026-06-01 06:00:00": 120},
            "watt_hours": {"2026-06-01 05:00:00": 0, "2026-06-01 06:00:00": 60},
        },
        "message": {"info": {"timezone": "Europe/Berlin"}},
    }
    assert table(tmp_path, document) == [
        "time (Europe/Berlin),watts,watt_hours",
        "2026-06-01 05:00:00,0,0",
        "2026-06-01 06:00:00,120,60",
    ]


def test_keys_that_are_numbers_of_meters_are_no_times(tmp_path: Path) -> None:
    document = {"1234567890": {"power": 1, "at": "2026-01-01T00:00:00Z"}, "1134567890": {"power": 2}}
    assert table(tmp_path, document)[0] == "1234567890.power,1234567890.at,1134567890.power"


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ([[1767225600000, 1.5], [1767225660000, 2]], ["time,value", "1767225600000,1.5", "1767225660000,2"]),
        (
            [{"target": "pv", "datapoints": [[1.5, 1767225600000], [None, 1767225660000]]}],
            ["target,value,time", "pv,1.5,1767225600000", "pv,,1767225660000"],
        ),
        (
            {"series": [{"name": "a", "data": [[1767225600, 1]]}, {"name": "b", "data": [[1767225600, 2]]}]},
            ["name,time,value", "a,1767225600,1", "b,1767225600,2"],
        ),
        (
            {"results": [{"series": [{"name": "m", "columns": ["time", "w"], "values": [[1767225600, 5]]}]}]},
            ["name,time,w", "m,1767225600,5"],
        ),
        (
            {"data": {"result": [{"metric": {"job": "pv"}, "values": [[1767225600.5, "7.50"]]}]}},
            ["metric.job,time,value", "pv,1767225600.5,7.50"],
        ),
        ({"power": [[1767225600, 5]]}, ["time,power", "1767225600,5"]),
    ],
)
def test_lists_of_pairs_are_rows_with_the_fields_around_them(
    tmp_path: Path, document: Any, lines: list[str]
) -> None:
    assert table(tmp_path, document) == lines


def test_a_single_record_is_a_row(tmp_path: Path) -> None:
    document = {"id": "x", "at": "2026-01-01T00:00:00Z", "battery": {"power": 5}, "flags": ["a", "b"]}
    assert table(tmp_path, document) == [
        "id,at,battery.power,flags.1,flags.2",
        "x,2026-01-01T00:00:00Z,5,a,b",
    ]


def test_one_of_several_lists_is_chosen_by_a_person(tmp_path: Path) -> None:
    document = {"house": RECORDS, "garage": RECORDS[:1], "errors": [{"code": 5}]}
    path = write(tmp_path, document)
    assert FileSource(path).sheets() == ("house", "garage")
    with pytest.raises(
        UnreadableFile, match="holds 2 lists; say which with sheet house or sheet garage"
    ) as caught:
        read_file(path)
    assert caught.value.setting == "sheet"
    assert caught.value.said(lambda setting, value: f"--{setting} {value}").endswith("or --sheet garage")
    assert len(read_file(path, sheet="garage").lines) == 2
    assert table(tmp_path, document, "errors") == ["code", "5"]
    with pytest.raises(
        UnreadableFile, match="has no list 'cellar' in its beginning; it has 'house', 'garage'"
    ):
        read_file(path, sheet="cellar")


def test_a_list_without_times_is_not_taken_for_the_readings(tmp_path: Path) -> None:
    assert FileSource(write(tmp_path, {"errors": [{"code": 5}], "rows": RECORDS})).sheets() == ("rows",)


def test_a_name_that_is_twice_in_an_object_loses_nothing(tmp_path: Path) -> None:
    assert table(tmp_path, '[{"time": "2026-01-01", "a": 1, "a": 2}]') == ["time,a,a_2", "2026-01-01,1,2"]


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take any document for a long one."""
    monkeypatch.setattr(json_lists, "MOST_AT_ONCE", 2000)
    monkeypatch.setattr(json_lists, "SURVEYED", 1000)
    monkeypatch.setattr(json_lists, "_LONGEST_SCALAR", 100)


def long_list(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"time": 1767225600 + at, "power": at / 4, **more} for at in range(count)]


@pytest.mark.usefixtures("small_limits")
def test_a_long_document_is_read_element_by_element_with_the_same_result(tmp_path: Path) -> None:
    for document in (long_list(500), {"unit": "x", "a": {"b": long_list(500)}, "end": 1}, [[long_list(300)]]):
        lines = table(tmp_path, document)
        assert lines[0] == "time,power"
        assert lines[1:4] == ["1767225600,0.0", "1767225601,0.25", "1767225602,0.5"]
        assert len(lines) >= 301


@pytest.mark.usefixtures("small_limits")
def test_a_field_that_appears_only_far_down_is_counted_not_dropped(tmp_path: Path) -> None:
    found = read(tmp_path, [*long_list(500), *long_list(1, humidity=55)])
    assert [code for _, code, _ in found.problems] == ["too_many_cells"]


@pytest.mark.usefixtures("small_limits")
def test_a_second_list_far_down_is_no_silent_loss(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="holds 2 lists"):
        table(tmp_path, {"a": long_list(500), "b": long_list(2)})
    assert len(table(tmp_path, {"a": long_list(500), "b": long_list(2)}, "a")) == 501


@pytest.mark.usefixtures("small_limits")
def test_columns_too_long_to_be_read_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"holds its columns as lists side by side .*export less"):
        table(tmp_path, {"time": list(range(1767225600, 1767226600)), "power": [1] * 1000})


@pytest.mark.usefixtures("small_limits")
def test_an_element_or_a_line_too_long_is_refused() -> None:
    for text, what in (
        (json.dumps([long_list(1)[0], {"time": 1, "text": ["x"] * 4000}]), "element of a list"),
        ("[1]\n[2]\n[" + "3," * 4000, "line"),
    ):
        with pytest.raises(UnreadableFile, match=f"has a {what} of more than .* characters; export less"):
            list(json_lists._Document(content(text)).rows())


def content(text: str, piece: int = 1000) -> Content:
    data = text.encode()
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    return Content(Path("made-up.json"), lambda: iter(pieces), "", "made-up.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"time": 1, "a": 2}, {"time": 2, "a"', "no complete JSON: see character 38"),
        ('{"a": [{"time": 1}]} x', r"see character 22 \('x'\)"),
        ('[{"time": 1} {"time": 2}]', "see character 14"),
        ("[" * 100_000, "nests its JSON too deep"),
        ('{"power": 5, "list": []}', None),
        ("[]", "JSON without a list of readings"),
        ('{"a": {}}', "without a list|no time"),
    ],
)
def test_damaged_documents_are_refused_in_words(tmp_path: Path, text: str, message: str | None) -> None:
    if message is None:
        assert table(tmp_path, text) == ["power", "5"]
    else:
        with pytest.raises(UnreadableFile, match=message):
            table(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_of_the_encoding_is_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "readings.json"
    path.write_bytes(json.dumps([{"time": "2026-01-01", "größe": 1}], ensure_ascii=False).encode(encoding))
    assert b"".join(FileSource(path).chunks()).decode().splitlines() == ["time,größe", "2026-01-01,1"]
    assert codecs.lookup(encoding)


@pytest.mark.parametrize(
    "text", ["[Data]\n", "{Header}\n", "time,a\n[1],2\n", "<a/>", "[INFO] 2026-01-01 1\n"]
)
def test_other_text_is_not_taken_for_json(text: str) -> None:
    assert not JSON.recognises(text.encode())


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("form", ["[%s]", '{"a": [%s]}', "%s"])
def test_a_long_list_is_never_in_memory(form: str) -> None:
    records = [b'{"time": %d, "power": 1.5}' % at for at in range(4000)]
    before, after = (part.encode() for part in form.split("%s"))
    mark = b",\n" if form != "%s" else b"\n"
    pieces = chain([before, records[0]], (mark + record for record in records[1:]), [after])
    document = json_lists._Document(Content(Path("a.json"), lambda: pieces, "", "a.json"))
    tracemalloc.start()
    assert sum(1 for _ in document.rows()) == 4000
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size < sum(map(len, records)) / 4


_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)
_ROWS = st.lists(
    st.dictionaries(_TEXTS, st.one_of(st.none(), st.integers(), st.booleans(), _TEXTS), min_size=1),
    min_size=1,
)


@settings(max_examples=40, deadline=None)
@given(rows=_ROWS, piece=st.integers(1, 50), at_once=st.sampled_from([30, 16 << 20]))
def test_every_value_of_a_record_is_in_the_table(
    rows: list[dict[str, Any]], piece: int, at_once: int
) -> None:
    timed = [{"time": "2026-01-01", **row} for row in rows]
    document = json_lists._Document(content(json.dumps(timed, ensure_ascii=False), piece))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "MOST_AT_ONCE", max(at_once, 4000) if at_once > 30 else 10_000)
        found = [dict(row) for path, row in document.rows() if path == ""]
    expected = [{name: json_lists._said(_text(value)) for name, value in row.items()} for row in timed]
    assert found == expected


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
