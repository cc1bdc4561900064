"""Real loggers' files: what is guessed and parsed equals figures computed independently beside each file."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulebook.telemetry.files.errors import UnclearFile
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout, guess_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import Given, Target
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.wide import ParsedBlock

DATA = Path(__file__).parents[4] / "shared" / "data"
NOW = 1_900_000_000_000_000

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not here: {DATA}")

DAY_FIRST = Given(tz="UTC", time_formats=("%d/%m/%Y %H:%M:%S%z", "%d/%m/%Y %H:%M"))
HOBO = Given(tz="UTC", time_formats=("%y.%m.%d %H:%M:%S",))
PROMICE_TEXT = ("TimeGPS", "Latitude", "Longitude", "GeoUnit")
PLAIN = Given(tz="UTC")

FILES: dict[str, Given] = {
    "campbell/brightwind_campbell_scientific_demo_data1.csv": DAY_FIRST,
    "campbell/brightwind_demo_data2.csv": DAY_FIRST,
    "campbell/brightwind_demo_data4.csv": DAY_FIRST,
    "campbell/gcnet_CR1000X_DataTable10min.dat": PLAIN,
    "campbell/promice_CR1000_SlimTableMem.dat": Given(
        tz="UTC", mapping={name: Target(name) for name in PROMICE_TEXT}
    ),
    "grid/lastgang_2021_loadprofile_3.csv": PLAIN,
    "grid/smard_tag_2017-2024.csv": PLAIN,
    "inverter/danfoss_weblogger_summary_2019-07_10.txt": PLAIN,
    "inverter/shelly_em3_phaseB.csv": PLAIN,
    "logger/hobo_20024354_comma_gmt+2.csv": HOBO,
    "logger/hobo_20024354_semicolon_gmt+2.txt": HOBO,
    "logger/hobo_20024354_tab_gmt+2.txt": HOBO,
    "logger/tomst_tms_94184102_nohdr.csv": PLAIN,
    "sma/sunnyexplorer_daily_20220531_utf16.csv": PLAIN,
    "sma/tripower6_webui_daily.csv": PLAIN,
    "smartmeter/dsmrreader_hour.csv": PLAIN,
    "smartmeter/enedis_index_quotidien.csv": PLAIN,
    "smartmeter/engie_verbruiken.csv": PLAIN,
    "smartmeter/fluvius_nl_kwartier.csv": PLAIN,
    "smartmeter/homewizard_15min_elec.csv": PLAIN,
    "smartmeter/homewizard_15min_gas.csv": PLAIN,
    "smartmeter/liander_bijlage_padded.csv": PLAIN,
    "smartmeter/pge_greenbutton_hourly.csv": PLAIN,
    "uci/household_power_consumption_first12k.txt": PLAIN,
    "weather/midc_20181014_mst.csv": PLAIN,
    "weather/tmy3_703165_hour24.csv": Given(tz="UTC", na_values=("-9900", "?")),
}
NOT_READ_YET = {
    # A unit before each number ("$0.30"), and readings that are no numbers without taking it off.
    "smartmeter/pge_greenbutton_hourly.csv": {"COST"},
}


def truth_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"{name}.truth.json").read_text())
    return found


def read(name: str, given: Given) -> tuple[FileLayout, list[ParsedBlock]]:
    source = FileSource(DATA / name)
    head = source.head(HEAD_BYTES)
    layout = guess_layout(head, is_whole=len(head) < HEAD_BYTES, given=given, device_tz="UTC")
    return layout, list(parse_file(source, layout.profile, layout.columns, now=NOW))


@pytest.mark.parametrize("name", FILES)
def test_the_figures_of_each_column_equal_the_truth(name: str) -> None:
    truth = truth_of(name)
    layout, blocks = read(name, FILES[name])
    # Where a file has no header the truth has names of its own, in the order of the columns.
    named = (
        dict(zip(layout.columns, truth["columns_named"], strict=False))
        if layout.profile.header_line is None
        else {}
    )
    checked = set()
    for position, value in enumerate(layout.profile.values):
        column = named.get(value.column, value.column)
        if column not in truth["values"]:
            continue
        expected = truth["values"][column]
        numbers = np.concatenate([block.value[block.column == position] for block in blocks])
        found = {
            "valid": len(numbers),
            "na": sum(block.cells[position].na.total() for block in blocks),
            "malformed": sum(block.cells[position].malformed.total() for block in blocks),
            "sum": math.fsum(numbers.tolist()),
            "min": float(numbers.min()) if len(numbers) else None,
            "max": float(numbers.max()) if len(numbers) else None,
        }
        assert found == {key: expected[key] for key in found}, column
        checked.add(column)
    assert set(truth["values"]) - checked == NOT_READ_YET.get(name, set())


@pytest.mark.parametrize("name", FILES)
def test_rows_lines_and_times_equal_the_truth(name: str) -> None:
    truth = truth_of(name)
    _, blocks = read(name, FILES[name])
    assert sum(block.rows_imported for block in blocks) == truth["data_rows"]
    rejected = [problem.line for block in blocks for problem in block.problems if problem.column is None]
    assert rejected == truth["skipped_first_lines"]
    assert sum(block.blank_lines for block in blocks) == truth["blank_lines_in_data"]
    malformed = {
        column: sorted(p.line for block in blocks for p in block.problems if p.column == column)[:3]
        for column, figures in truth["values"].items()
        if figures["malformed"]
    }
    assert malformed == {
        column: figures["malformed_first_lines"][:3]
        for column, figures in truth["values"].items()
        if figures["malformed"]
    }
    if truth["data_rows"] == truth["data_rows_with_at_least_one_valid_number"]:
        times = np.concatenate([block.time for block in blocks])
        assert len(np.unique(times)) == truth["timestamps"]["distinct"]


@pytest.mark.parametrize(
    "name",
    [
        "campbell/brightwind_demo_data2.csv",
        "campbell/brightwind_demo_data4.csv",
        "logger/hobo_20024354_tab_gmt+2.txt",
    ],
)
def test_an_order_of_day_and_month_that_the_file_leaves_open_is_asked_for(name: str) -> None:
    with pytest.raises(UnclearFile, match="say which with --time-format"):
        read(name, PLAIN)


def test_equivalent_files_of_one_logger_give_the_same_readings() -> None:
    names = [
        f"logger/hobo_20024354_{kind}_gmt+2.{end}"
        for kind, end in (("comma", "csv"), ("semicolon", "txt"), ("tab", "txt"))
    ]
    columns = []
    for name in names:
        _, blocks = read(name, HOBO)
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
    _, blocks = read("smartmeter/dsmrreader_hour.csv", PLAIN)
    times = np.unique(np.concatenate([block.time for block in blocks]))
    assert len(times) == 8754


def test_the_hours_of_the_typical_year_end_with_24_00() -> None:
    _, blocks = read("weather/tmy3_703165_hour24.csv", PLAIN)
    first = blocks[0]
    at_line = {int(line): int(time) for line, time in zip(first.line, first.time, strict=True)}
    assert at_line[27] - at_line[26] == 3600 * 1_000_000
