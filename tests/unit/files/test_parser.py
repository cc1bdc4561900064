"""A file and its profile to readings: the columnar parser equals a slow one written with the csv module."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnreadableFile, UnusableProfile
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import ParsedBlock
from joulebook.telemetry.readings import to_microseconds

NOW = to_microseconds(datetime(2025, 6, 1, tzinfo=UTC))
COLUMNS = ("Datum", "Zeit", "P [W]", "note", "E")
PROFILE = ImportProfile(
    time_columns=("Datum", "Zeit"),
    time_formats=("%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M:%S"),
    values=(ValueColumn("P [W]", "power"), ValueColumn("E", "energy")),
    tz="Europe/Berlin",
    na_values=("?", "-999"),
)


def parse(
    data: bytes,
    profile: ImportProfile = PROFILE,
    columns: tuple[str, ...] = COLUMNS,
    *,
    block_readings: int = 1000,
) -> list[ParsedBlock]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.csv"
        path.write_bytes(data)
        return list(parse_file(FileSource(path), profile, columns, now=NOW, block_readings=block_readings))


def readings(blocks: list[ParsedBlock]) -> set[tuple[int, int, int, float]]:
    """Return (line, column, time, value) of every reading."""
    return {
        (line, column, time, value)
        for block in blocks
        for line, column, time, value in zip(
            block.line.tolist(), block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
        )
    }


def problems(blocks: list[ParsedBlock]) -> list[tuple[int, str | None, str]]:
    return sorted(
        ((p.line, p.column, p.code) for block in blocks for p in block.problems),
        key=lambda p: (p[0], p[1] or "", p[2]),
    )


def codes_of_times(*times: str, tz: str = "UTC") -> list[str]:
    """Return for each time its code, or its UTC instant where it is read."""
    profile = ImportProfile(
        time_columns=("t",),
        time_formats=("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M%z"),
        values=(ValueColumn("v", "v"),),
        tz=tz,
    )
    blocks = parse(b"t,v\n" + "".join(f"{time},1\n" for time in times).encode(), profile, ("t", "v"))
    found = {line: code for line, _, code in problems(blocks)}
    found |= {
        line: datetime.fromtimestamp(time / 1e6, UTC).strftime("%m-%d %H:%M")
        for line, _, time, _ in readings(blocks)
    }
    return [found[line] for line in range(2, len(times) + 2)]


class Reference:
    """Reads the same files row by row, with nothing but the standard library."""

    def __init__(self, text: str, profile: ImportProfile) -> None:
        self.readings: set[tuple[int, int, int, float]] = set()
        self.problems: list[tuple[int, str | None, str]] = []
        self.na: Counter[str] = Counter()
        self.rows_imported = self.blank_lines = 0
        self._profile = profile
        raw = text.split("\n")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=profile.delimiter, strict=True)
        line = 1
        for cells in reader:
            is_blank = not "".join(raw[line - 1 : reader.line_num]).strip(" \t\r")
            if line >= profile.first_data_line:
                if is_blank:
                    self.blank_lines += 1
                else:
                    self._row(line, [cell.strip(" \t\r\n\v\f\u00a0") for cell in cells])
            line = reader.line_num + 1
        self.problems.sort(key=lambda p: (p[0], p[1] or "", p[2]))

    def _row(self, line: int, cells: list[str]) -> None:
        if any(cells[len(COLUMNS) :]):
            self.problems.append((line, None, "too_many_cells"))
            return
        row = dict(zip(COLUMNS, cells + [""] * len(COLUMNS), strict=False))
        time = self._time(f"{row['Datum']} {row['Zeit']}".strip())
        if isinstance(time, str):
            self.problems.append((line, None, time))
            return
        self.rows_imported += 1
        for position, value in enumerate(self._profile.values):
            self._cell(line, position, value.column, row[value.column], time)

    def _time(self, text: str) -> int | str:
        if not text:
            return "time_missing"
        for time_format in self._profile.time_formats:
            try:
                wall = datetime.strptime(text, time_format)  # noqa: DTZ007 - the file says no zone
            except ValueError:
                continue
            local = wall.replace(tzinfo=ZoneInfo(self._profile.tz))
            if local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) != wall:
                return "time_nonexistent"
            time = to_microseconds(local)
            if time < 0:
                return "time_past"
            return "time_future" if time > NOW + 600_000_000 else time
        return "time_malformed"

    def _cell(self, line: int, position: int, column: str, cell: str, time: int) -> None:
        if cell in ("", *self._profile.na_values):
            self.na[cell] += 1
            return
        mark = re.escape(self._profile.decimal)
        if not re.fullmatch(rf"[+-]?([0-9]+{mark}?[0-9]*|{mark}[0-9]+)([eE][+-]?[0-9]+)?", cell):
            self.problems.append((line, column, "value_type"))
            return
        value = float(cell.replace(self._profile.decimal, "."))
        if abs(value) <= 1e100:
            self.readings.add((line, position, time, value))
        else:
            self.problems.append((line, column, "value_not_finite"))


dates = st.sampled_from(
    ["01.02.2024", "2024-02-01", "29.02.2023", "31.12.1969", "1.1.1970", "28.03.2021", "02.06.2025", "x", ""]
)
clocks = st.sampled_from(["00:00", "02:30", "23:59", "01:02:03", " 12:00 ", "24:30", "", "noon"])
numbers = st.one_of(
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.2f}"),
    st.sampled_from(
        ["", "?", "-999", "-999.0", "1e3", "1e999", "12 W", "nan", " 7 ", "1,5", "1.5", "+.5", '"', "\u00a08"]
    ),
)
notes = st.sampled_from(["", "ok", 'say "hi"', "two\nlines", "a,b;c", "°C", "   "])
table_rows = st.lists(
    st.tuples(dates, clocks, numbers, notes, numbers).flatmap(
        lambda row: st.sampled_from(
            [list(row), list(row)[:3], list(row)[:1], [*row, ""], [*row, "extra"], []]
        )
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=200)
@given(
    table_rows,
    st.sampled_from(",;\t|"),
    st.sampled_from([".", ","]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(1, 60),
    st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16"]),
)
def test_the_parser_equals_a_slow_reference(
    rows: list[list[str]],
    delimiter: str,
    decimal: str,
    line_end: str,
    always_quoted: bool,
    block_readings: int,
    encoding: str,
) -> None:
    profile = replace(PROFILE, delimiter=delimiter, decimal=decimal, encoding=encoding)
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=delimiter,
        lineterminator=line_end,
        quoting=csv.QUOTE_ALL if always_quoted else csv.QUOTE_MINIMAL,
    )
    writer.writerows([list(COLUMNS), *rows])
    text = out.getvalue()
    expected = Reference(text, profile)
    blocks = parse(text.encode(encoding), profile, block_readings=block_readings)
    assert readings(blocks) == expected.readings
    assert problems(blocks) == expected.problems
    assert sum((cells.na for block in blocks for cells in block.cells), Counter()) == expected.na
    assert sum(block.rows_imported for block in blocks) == expected.rows_imported
    assert sum(block.blank_lines for block in blocks) == expected.blank_lines


def test_lines_that_end_with_cr_alone_keep_their_numbers() -> None:
    data = b"h\r01.01.2024,00:00,1,,10\rbroken\r\r01.01.2024,00:01,2,,20\r"
    blocks = parse(data, replace(PROFILE, line_end="\r"))
    assert {line for line, *_ in readings(blocks)} == {2, 5}
    assert problems(blocks) == [(3, None, "time_malformed")]


def test_readings_of_a_block_are_ordered_by_column_and_then_as_in_the_file() -> None:
    data = b"h\n01.01.2024,00:00,1,,10\n01.01.2024,00:01,2,,\n01.01.2024,00:02,,,30\n01.01.2024,00:03,4,,40\n"
    (block,) = parse(data)
    assert block.column.tolist() == [0, 0, 0, 1, 1, 1]
    assert block.value.tolist() == [1, 2, 4, 10, 30, 40]
    assert block.line.tolist() == [2, 3, 5, 2, 4, 5]


def test_a_block_has_at_most_the_readings_that_a_transaction_may_have() -> None:
    data = b"h\n" + b"01.01.2024,00:00,1,,2\n" * 1001
    # The header stands in the first block.
    blocks = parse(data, block_readings=100)
    assert [len(block.time) for block in blocks] == [98] + [100] * 19 + [4]


@pytest.mark.parametrize(
    ("time", "outcome"),
    [
        ("1970-01-01 00:00", "01-01 00:00"),
        ("1969-12-31 23:59", "time_past"),
        ("0000-01-01 00:00", "time_past"),
        ("2025-06-01 00:10", "06-01 00:10"),
        ("2025-06-01 00:11", "time_future"),
        ("9999-12-31 23:59", "time_future"),
        ("1970-01-01T01:00+02:00", "time_past"),
        ("1969-12-31T23:00-02:00", "01-01 01:00"),
        ("2025-06-01T02:05+02:00", "06-01 00:05"),
        ("2025-06-01T02:05-02:00", "time_future"),
        ("", "time_missing"),
        ("  ", "time_missing"),
        ("yesterday", "time_malformed"),
    ],
)
def test_a_time_outside_what_may_be_is_rejected_with_its_code(time: str, outcome: str) -> None:
    assert codes_of_times(time) == [outcome]


def test_the_bounds_are_those_of_the_instant_and_not_of_the_wall_clock() -> None:
    assert codes_of_times("1970-01-01 00:30", "1970-01-01 01:00", tz="Europe/Berlin") == [
        "time_past",
        "01-01 00:00",
    ]
    assert codes_of_times("2025-06-01 02:10", "2025-06-01 02:11", tz="Europe/Berlin") == [
        "06-01 00:10",
        "time_future",
    ]


def test_the_passes_of_a_doubled_hour_are_counted_across_blocks() -> None:
    times = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    data = b"h\n" + b"".join(f"31.10.2021,{time},{n},,\n".encode() for n, time in enumerate(times))
    for block_readings in (2, 4, 100):
        blocks = parse(data, block_readings=block_readings)
        assert [sum(block.doubled[index] for block in blocks) for index in (0, 1)] == [2, 2]
        by_value = {value: time for _, _, time, value in readings(blocks)}
        assert [(by_value[n + 1] - by_value[n]) // 60_000_000 for n in range(5)] == [30] * 5


def test_a_rejected_row_does_not_disturb_the_order_in_the_doubled_hour() -> None:
    times = ["31.10.2021,02:30", "31.10.2021,broken", "31.10.2021,02:00", "x,02:15", "31.10.2021,02:30"]
    blocks = parse(b"h\n" + b"".join(f"{time},1,,\n".encode() for time in times))
    assert blocks[0].doubled == (1, 2)


def test_raw_text_is_kept_for_the_report_short_and_harmless() -> None:
    blocks = parse(b"h\n01.01.2024,00:00,\x1b[31mred,," + b"9" * 1000 + b"\n")
    texts = {problem.column: problem.text for problem in blocks[0].problems}
    assert texts["P [W]"] == "\\x1b[31mred"
    assert texts["E"] == "9" * 199 + "…"


def test_a_column_that_the_file_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(UnusableProfile, match=r"no column 'Zeit'; it has 'a', 'b'"):
        parse(b"a,b\n", columns=("a", "b", "Datum"))


def test_damage_at_the_end_of_a_gzip_file_comes_after_all_that_is_readable() -> None:
    rows = b"".join(b"01.01.2024,%02d:%02d,1,,2\n" % (i // 60 % 24, i % 60) for i in range(50_000))
    stored = gzip.compress(b"h\n" + rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.csv.gz"
        path.write_bytes(stored[:-2000])
        blocks = []
        with pytest.raises(UnreadableFile, match="cut off"):
            for block in parse_file(FileSource(path), PROFILE, COLUMNS, now=NOW, block_readings=1000):
                blocks.append(block)  # noqa: PERF402 - the loop is left by the error
    assert sum(block.rows_imported for block in blocks) > 10_000


def test_a_profile_comes_back_from_json() -> None:
    assert ImportProfile.from_json(PROFILE.as_json()) == PROFILE
