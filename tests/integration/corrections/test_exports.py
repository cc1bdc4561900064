"""Exports and history of corrected readings."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.corrections.edits import Edit, EditKind, SeriesEdit
from joulebook.telemetry.corrections.run import CorrectionRun
from joulebook.telemetry.export.reading import read_blocks
from joulebook.telemetry.readings import MINUTE
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

FIRST = 1_767_000_000_000_000
COUNT = 100


@pytest.fixture
def corrected(database):
    """A hundred readings: ten deleted, ten set to 5, ten moved by half a minute, and two filled in."""
    [series] = ensure_series(database.writer, [("meter", "power")]).values()
    time = FIRST + np.arange(COUNT) * MINUTE
    write_batch(database.writer, Batch(np.full(COUNT, series, np.int32), time, np.arange(100.0)))
    edits = [
        (EditKind.DELETE, 0, 10, {}),
        (EditKind.SET, 10, 20, {}),
        (EditKind.SHIFT, 20, 30, {"by": MINUTE // 2}),
        (EditKind.FILL, 50, 52, {"step": MINUTE // 2}),
    ]
    for number, (kind, first, last, more) in enumerate(edits, 1):
        edit = Edit(
            kind,
            {series: SeriesEdit("power", value=5.0)},
            FIRST + first * MINUTE,
            FIRST + last * MINUTE,
            **more,
        )
        run = CorrectionRun(database.writer, number=number, lease=1, identity="x", edit=edit)
        while run.step():
            pass
    return series


@pytest.mark.parametrize("block_readings", [7, 200_000])
def test_an_export_has_readings_as_corrected_without_the_corrected_or_as_sent(
    database, corrected, block_readings
):
    def exported(which):
        with connect(database.urls["reader"]) as conn:
            blocks = read_blocks(conn, {"power": corrected}, corrected=which, block_readings=block_readings)
            pairs = [
                ((at - FIRST) / MINUTE, value)
                for block in blocks
                for at, value in zip(block.time.tolist(), block.value.tolist(), strict=True)
            ]
        assert [at for at, _ in pairs] == sorted(at for at, _ in pairs)
        return dict(pairs)

    sent = {float(minute): float(minute) for minute in range(COUNT)}
    untouched = {at: value for at, value in sent.items() if at >= 30}
    moved = {at + 0.5: at for at in sent if 20 <= at < 30}
    filled = {50.5: 5.0, 51.5: 5.0}
    assert exported("original") == sent
    assert exported("without") == untouched
    assert exported("with") == {
        **untouched,
        **dict.fromkeys(map(float, range(10, 20)), 5.0),
        **moved,
        **filled,
    }


def test_the_undo_of_all_gives_back_the_very_bits(database, corrected):
    from joulebook.telemetry.corrections.run import CorrectionUndo

    for number in (2, 4, 1, 3):
        edit = Edit(EditKind.DELETE, {}, 0, 1)
        run = CorrectionUndo(database.writer, number=number, lease=2, identity="x", edit=edit)
        while run.step():
            pass
    rows = database.writer.execute("SELECT value, import_id FROM readings ORDER BY time").fetchall()
    assert [struct.pack(">d", value) for value, _ in rows] == [struct.pack(">d", i) for i in range(COUNT)]
    assert {import_id for _, import_id in rows} == {0}
