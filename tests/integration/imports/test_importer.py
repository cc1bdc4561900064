"""Blocks of a file into a real TimescaleDB: exactly once, counted right, harmless to repeat."""

from __future__ import annotations

import itertools
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.kinds.settings import TEXTS
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import find_stored, write_batch

NOW = 1_900_000_000_000_000
START = 1_700_000_000_000_000
COLUMNS = ("t", "P", "E")
PROFILE = ImportProfile(
    time_columns=("t",),
    time_formats=("%Y-%m-%d %H:%M",),
    values=(ValueColumn("P", "power", "W"), ValueColumn("E", "energy", "kWh")),
)
_numbers = itertools.count(1_000_001)


@pytest.fixture
def device_id() -> str:
    return f"import_{uuid.uuid4().hex[:12]}"


class Importer:
    """Imports texts for one device over one connection."""

    def __init__(self, conn: psycopg.Connection, device_id: str, folder: Path) -> None:
        self.conn = conn
        self.device_id = device_id
        self._path = folder / "readings.csv"

    def begin(
        self,
        text: str,
        *,
        import_id: int,
        most_metrics: int = 500,
        block_readings: int = 50_000,
        lease: int = 1,
        on_conflict: Literal["keep", "replace"] = "keep",
    ) -> ImportRun:
        self._path.write_text(text)
        return ImportRun(
            self.conn, FileSource(self._path), PROFILE, COLUMNS, import_id=import_id, lease=lease,
            device_id=self.device_id, most_metrics=most_metrics, on_conflict=on_conflict, now=NOW,
            block_readings=block_readings,
        )  # fmt: skip

    def run(self, text: str, **options: Any) -> ImportReport:
        with closing(self.begin(text, **{"import_id": next(_numbers), **options})) as run:
            while run.step():
                pass
        return adding_up(run.report)

    def stored(self) -> dict[tuple[str, str], tuple[float, int]]:
        rows = self.conn.execute(
            "SELECT metric, to_char(time AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), value, import_id FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = %s",
            (self.device_id,),
        )
        return {(metric, time): (value, import_id) for metric, time, value, import_id in rows}  # type: ignore[misc]


def adding_up(report: ImportReport) -> ImportReport:
    fates = report.stored + report.replaced + report.duplicate + report.conflict
    assert report.cells == fates + report.na + report.malformed
    assert report.rows_read == report.rows_imported + report.rows_rejected.total()
    return report


@pytest.fixture
def importer(writer: psycopg.Connection, device_id: str, tmp_path: Path) -> Importer:
    return Importer(writer, device_id, tmp_path)


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.stored, report.duplicate, report.conflict, report.na, report.malformed


TEXT = "t,P,E\n2024-01-01 00:00,1,10\n2024-01-01 00:01,2.5,\n2024-01-01 00:02,x,30\n"


def test_a_number_for_a_metric_of_text_is_refused_cell_by_cell(importer: Importer) -> None:
    key = (importer.device_id, PROFILE.values[0].metric)
    ensure_series(importer.conn, [key], forms={key: TEXTS})
    report = importer.run(TEXT)
    assert report.columns[0].malformed["holds_text"] == 2
    assert report.columns[1].stored == 2
    assert {metric for metric, _ in importer.stored()} == {PROFILE.values[1].metric}


def test_every_readable_cell_becomes_a_reading_that_carries_its_import(importer: Importer) -> None:
    number = next(_numbers)
    assert counts(importer.run(TEXT, import_id=number)) == (4, 0, 0, 1, 1)
    assert importer.stored() == {
        ("power", "01-01 00:00"): (1.0, number),
        ("power", "01-01 00:01"): (2.5, number),
        ("energy", "01-01 00:00"): (10.0, number),
        ("energy", "01-01 00:02"): (30.0, number),
    }


def test_a_second_import_stores_nothing_and_changes_nothing(importer: Importer) -> None:
    importer.run(TEXT)
    before = importer.stored()
    for block_readings in (2, 50_000):
        for on_conflict in ("keep", "replace"):
            again = importer.run(TEXT, block_readings=block_readings, on_conflict=on_conflict)
            assert counts(again) == (0, 4, 0, 1, 1)
    assert importer.stored() == before


def test_another_value_is_a_conflict_with_its_line_and_the_first_is_kept(importer: Importer) -> None:
    first, second = next(_numbers), next(_numbers)
    importer.run(TEXT, import_id=first)
    changed = TEXT.replace("2.5", "2.6").replace("00:02,x", "00:02,3")
    for number, block_readings in ((second, 2), (next(_numbers), 4), (next(_numbers), 50_000)):
        report = importer.run(changed, import_id=number, block_readings=block_readings)
        assert (report.conflict, report.stored + report.duplicate, report.na) == (1, 4, 1)
        (problem,) = report.problems
        assert (problem.line, problem.column, problem.code, problem.text) == (3, "P", "conflict", "2.6")
        assert list(read_problems(importer.conn, number)) == [problem]
    assert importer.stored()["power", "01-01 00:01"] == (2.5, first)
    assert importer.stored()["power", "01-01 00:02"] == (3.0, second)


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


def test_a_lost_connection_keeps_what_was_committed_and_the_next_run_goes_on_there(
    importer: Importer, telemetry: dict[str, str]
) -> None:
    text = "t,P,E\n" + "".join(
        f"2024-01-{day:02d} {hour:02d}:00,{day},{hour}\n" for day in range(1, 29) for hour in range(24)
    )
    pid = importer.conn.info.backend_pid
    number = next(_numbers)
    with closing(importer.begin(text, import_id=number, block_readings=100)) as run:
        assert run.step()
        with psycopg.connect(telemetry["superuser"]) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        with pytest.raises(DatabaseUnavailable):
            run.step()
    # The header stands in the first block of 50 lines.
    assert run.report.stored == 98
    with connect(telemetry["writer"]) as conn:
        importer.conn = conn
        assert len(importer.stored()) == 98
        report = importer.run(text, import_id=number, block_readings=100)
        assert (report.stored, report.duplicate) == (2 * 28 * 24, 0)
        report = importer.run(text)
        assert (report.stored, report.duplicate) == (0, 2 * 28 * 24)


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
