"""The report adds up, whatever the blocks held."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.report import ImportReport, count_blocks
from joulebook.telemetry.files.table import MOST_PROBLEMS, CellCounts, ParsedBlock, Problem

VALUES = (ValueColumn("P", "power", "W"), ValueColumn("E", "energy"))


def block(kinds: list[tuple[str, str]], *, rejected: int = 0, first_line: int = 2) -> ParsedBlock:
    """Return a block of rows, each with what its two cells are: a number, "na" or "bad"."""
    where = [
        (column, row) for column in (0, 1) for row, cells in enumerate(kinds) if cells[column] == "number"
    ]
    counts = [
        CellCounts(
            sum(cells[column] == "number" for cells in kinds),
            Counter({"?": sum(cells[column] == "na" for cells in kinds)}),
            Counter({"value_type": sum(cells[column] == "bad" for cells in kinds)}),
        )
        for column in (0, 1)
    ]
    bad = [
        Problem(first_line + row, VALUES[column].column, "value_type", "x")
        for row, cells in enumerate(kinds)
        for column in (0, 1)
        if cells[column] == "bad"
    ]
    return ParsedBlock(
        column=np.array([column for column, _ in where], np.int32),
        time=np.array([row * 1_000_000 for _, row in where], np.int64),
        value=np.array([float(row) for _, row in where]),
        line=np.array([first_line + row for _, row in where], np.int64),
        rows_imported=len(kinds),
        rows_rejected=Counter({"time_malformed": rejected}) if rejected else Counter(),
        blank_lines=1,
        doubled=(0, 0),
        cells=counts,
        problems=bad,
    )


cell = st.sampled_from(["number", "na", "bad"])
blocks = st.lists(st.tuples(st.lists(st.tuples(cell, cell), max_size=8), st.integers(0, 3)), max_size=5)


@settings(deadline=None)
@given(blocks, st.data())
def test_rows_and_cells_add_up(parts: list[tuple[list[tuple[str, str]], int]], data: st.DataObject) -> None:
    report = ImportReport(VALUES, is_dry_run=False)
    for kinds, rejected in parts:
        part = block(kinds, rejected=rejected)
        fate = np.array(
            data.draw(st.lists(st.integers(0, 6), min_size=len(part.time), max_size=len(part.time))), int
        )
        if data.draw(st.booleans()):
            # As a run does that goes on for another one.
            state = json.loads(json.dumps(report.state()))
            report = ImportReport.from_state(state, problems=report.problems)
        report.add_block(part)
        report.add_outcomes(
            part, stored=fate == 0, replaced=fate == 5, duplicate=fate == 1, conflict=fate == 2,
            not_kept=fate == 3, holds_text=fate == 6,
        )  # fmt: skip
    assert report.rows_read == report.rows_imported + report.rows_rejected.total()
    assert report.rows_read == sum(len(kinds) + rejected for kinds, rejected in parts)
    assert report.cells == 2 * report.rows_imported
    fates = report.stored + report.replaced + report.duplicate + report.conflict
    assert report.cells == fates + report.na + report.malformed
    listed = Counter(problem.code for problem in report.problems)
    assert listed["conflict"] == report.conflict
    refused = ("metric_limit", "time_past", "holds_text", "value_type")
    assert sum(listed[code] for code in refused) == report.malformed
    assert report.problem_count == report.rows_rejected.total() + report.malformed + report.conflict


@settings(deadline=None)
@given(blocks)
def test_a_dry_run_adds_up_without_the_database(parts: list[tuple[list[tuple[str, str]], int]]) -> None:
    report = ImportReport(VALUES, is_dry_run=True)
    calls: list[int] = []
    count_blocks(
        (block(kinds, rejected=rejected) for kinds, rejected in parts),
        report,
        after_block=lambda: calls.append(1),
    )
    assert report.cells == report.readable + report.na + report.malformed
    assert "stored" not in report.as_json()["cells"]
    assert len(calls) == len(parts)


def test_problems_beyond_the_list_are_counted() -> None:
    report = ImportReport(VALUES, is_dry_run=True)
    for part in range(4):
        report.add_block(block([("bad", "number")] * 400, first_line=2 + 400 * part))
    assert len(report.problems) == MOST_PROBLEMS
    assert report.problem_count == 1600
    assert [problem.line for problem in report.problems] == list(range(2, 2 + MOST_PROBLEMS))


def test_what_was_counted_since_a_state_is_taken_back_with_its_problems() -> None:
    report = ImportReport(VALUES, is_dry_run=True)
    report.add_block(block([("bad", "number")], rejected=2))
    state, before = report.state(), report.as_json()
    report.add_block(block([("na", "number"), ("bad", "bad")], rejected=1, first_line=9))
    assert report.as_json() != before
    report.restore(state)
    assert report.as_json() == before


def test_the_json_form_has_the_figures_and_times_in_utc() -> None:
    report = ImportReport(VALUES, is_dry_run=False)
    part = block([("number", "na"), ("number", "bad")], rejected=1)
    report.add_block(part)
    report.add_outcomes(
        part,
        stored=np.array([True, False]),
        replaced=np.array([False, False]),
        duplicate=np.array([False, False]),
        conflict=np.array([False, True]),
        not_kept=np.array([False, False]),
        holds_text=np.array([False, False]),
    )
    got = report.as_json()
    assert got["rows"] == {"read": 3, "imported": 2, "rejected": 1, "rejected_by_code": {"time_malformed": 1}}
    assert got["cells"] == {
        "all": 4, "stored": 1, "replaced": 0, "duplicate": 0, "conflict": 1, "na": 1, "malformed": 1,
    }  # fmt: skip
    assert (got["first_time"], got["last_time"]) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z")
    assert got["columns"][0] == {
        "column": "P", "metric": "power", "unit": "W", "kind": "gauge", "stored": 1, "replaced": 0, "duplicate": 0, "conflict": 1, "repeated": 0,
        "na": 0, "na_by_text": {}, "malformed": 0,
    }  # fmt: skip
    assert {"line": 3, "column": "P", "code": "conflict", "text": "1.0"} in got["problems"]
