"""Real loggers' files: what is guessed and parsed equals figures computed independently beside each file."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulebook.telemetry.files.errors import UnclearFile
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout, guess_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given, Target
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import ParsedBlock

from .settled import settled_layout

DATA = Path(__file__).parents[4] / "shared" / "data"
NOW = 1_900_000_000_000_000

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not here: {DATA}")

PLAIN = Given(tz="UTC")

# What each file is read with: the guess alone, or the answer (by its label) to the one question that it asks.
ANSWERS: dict[str, str] = {
    "big/dtu_solar_station_2015-2017_1min.csv.gz": "",
    "campbell/brightwind_campbell_scientific_demo_data1.csv": "",
    "campbell/brightwind_demo_data2.csv": "",
    "campbell/brightwind_demo_data4.csv": "",
    "campbell/gcnet_CR1000X_DataTable10min.dat": "",
    "campbell/promice_CR1000_SlimTableMem.dat": "a reading like any other",
    "grid/lastgang_2021_loadprofile_3.csv": "",
    "grid/smard_tag_2017-2024.csv": "",
    "inverter/danfoss_weblogger_summary_2019-07_10.txt": "",
    "inverter/shelly_em3_phaseB.csv": "",
    "logger/hobo_20024354_comma_gmt+2.csv": "",
    "logger/hobo_20024354_semicolon_gmt+2.txt": "",
    "logger/hobo_20024354_tab_gmt+2.txt": "",
    "logger/tomst_tms_94184102_nohdr.csv": "",
    "sma/sunnyexplorer_daily_20220531_utf16.csv": "",
    "sma/tripower6_webui_daily.csv": "",
    "smartmeter/dsmrreader_hour.csv": "",
    "smartmeter/enedis_index_quotidien.csv": "",
    "smartmeter/engie_verbruiken.csv": "",
    "smartmeter/fluvius_nl_kwartier.csv": "",
    "smartmeter/homewizard_15min_elec.csv": "",
    "smartmeter/homewizard_15min_gas.csv": "",
    "smartmeter/liander_bijlage_padded.csv": "",
    "smartmeter/pge_greenbutton_hourly.csv": "",
    "uci/household_power_consumption_first12k.txt": "",
    "weather/midc_20181014_mst.csv": "",
    "weather/surfrad_slv16001.dat": "missing: -9999.9",
    "weather/tmy3_703165_hour24.csv": "missing: -9900",
}
BIG = "big/dtu_solar_station_2015-2017_1min.csv.gz"
FILES = [name for name in ANSWERS if name != BIG]


def truth_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name.removesuffix('.gz')}.truth.json").read_text())
    return found


def read(name: str, given: Given = PLAIN) -> tuple[FileLayout, list[ParsedBlock]]:
    """Read a file by its guess, with the answer to its one question where it has one."""
    source = FileSource(DATA / name)
    head = source.head(HEAD_BYTES)

    def guess(given: Given) -> FileLayout:
        return guess_layout(head, is_whole=len(head) < HEAD_BYTES, given=given, device_tz="UTC")

    layout = guess(given)
    if label := ANSWERS[name]:
        (answer,) = (a for q in layout.questions for a in q.answers if a.label.startswith(label))
        given = answer.applied_to(given)
        layout = guess(given)
    # Numbers that measure nothing are left out by default, and figures like any other once they are taken.
    reasons = ("counts the rows", "an identifier", "no measured quantity")
    left_out = [each for each in layout.settings if each.name == "left out"]
    taken = [each.value for each in left_out if any(reason in each.reason for reason in reasons)]
    if taken:
        layout = guess(replace(given, mapping={column: Target(column) for column in taken}))
    assert not [question for question in layout.questions if question.is_required]
    return layout, list(parse_file(source, layout.profile, layout.columns, now=NOW))


def figures(blocks: list[ParsedBlock], positions: list[int]) -> dict[str, Any]:
    """Return what the blocks hold of some entries of the values, counted and summed."""
    numbers = np.concatenate([block.value[np.isin(block.column, positions)] for block in blocks])
    cells = [block.cells[at] for block in blocks for at in positions if at < len(block.cells)]
    return {
        "valid": len(numbers),
        "na": sum(cell.na.total() for cell in cells),
        "malformed": sum(cell.malformed.total() for cell in cells),
        "sum": math.fsum(numbers.tolist()),
        "min": float(numbers.min()) if len(numbers) else None,
        "max": float(numbers.max()) if len(numbers) else None,
    }


def test_no_file_is_left_out() -> None:
    there = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()}
    # Small made-up inputs come without a truth file, for what only a question can settle.
    there = {name for name in there if not name.startswith("minimal/")}
    assert {name for name in there if not name.endswith((".json", ".md"))} == set(ANSWERS)


@pytest.mark.parametrize("name", [*FILES, pytest.param(BIG, marks=pytest.mark.slow)])
def test_the_figures_of_each_column_equal_the_truth(name: str) -> None:
    truth = truth_of(name)
    layout, blocks = read(name)
    # Where a file has no header the truth has names of its own, in the order of the columns.
    named = dict(
        zip(layout.columns, truth.get("columns_named", truth["config"].get("names", ())), strict=False)
    )
    values = layout.profile.values
    by_column: dict[str, list[int]] = {}
    for at, value in enumerate(values):
        column = named[value.column] if layout.profile.header_line is None else value.column
        by_column.setdefault(column, []).append(at)
    left_out = [setting.value for setting in layout.settings if setting.name == "left out"]
    for column, expected in truth["values"].items():
        if not expected["valid"] and expected["malformed"] and column in left_out:
            continue  # A column of text, and no reading in it.
        found = figures(blocks, by_column[column])
        assert found == {key: expected[key] for key in found}, column
    for key, columns in truth.get("per_key", {}).items():
        for column, expected in columns.items():
            found = figures(blocks, [at for at in by_column[column] if values[at].key == (key,)])
            assert found == {key: expected[key] for key in found}, key


@pytest.mark.parametrize("name", FILES)
def test_rows_lines_and_times_equal_the_truth(name: str) -> None:
    truth = truth_of(name)
    _, blocks = read(name)
    assert sum(block.rows_imported for block in blocks) == truth["data_rows"]
    rejected = [problem.line for block in blocks for problem in block.problems if problem.column is None]
    assert rejected == truth["skipped_first_lines"]
    assert sum(block.blank_lines for block in blocks) == truth["blank_lines_in_data"]
    malformed = {
        column: sorted(p.line for block in blocks for p in block.problems if p.column == column)[:3]
        for column, figures in truth["values"].items()
        if figures["valid"] and figures["malformed"]
    }
    assert malformed == {
        column: figures["malformed_first_lines"][:3]
        for column, figures in truth["values"].items()
        if figures["valid"] and figures["malformed"]
    }
    if truth["data_rows"] == truth["data_rows_with_at_least_one_valid_number"]:
        times = np.concatenate([block.time for block in blocks])
        assert len(np.unique(times)) == truth["timestamps"]["distinct"]


@pytest.mark.parametrize("name", [name for name in FILES if ANSWERS[name]])
def test_what_a_file_leaves_open_is_asked_once_and_nothing_is_stored_before(name: str) -> None:
    head = (DATA / name).read_bytes()
    with pytest.raises(UnclearFile, match=r"say (which|so) with \w"):
        settled_layout(head, is_whole=True, given=PLAIN, device_tz="UTC")
    layout = guess_layout(head, is_whole=True, given=PLAIN, device_tz="UTC")
    assert len([question for question in layout.questions if question.is_required]) == 1


def test_equivalent_files_of_one_logger_give_the_same_readings() -> None:
    names = [
        f"logger/hobo_20024354_{kind}_gmt+2.{end}"
        for kind, end in (("comma", "csv"), ("semicolon", "txt"), ("tab", "txt"))
    ]
    columns = []
    for name in names:
        _, blocks = read(name)
        columns.append(
            [np.concatenate([getattr(b, field) for b in blocks]) for field in ("line", "time", "value")]
        )
    for other in columns[1:]:
        for one, another in zip(columns[0], other, strict=True):
            assert (one == another).all()


def test_a_year_in_local_time_has_every_quarter_hour_once() -> None:
    """Both passes of the doubled hour are there, and the hour that spring drops is not."""
    _, blocks = read("grid/lastgang_2021_loadprofile_3.csv", Given(tz="Europe/Berlin"))
    times = np.concatenate([block.time for block in blocks])
    assert len(times) == 35_040
    assert (np.diff(times) == 15 * 60 * 1_000_000).all()
    assert np.sum([block.doubled for block in blocks], axis=0).tolist() == [4, 4]


def test_a_row_in_the_hour_that_spring_drops_is_rejected_with_its_line() -> None:
    _, blocks = read("smartmeter/pge_greenbutton_hourly.csv", Given(tz="America/Los_Angeles"))
    problems = [(p.line, p.code, p.text) for block in blocks for p in block.problems]
    assert problems == [(1978, "time_nonexistent", "2024-03-10 02:00")]
    assert sum((block.rows_rejected for block in blocks), Counter()) == {"time_nonexistent": 1}


def test_offsets_in_the_text_part_the_doubled_hour() -> None:
    _, blocks = read("smartmeter/dsmrreader_hour.csv")
    times = np.unique(np.concatenate([block.time for block in blocks]))
    assert len(times) == 8754


def test_the_hours_of_the_typical_year_end_with_24_00() -> None:
    _, blocks = read("weather/tmy3_703165_hour24.csv")
    first = blocks[0]
    at_line = {int(line): int(time) for line, time in zip(first.line, first.time, strict=True)}
    assert at_line[27] - at_line[26] == 3600 * 1_000_000
