"""Imports and undos whose process dies, or is replaced by another: nothing twice, nothing lost, counts exact."""

from __future__ import annotations

import itertools
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import MOST_PROBLEMS
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import LeaseLost, NumberTaken, read_progress
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.imports.undo import UndoRun

from .stopping_import import BETWEEN, BLOCK_READINGS, COLUMNS, NOW, PROFILE, SLICE_READINGS

_numbers = itertools.count(2_000_001)

# 60 rows; some cells are bad, some empty, and one row is rejected. An earlier file has other values for a third.
ROWS = [f"2024-03-01 {n // 60 + 4:02d}:{n % 60:02d},{n},{n * 10}" for n in range(60)]
ROWS[7] = "2024-03-01 04:07,bad,70"
ROWS[40] = "2024-03-01 04:40,,bad"
ROWS[41] = "no time,1,2"
TEXT = "t,P,E\n" + "\n".join(ROWS) + "\n"
EARLIER = "t,P,E\n" + "".join(f"2024-03-01 04:{n:02d},{n % 2 * n - 1},{n * 10}\n" for n in range(20, 40))


class Place:
    """A device of its own in the database, and what is stored there."""

    def __init__(self, conn: Connection, folder: Path) -> None:
        self.conn = conn
        self.device_id = f"resume_{uuid.uuid4().hex[:12]}"
        self.folder = folder
        self.earlier = next(_numbers)
        self.report = self.finish(self.begin(self.earlier, EARLIER))

    def path(self, text: str) -> Path:
        path = self.folder / f"{hash(text)}.csv"
        path.write_text(text)
        return path

    def begin(self, number: int, text: str = TEXT, *, lease: int = 1, **options: Any) -> ImportRun:
        return ImportRun(
            options.pop("conn", self.conn), FileSource(self.path(text)), PROFILE, COLUMNS, import_id=number,
            lease=lease, device_id=self.device_id, most_metrics=9, on_conflict="replace", now=NOW,
            **{"block_readings": BLOCK_READINGS, **options},
        )  # fmt: skip

    def finish(self, run: ImportRun) -> ImportReport:
        with closing(run):
            while run.step():
                pass
        return run.report

    def undo(self, number: int, *, lease: int = 3) -> UndoRun:
        run = UndoRun(self.conn, import_id=number, lease=lease, slice_readings=SLICE_READINGS)
        while run.step():
            pass
        return run

    def stored(self) -> dict[tuple[str, object], tuple[float, int]]:
        rows = self.conn.execute(
            "SELECT metric, time, value, import_id FROM readings JOIN series ON series.id = series_id "
            "WHERE device_id = %s",
            [self.device_id],
        ).fetchall()
        return {(str(metric), time): (value, number) for metric, time, value, number in rows}  # type: ignore[misc]

    def values(self) -> dict[tuple[str, object], float]:
        return {key: value for key, (value, _) in self.stored().items()}


@pytest.fixture
def place(writer: Connection, tmp_path: Path) -> Place:
    return Place(writer, tmp_path)


@pytest.fixture
def whole(writer: Connection, tmp_path: Path) -> tuple[Place, int]:
    """A place in which the import was never disturbed, and the import's number."""
    place = Place(writer, tmp_path)
    number = next(_numbers)
    place.report = place.finish(place.begin(number))
    return place, number


def kill_at(url: str, point: str, kind: str, number: int, device_id: str, path: str) -> None:
    """Run an import or an undo until it stops at the point, then end it at once."""
    program = [sys.executable, "-m", "tests.integration.imports.stopping_import", url, kind, str(number)]
    program = [sys.executable, str(Path(__file__).with_name("stopping_import.py")), *program[3:]]
    with subprocess.Popen([*program, device_id, path, point], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n", point
        process.kill()


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("readings written", id="before the account"),
        pytest.param("progress recorded", id="before the commit", marks=pytest.mark.slow),
        pytest.param(BETWEEN, id="behind the commit"),
    ],
)
def test_an_import_that_is_killed_is_gone_on_with_and_its_account_is_exact(
    place: Place, whole: tuple[Place, int], telemetry: dict[str, str], point: str
) -> None:
    undisturbed, _ = whole
    number = next(_numbers)
    kill_at(telemetry["writer"], point, "import", number, place.device_id, str(place.path(TEXT)))
    between = read_progress(place.conn, number)
    assert between is not None
    assert between.checkpoint is not None
    report = place.finish(place.begin(number, lease=2))
    assert report.as_json() == undisturbed.report.as_json()
    assert (report.stored, report.replaced, report.duplicate) == (75, 20, 20)
    assert report.cells == 75 + 20 + 20 + report.na + report.malformed
    assert list(read_problems(place.conn, number)) == report.problems
    assert place.values() == undisturbed.values()
    # What it overwrote before and after the death is restored alike.
    assert place.undo(number).restored == 20
    assert place.values() == {key: value for key, value in place.values().items() if "04:" in str(key[1])}
    again = Place.stored(place)
    assert len(again) == 40
    assert {each for _, each in again.values()} == {place.earlier}


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("restored", id="half way through a slice"),
        pytest.param("removed", id="before the account", marks=pytest.mark.slow),
        pytest.param("progress recorded", id="before the commit", marks=pytest.mark.slow),
        pytest.param(BETWEEN, id="behind the commit"),
    ],
)
def test_an_undo_that_is_killed_is_gone_on_with_and_its_counts_are_exact(
    whole: tuple[Place, int], telemetry: dict[str, str], point: str
) -> None:
    place, number = whole
    kill_at(telemetry["writer"], point, "undo", number, place.device_id, "-")
    undo = place.undo(number)
    assert (undo.removed, undo.restored, undo.kept) == (75, 20, 0)
    assert {each for _, each in place.stored().values()} == {place.earlier}
    once_more = place.undo(number, lease=4)
    assert (once_more.removed, once_more.restored, once_more.kept) == (75, 20, 0)
    assert len(place.stored()) == 40


def test_whoever_was_taken_over_stores_nothing_any_more(place: Place, telemetry: dict[str, str]) -> None:
    number = next(_numbers)
    with connect(telemetry["writer"]) as other, closing(place.begin(number, conn=other)) as zombie:
        assert zombie.step()
        before = place.stored()
        successor = place.begin(number, lease=2)
        with pytest.raises(LeaseLost, match=f"lease 1 of import {number}"):
            zombie.step()
        assert place.stored() == before
        report = place.finish(successor)
    assert (report.stored, report.replaced, report.duplicate) == (75, 20, 20)
    with pytest.raises(LeaseLost):
        place.begin(number, lease=1)


def test_whoever_is_taken_over_in_the_middle_of_a_block_has_that_block_rolled_back(
    place: Place, telemetry: dict[str, str]
) -> None:
    number = next(_numbers)
    successors = []

    def take_over(point: str) -> None:
        if point == "readings written" and not successors:
            successors.append(place.begin(number, lease=2))

    with connect(telemetry["writer"]) as other:
        zombie = place.begin(number, conn=other, pause=take_over)
        with closing(zombie), pytest.raises(LeaseLost):
            zombie.step()
    assert {each for _, each in place.stored().values()} == {place.earlier}
    assert place.finish(successors[0]).stored == 75


def test_an_undo_fences_off_whoever_still_imports(place: Place, telemetry: dict[str, str]) -> None:
    number = next(_numbers)
    before = place.stored()
    with connect(telemetry["writer"]) as other, closing(place.begin(number, conn=other)) as zombie:
        assert zombie.step()
        place.undo(number)
        with pytest.raises(LeaseLost):
            zombie.step()
    assert place.stored() == before
    with pytest.raises(LeaseLost):
        place.begin(number, lease=9)


def test_a_block_that_deadlocks_is_stored_by_another_attempt_and_counted_once(
    place: Place, whole: tuple[Place, int]
) -> None:
    failures = iter([psycopg.errors.DeadlockDetected("as the server says it"), None])

    def fail_once(point: str) -> None:
        failure = next(failures, None) if point == "progress recorded" else None
        if failure is not None:
            raise failure

    number = next(_numbers)
    report = place.finish(place.begin(number, pause=fail_once))
    assert report.as_json() == whole[0].report.as_json()
    assert list(read_problems(place.conn, number)) == report.problems


def test_a_number_that_another_file_has_is_refused_with_the_remedy(place: Place) -> None:
    with pytest.raises(NumberTaken, match="import the file again, which gives it another number"):
        place.begin(place.earlier, TEXT, lease=5)
    assert place.finish(place.begin(place.earlier, EARLIER, lease=5)).stored == 40


def test_a_check_lists_every_problem_and_stores_no_reading(place: Place, writer: Connection) -> None:
    number = next(_numbers)
    before = place.stored()
    text = TEXT.replace(",10\n", ",x\0y\n").replace(",20,", ",2 0,")
    for _ in range(2):
        report = place.finish(place.begin(number, text, is_check=True))
        listed = list(read_problems(writer, number))
        assert [(p.line, p.code, p.text) for p in listed] == [
            (p.line, p.code, p.text) for p in report.problems
        ]
    assert listed[0].row == "2024-03-01 04:01,1,x\\x00y"
    assert len(listed) == report.problem_count == 5
    assert place.stored() == before
    kept = read_progress(writer, number)
    assert kept is not None
    assert kept.report is not None
    assert ImportReport.from_state(kept.report).problem_count == 5


def test_an_import_that_was_checked_first_counts_every_cell_once(place: Place) -> None:
    number = next(_numbers)
    good = "t,P,E\n" + "".join(f"2024-03-02 00:{n:02d},{n},1\n" for n in range(30))
    place.finish(place.begin(number, good, is_check=True))
    assert place.finish(place.begin(number, good)).as_json()["cells"] == {
        "all": 60, "stored": 60, "replaced": 0, "duplicate": 0, "conflict": 0, "na": 0, "malformed": 0,
    }  # fmt: skip


def test_all_problems_are_kept_and_the_first_are_listed_after_resuming(place: Place) -> None:
    bad = MOST_PROBLEMS + 500
    text = "t,P,E\n" + "".join(f"2024-04-01 {n // 60 % 24:02d}:{n % 60:02d},x,=1+{n}\n" for n in range(bad))
    number = next(_numbers)
    with closing(place.begin(number, text, block_readings=1000)) as run:
        assert run.step()
        assert run.step()
    report = place.finish(place.begin(number, text, lease=2, block_readings=1000))
    assert report.problem_count == 2 * bad
    assert len(report.problems) == MOST_PROBLEMS
    found = list(read_problems(place.conn, number))
    assert [(p.line, p.column) for p in found] == [(2 + n, c) for n in range(bad) for c in ("E", "P")]
    assert report.problems == found[:MOST_PROBLEMS]
    assert list(read_problems(place.conn, number, limit=3)) == found[:3]


def test_an_import_without_an_account_is_found_by_looking_everywhere(
    place: Place, joulebook: Callable[..., object]
) -> None:
    number = next(_numbers)
    report = place.finish(place.begin(number))
    place.conn.execute("DELETE FROM import_progress WHERE import_id = %s", [number])
    undo = UndoRun(place.conn, import_id=number, lease=1, slice_readings=1000)
    while undo.step():
        pass
    assert (undo.removed, undo.restored) == (report.stored, report.replaced)
    assert {each for _, each in place.stored().values()} == {place.earlier}
