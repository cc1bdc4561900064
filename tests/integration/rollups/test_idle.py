"""Series that send nothing for a while are rolled up as right as the others."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import MINUTE, to_microseconds
from joulebook.telemetry.writer import write_batch

from .test_roller import CLOSED


def test_longer_buckets_close_for_series_without_a_reading_in_their_last_minute(rollup_database):
    busy, idle = rollup_database.series(2)
    begin = to_microseconds(CLOSED)
    for minute in range(61):
        sending = [busy, idle] if minute == 2 else [busy]
        time = np.full(len(sending), begin + minute * MINUTE)
        write_batch(rollup_database.writer, Batch(np.array(sending, np.int32), time, np.ones(len(sending))))
        rollup_database.roller.close(CLOSED + timedelta(minutes=minute + 1))
        rollup_database.roll_all()
    assert rollup_database.differing() == []
    rows = rollup_database.owner.execute(
        "SELECT count FROM readings_1h WHERE series_id = %s", [idle]
    ).fetchall()
    assert rows == [(1,)]
