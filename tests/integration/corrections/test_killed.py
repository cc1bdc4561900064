"""kill -9 of a correction and of its undo between two statements; and writers in between."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.corrections.edits import Edit, EditKind, SeriesEdit
from joulebook.telemetry.corrections.run import (
    CorrectionLost,
    CorrectionNumberTaken,
    CorrectionRun,
    CorrectionUndo,
)
from joulebook.telemetry.readings import MINUTE
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome, write_batch

FIRST = 1_767_225_600_000_000 - 30 * MINUTE
"""Half an hour before closed time ends."""
COUNT = 60


@pytest.fixture
def series(database):
    """An hour of readings, over the end of closed time."""
    [number] = ensure_series(database.writer, [("meter", "power")]).values()
    write_batch(database.writer, batch(number, range(COUNT)))
    return number


def batch(series, minutes, value=None):
    time = FIRST + np.array(list(minutes), np.int64) * MINUTE
    found = np.array(list(minutes), np.float64) if value is None else np.full(len(time), value)
    return Batch(np.full(len(time), series, np.int32), time, found)


def edit_of(series, kind):
    return Edit(
        kind, {series: SeriesEdit("power", value=5.5, offset=1.0)}, FIRST, FIRST + COUNT * MINUTE, factor=2.0,
        by=MINUTE * 3 if kind is EditKind.SHIFT else 0, step=MINUTE // 2 if kind is EditKind.FILL else 0,
    )  # fmt: skip


def stored(conn):
    return conn.execute("SELECT time, value::text, import_id FROM readings ORDER BY time").fetchall()


def run(kind, conn, edit, lease):
    found = kind(conn, number=1, lease=lease, identity="x", edit=edit, slice_readings=7)
    while found.step():
        pass
    return found


def kill_at(database, edit, point, count, *, lease, way):
    program = [
        sys.executable, str(Path(__file__).with_name("stopping_correction.py")), database.urls["writer"],
        json.dumps(edit.as_json()), point, str(count), str(lease), way,
    ]  # fmt: skip
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n", point
        process.kill()


@pytest.mark.parametrize("kind", [EditKind.SCALE, EditKind.SHIFT, EditKind.FILL])
def test_a_killed_correction_continues_and_its_killed_undo_does_too(database, series, kind):
    edit = edit_of(series, kind)
    before = stored(database.writer)
    run(CorrectionRun, database.writer, edit, 1)
    after = stored(database.writer)
    run(CorrectionUndo, database.writer, edit, 2)
    assert stored(database.writer) == before
    database.owner.execute("TRUNCATE corrections")
    points = ["marked", "progress recorded"] + (["originals kept"] if kind is not EditKind.FILL else [])
    for lease, point in enumerate(points, 1):
        kill_at(database, edit, point, 2, lease=lease, way="do")
        assert verify_all(database.writer, 0, 1 << 60).differing == 0
    report = run(CorrectionRun, database.writer, edit, 10).report
    assert stored(database.writer) == after
    assert report["power"]["changed"] == COUNT
    for lease, point in enumerate(["steps dropped", "progress recorded"], 11):
        kill_at(database, edit, point, 2, lease=lease, way="undo")
        assert verify_all(database.writer, 0, 1 << 60).differing == 0
    run(CorrectionUndo, database.writer, edit, 20)
    assert stored(database.writer) == before
    database.roll_all()
    assert database.differing() == []


def test_a_correction_that_was_taken_over_or_is_undone_stores_nothing_more(database, series):
    edit = edit_of(series, EditKind.SCALE)
    first = CorrectionRun(database.writer, number=1, lease=1, identity="x", edit=edit, slice_readings=7)
    assert first.step()
    run(CorrectionRun, database.writer, edit, 2)
    with pytest.raises(CorrectionLost):
        first.step()
    run(CorrectionUndo, database.writer, edit, 3)
    with pytest.raises(CorrectionLost):
        CorrectionRun(database.writer, number=1, lease=4, identity="x", edit=edit)
    with pytest.raises(CorrectionNumberTaken):
        CorrectionRun(database.writer, number=1, lease=4, identity="another", edit=edit)


def test_a_replacing_writer_that_waits_for_a_correction_finds_its_reading_corrected(database, series):
    edit = edit_of(series, EditKind.SCALE)
    reached, go = threading.Event(), threading.Event()
    outcomes = []

    def pause(here):
        if here == "marked":
            reached.set()
            assert go.wait(60)

    def replace():
        with connect(database.urls["writer"]) as conn:
            outcomes.extend(write_batch(conn, batch(series, [3], value=777.0), replace=True).tolist())

    correcting = CorrectionRun(database.writer, number=1, lease=1, identity="x", edit=edit, pause=pause)
    step = threading.Thread(target=correcting.step)
    step.start()
    assert reached.wait(60)
    writing = threading.Thread(target=replace)
    writing.start()
    writing.join(1.0)
    assert writing.is_alive(), "the writer waits for the row"
    go.set()
    step.join(60)
    writing.join(60)
    assert outcomes == [Outcome.CONFLICT]
    run(CorrectionUndo, database.writer, edit, 2)
    (value,) = database.writer.execute("SELECT value FROM readings ORDER BY time OFFSET 3 LIMIT 1").fetchone()
    assert value == 3.0
