"""Lines to cells: what polars splits and what csv reads give the same table, and damage keeps its line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.blocks import MAX_LINE_BYTES, Block, cut_blocks
from joulebook.telemetry.files.profile import BLANK_RUNS
from joulebook.telemetry.files.records import MAX_RECORD_LINES, RecordReader
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import Problem, Table

WIDTH = 3


def read(data: bytes, *, width: int = WIDTH, delimiter: str = ",", max_lines: int = 1000) -> Table:
    """Return all rows of `data` as one table, read in blocks of `max_lines`."""
    reader = RecordReader(Splitter(delimiter), width=width)
    tables = [reader.read(block) for block in cut_blocks([data], max_lines=max_lines)]
    rows = [row for table in tables for row in table.cells.rows()]
    lines = [int(line) for table in tables for line in table.line]
    rejected = [problem for table in tables for problem in table.rejected]
    return Table(rows, lines, rejected, sum(table.blank_lines for table in tables))  # type: ignore[arg-type]


def codes(table: Table) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in table.rejected]


cell = st.text(st.sampled_from('a1.,;"\n é'), max_size=4)
rows = st.lists(st.lists(cell, min_size=1, max_size=WIDTH), max_size=12)


def written(table: list[list[str]], *, delimiter: str, line_end: str, always_quoted: bool) -> bytes:
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if always_quoted else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(table)
    return out.getvalue().encode()


@settings(deadline=None)
@given(rows, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.integers(1, 9))
def test_rows_and_their_lines_are_those_of_the_csv_module_wherever_blocks_end(
    table: list[list[str]], delimiter: str, line_end: str, always_quoted: bool, max_lines: int
) -> None:
    data = written(table, delimiter=delimiter, line_end=line_end, always_quoted=always_quoted)
    expected, line, blank = [], 1, 0
    reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True)
    for cells in reader:
        raw = data.split(b"\n")[line - 1 : reader.line_num]
        if b"\n".join(raw).strip(b" \t\r\n"):
            text = tuple(value.replace("\r\n", "\n") for value in cells)
            expected.append((line, text + ("",) * (WIDTH - len(cells))))
        else:
            blank += 1
        line = reader.line_num + 1
    got = read(data, delimiter=delimiter, max_lines=max_lines)
    assert list(zip(got.line, got.cells, strict=True)) == expected  # type: ignore[arg-type]
    assert (got.rejected, got.blank_lines) == ([], blank)


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"a,b,c\n", b'"a",b,"c"\n', b'5" x,,\n', b"\n", b"1,2,3,4\n", b'"x"y,1,2\n', b'"op\n',
                                 b"\xff,1,2\n", b"n\0l,1,2\n", b" \t\r\n", b"1,2\r\n", b'"q""q",1,\n']), max_size=30),
       st.integers(1, 7))  # fmt: skip
def test_damage_in_a_line_leaves_its_neighbours_alone(lines: list[bytes], max_lines: int) -> None:
    """Each of these lines means the same wherever it stands, but for an open quote and what it swallows."""
    alone = {line: read(line + b"x,y,z\n") for line in set(lines) if line != b'"op\n'}
    expected_rows, expected_codes, blank = [], [], 0
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line == b'"op\n':
            # The next quote decides: none that closes the cell before a delimiter follows in these lines.
            expected_codes.append((number, "unsplittable"))
            continue
        table = alone[line]
        expected_rows += [(number, row) for row in table.cells[:-1]]  # type: ignore[index]
        expected_codes += [(number, problem.code) for problem in table.rejected]
        blank += table.blank_lines
    got = read(b"".join(lines), max_lines=max_lines)
    if any(line == b'"op\n' for line in lines) and any(b'"' in line and line != b'"op\n' for line in lines):
        # A quote further down may close the open cell: at least every line is accounted for once.
        assert len(got.line) + len(got.rejected) + got.blank_lines <= len(lines)
        assert {line for line, code in codes(got)} <= set(range(1, len(lines) + 1))
        return
    assert list(zip(got.line, got.cells, strict=True)) == expected_rows  # type: ignore[arg-type]
    assert codes(got) == expected_codes
    assert got.blank_lines == blank


def test_cells_that_a_row_lacks_are_empty_and_further_empty_ones_are_dropped() -> None:
    got = read(b"a\nb,c\nd,e,f,, ,\n")
    assert got.cells == [("a", "", ""), ("b", "c", ""), ("d", "e", "f")]


def test_a_cell_too_many_is_refused_because_the_others_may_have_moved() -> None:
    got = read(b"1,5,2,5\n1,2,3\n")
    assert codes(got) == [(1, "too_many_cells")]
    assert got.cells == [("1", "2", "3")]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["1,2,3", "1;2;3", '"a",2,"b""c"', '"open,2', "1,2", "", "  ", "1,2,3,4", "1,2,3,,", 'x"y,2', "\0,1", "é,1",
             '="0012",2', '"two', 'lines",5', "# note, a", "\xff,1", "1 2  3", "x" * 300]
        ),
        max_size=20,
    ),
    st.sampled_from([Splitter(","), Splitter(";"), Splitter.from_words("", pattern=BLANK_RUNS), Splitter.from_words("", widths=[1, 2, 3])]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.integers(1, 9),
)  # fmt: skip
def test_the_fast_way_and_the_careful_way_give_the_same_table(
    lines: list[str], splitter: Splitter, line_end: str, is_ended: bool, max_lines: int
) -> None:
    data = line_end.join(lines).encode("latin-1" if "\xff,1" in lines else "utf-8") + (
        line_end.encode() if is_ended else b""
    )
    tables = []
    for carefully in (False, True):
        reader = RecordReader(splitter, width=WIDTH, skip_prefixes=("#",), always_carefully=carefully)
        found = [reader.read(block) for block in cut_blocks([data], max_lines=max_lines)]
        tables.append(
            [
                [row for table in found for row in table.cells.rows()],
                [int(line) for table in found for line in table.line],
                [problem for table in found for problem in table.rejected],
                [sum(table.blank_lines for table in found), sum(table.skipped_lines for table in found)],
            ]
        )
    assert tables[0] == tables[1]


def test_a_quote_within_a_cell_is_text() -> None:
    assert read(b'5" pipe,="0012",x"y"\n').cells == [('5" pipe', "0012", 'x"y"')]


def test_a_quoted_cell_may_hold_delimiters_quotes_and_line_ends() -> None:
    got = read(b'a,"b,""1""\r\n\r\nc",d\r\n1,2,3\r\n')
    assert got.cells == [("a", 'b,"1"\n\nc', "d"), ("1", "2", "3")]
    assert got.line == [1, 4]


def test_a_quote_that_never_closes_costs_its_own_line_only() -> None:
    data = b'"open,1,2\n' + b"1,2,3\n" * (3 * MAX_RECORD_LINES)
    for max_lines in (1, 50, 1000):
        got = read(data, max_lines=max_lines)
        assert codes(got) == [(1, "unsplittable")]
        assert len(got.cells) == 3 * MAX_RECORD_LINES
    assert codes(read(b'1,2,3\n"open,1,2')) == [(2, "unsplittable")]


def test_a_quote_left_open_does_not_swallow_the_quoted_rows_below() -> None:
    got = read(b'"a,1,2\n"2024-01-01",1,2\n"2024-01-02",3,4\n')
    assert codes(got) == [(1, "unsplittable")]
    assert got.line == [2, 3]


def test_a_last_line_that_was_cut_off_is_refused_and_a_whole_one_is_not() -> None:
    assert codes(read(b"1,2,3\n1,2")) == [(2, "line_cut_off")]
    assert read(b"1,2,3\n4,5,6").cells == [("1", "2", "3"), ("4", "5", "6")]
    assert read(b"1,2,3\n  ").blank_lines == 1


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"caf\xe9,1,2", "encoding", "caf\\xe9,1,2"),
        (b"a\0b,1,2", "nul_byte", "a\\x00b,1,2"),
        (b"x" * (MAX_LINE_BYTES + 1), "line_too_long", "x" * 199 + "…"),
        (b'"a"b,1,2', "unsplittable", '"a"b,1,2'),
    ],
)
def test_each_kind_of_damage_has_its_code_line_and_raw_text(line: bytes, code: str, text: str) -> None:
    got = read(b"1,2,3\n" + line + b"\n4,5,6\n")
    assert got.rejected == [Problem(2, None, code, text)]
    assert got.line == [1, 3]


def test_a_delimiter_that_is_blank_or_tab_leaves_leading_empty_cells() -> None:
    assert read(b"\ta\tb\n", delimiter="\t").cells == [("", "a", "b")]
    assert read(b" a b\n", delimiter=" ").cells == [("", "a", "b")]


def test_a_block_that_ends_within_a_record_holds_it_for_the_next() -> None:
    reader = RecordReader(Splitter(","), width=2)
    first = reader.read(Block(b'1,2\n"a\n', 1))
    assert (first.cells.rows(), first.line.tolist()) == ([("1", "2")], [1])
    second = reader.read(Block(b'b",3\n4,5\n', 3, is_last=True))
    assert (second.cells.rows(), second.line.tolist()) == ([("a\nb", "3"), ("4", "5")], [2, 4])
