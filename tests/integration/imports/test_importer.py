"""Blocks of a file into a real TimescaleDB: exactly once, counted right, harmless to repeat."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.errors import DatabaseAway
from joulebook.telemetry.files.importer import store_blocks
from joulebook.telemetry.files.parsed import ParsedBlock
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.stored import find_stored
from joulebook.telemetry.writer import write_batch

NOW = 1_900_000_000_000_000
START = 1_700_000_000_000_000
COLUMNS = ("t", "P", "E")
PROFILE = ImportProfile(
    time_columns=("t",),
    time_formats=("%Y-%m-%d %H:%M",),
    values=(ValueColumn("P", "power", "W"), ValueColumn("E", "energy", "kWh")),
)
_numbers = itertools.count(1)


@pytest.fixture
def device_id() -> str:
    return f"import_{uuid.uuid4().hex[:12]}"


class Importer:
    """Imports texts for one device over one connection."""

    def __init__(self, conn: psycopg.Connection, device_id: str, folder: Path) -> None:
        self.conn = conn
        self.device_id = device_id
        self._path = folder / "readings.csv"

    def blocks(self, text: str, *, block_readings: int = 50_000) -> Iterator[ParsedBlock]:
        self._path.write_text(text)
        return parse_file(FileSource(self._path), PROFILE, COLUMNS, now=NOW, block_readings=block_readings)

    def run(
        self, text: str, *, import_id: int = 1, most_metrics: int = 500, block_readings: int = 50_000
    ) -> ImportReport:
        report = ImportReport(PROFILE.values, is_dry_run=False)
        store_blocks(
            self.conn, self.blocks(text, block_readings=block_readings), report, device_id=self.device_id,
            values=PROFILE.values, import_id=import_id, most_metrics=most_metrics,
        )  # fmt: skip
        assert (
            report.cells == report.stored + report.duplicate + report.conflict + report.na + report.malformed
        )
        return report

    def stored(self) -> dict[tuple[str, str], tuple[float, int]]:
        rows = self.conn.execute(
            "SELECT metric, to_char(time AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), value, import_id FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = %s",
            (self.device_id,),
        )
        return {(metric, time): (value, import_id) for metric, time, value, import_id in rows}  # type: ignore[misc]


@pytest.fixture
def importer(writer: psycopg.Connection, device_id: str, tmp_path: Path) -> Importer:
    return Importer(writer, device_id, tmp_path)


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.stored, report.duplicate, report.conflict, report.na, report.malformed


TEXT = "t,P,E\n2024-01-01 00:00,1,10\n2024-01-01 00:01,2.5,\n2024-01-01 00:02,x,30\n"


def test_every_readable_cell_becomes_a_reading_that_carries_its_import(importer: Importer) -> None:
    assert counts(importer.run(TEXT, import_id=7)) == (4, 0, 0, 1, 1)
    assert importer.stored() == {
        ("power", "01-01 00:00"): (1.0, 7),
        ("power", "01-01 00:01"): (2.5, 7),
        ("energy", "01-01 00:00"): (10.0, 7),
        ("energy", "01-01 00:02"): (30.0, 7),
    }


def test_a_second_import_stores_nothing_and_changes_nothing(importer: Importer) -> None:
    importer.run(TEXT, import_id=7)
    before = importer.stored()
    for block_readings in (2, 50_000):
        assert counts(importer.run(TEXT, import_id=8, block_readings=block_readings)) == (0, 4, 0, 1, 1)
    assert importer.stored() == before


def test_another_value_is_a_conflict_with_its_line_and_the_first_is_kept(importer: Importer) -> None:
    importer.run(TEXT, import_id=7)
    changed = TEXT.replace("2.5", "2.6").replace("00:02,x", "00:02,3")
    for block_readings in (2, 4, 50_000):
        report = importer.run(changed, import_id=8, block_readings=block_readings)
        assert (report.conflict, report.stored + report.duplicate, report.na) == (1, 4, 1)
        (problem,) = report.problems
        assert (problem.line, problem.column, problem.code, problem.text) == (3, "P", "conflict", "2.6")
    assert importer.stored()["power", "01-01 00:01"] == (2.5, 7)
    assert importer.stored()["power", "01-01 00:02"] == (3.0, 8)


def test_a_row_that_the_file_repeats_is_a_duplicate_and_one_that_it_changes_a_conflict(
    importer: Importer,
) -> None:
    text = TEXT + "2024-01-01 00:00,1,11\n"
    for block_readings in (2, 50_000):
        importer.device_id += "x"
        assert counts(importer.run(text, block_readings=block_readings)) == (4, 1, 1, 1, 1)


def test_a_column_without_a_value_makes_no_series(importer: Importer) -> None:
    importer.run("t,P,E\n2024-01-01 00:00,1,\n2024-01-01 00:01,2,?\n")
    rows = importer.conn.execute(
        "SELECT metric FROM series WHERE device_id = %s", (importer.device_id,)
    ).fetchall()
    assert rows == [("power",)]


def test_cells_beyond_the_cap_on_metrics_are_refused_by_name_and_the_rest_is_stored(
    importer: Importer,
) -> None:
    report = importer.run(TEXT, most_metrics=1)
    assert counts(report) == (2, 0, 0, 1, 3)
    assert {(p.line, p.column, p.code) for p in report.problems} == {
        (2, "E", "metric_limit"), (4, "E", "metric_limit"), (4, "P", "value_type"),
    }  # fmt: skip
    assert {metric for metric, _ in importer.stored()} == {"power"}


def test_a_lost_connection_keeps_what_was_committed_and_a_second_run_completes_it(
    importer: Importer, telemetry: dict[str, str]
) -> None:
    text = "t,P,E\n" + "".join(
        f"2024-01-{day:02d} {hour:02d}:00,{day},{hour}\n" for day in range(1, 29) for hour in range(24)
    )
    pid = importer.conn.info.backend_pid
    report = ImportReport(PROFILE.values, is_dry_run=False)

    def cut_the_connection() -> None:
        with psycopg.connect(telemetry["superuser"]) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    with pytest.raises(DatabaseAway):
        store_blocks(
            importer.conn, importer.blocks(text, block_readings=100), report, device_id=importer.device_id,
            values=PROFILE.values, import_id=1, most_metrics=500, after_block=cut_the_connection,
        )  # fmt: skip
    # The header stands in the first block of 50 lines.
    assert report.stored == 98
    with connect(telemetry["writer"]) as conn:
        importer.conn = conn
        assert len(importer.stored()) == 98
        report = importer.run(text, import_id=2)
        assert (report.stored, report.duplicate) == (2 * 28 * 24 - 98, 98)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.dictionaries(
        st.tuples(st.integers(0, 2), st.integers(0, 30)), st.sampled_from([1.0, 2.0]), max_size=60
    ),
    asked=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=60),
    most_rows=st.sampled_from([5, 1000]),
)
def test_what_is_stored_is_found_for_every_row_or_not_looked_for_at_all(
    writer: psycopg.Connection,
    before: dict[tuple[int, int], float],
    asked: list[tuple[int, int]],
    most_rows: int,
) -> None:
    device_id = f"stored_{next(_numbers)}_{uuid.uuid4().hex[:8]}"
    ids = ensure_series(writer, [(device_id, f"metric_{number}") for number in range(4)])
    series = [ids[device_id, f"metric_{number}"] for number in range(4)]

    def batch(rows: list[tuple[int, int]], values: list[float]) -> Batch:
        return Batch(
            np.array([series[number] for number, _ in rows], np.int32),
            np.array([START + time for _, time in rows], np.int64),
            np.array(values, np.float64),
        )

    write_batch(writer, batch(list(before), list(before.values())))
    stored = find_stored(writer, batch(asked, [0.0] * len(asked)), most_rows=most_rows)
    in_range = [
        key for key in before
        if asked and min(t for _, t in asked) <= key[1] <= max(t for _, t in asked) and key[0] in {s for s, _ in asked}
    ]  # fmt: skip
    if len(in_range) >= most_rows:
        assert stored is None
        return
    assert stored is not None
    assert stored.is_present.tolist() == [key in before for key in asked]
    assert [value for value in stored.value.tolist() if value == value] == [
        before[key] for key in asked if key in before
    ]
