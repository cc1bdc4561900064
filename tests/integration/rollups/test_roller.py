"""The roller on a real TimescaleDB: rollups equal the readings, whatever happens in between."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.rollups import roller as roller_module
from joulebook.telemetry.rollups.marks import begin_writing, mark_changed
from joulebook.telemetry.rollups.roller import Roller
from joulebook.telemetry.writer import write_batch

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
MIDNIGHT = to_microseconds(CLOSED)
MINUTE = 60 * MICROSECONDS


def batch(series_id: int, *readings: tuple[float, float]) -> Batch:
    """Readings of one series as (seconds after midnight, value)."""
    seconds, values = np.array(readings, np.float64).T
    return Batch(
        np.full(len(readings), series_id, np.int32),
        MIDNIGHT + np.round(seconds * MICROSECONDS).astype(np.int64),
        values,
    )


def test_a_closed_window_is_rolled_up_in_all_three_widths(rollup_database):
    (series,) = rollup_database.series()
    write_batch(rollup_database.writer, batch(series, *((second, second % 97) for second in range(7300))))
    assert rollup_database.marks() == 0, "readings in order cost no marks"
    assert rollup_database.roller.close(CLOSED + timedelta(minutes=121))
    rollup_database.roll_all()
    assert rollup_database.differing() == []
    counts = [
        rollup_database.owner.execute(f"SELECT count(*), sum(count) FROM {table}").fetchone()
        for table in ("readings_1m", "readings_5m", "readings_1h")
    ]
    assert counts == [(121, 7260), (24, 7200), (2, 7200)]


def test_buckets_that_are_not_over_are_not_stored_and_follow_when_they_are(rollup_database):
    (series,) = rollup_database.series()
    write_batch(rollup_database.writer, batch(series, *((second, 1.0) for second in range(0, 3600, 10))))
    for minute in (3, 4, 5, 59, 60):
        rollup_database.roller.close(CLOSED + timedelta(minutes=minute))
        rollup_database.roll_all()
        assert rollup_database.differing() == []
    assert not rollup_database.roller.close(CLOSED + timedelta(minutes=60, seconds=59))


def test_time_that_devices_still_write_in_is_not_closed_by_a_clock_that_runs_ahead(rollup_database):
    rollup_database.roller.close(datetime.now(UTC) + timedelta(days=400))
    assert rollup_database.closed_until() <= to_microseconds(datetime.now(UTC))


def test_late_readings_and_replaced_values_are_marked_and_put_right(rollup_database):
    first, second = rollup_database.series(2)
    rollup_database.roller.close(CLOSED + timedelta(hours=3))
    rollup_database.roll_all()
    late = batch(first, (10, 5.0), (70, 6.0), (4000, 7.0))
    write_batch(rollup_database.writer, late)
    write_batch(rollup_database.writer, batch(second, (10, 5.0)))
    assert rollup_database.marks() == 3
    assert rollup_database.roll_all() == 1
    assert rollup_database.differing() == []
    write_batch(rollup_database.writer, batch(first, (70, 600.0)), replace=True)
    assert rollup_database.marks() == 1
    rollup_database.roll_all()
    assert rollup_database.differing() == []


def test_what_is_stored_already_leaves_no_mark(rollup_database):
    (series,) = rollup_database.series()
    rollup_database.roller.close(CLOSED + timedelta(hours=3))
    late = batch(series, (10, 5.0), (70, 6.0))
    write_batch(rollup_database.writer, late)
    rollup_database.roll_all()
    write_batch(rollup_database.writer, late)
    write_batch(rollup_database.writer, late, replace=True)
    assert rollup_database.marks() == 0


def test_a_bucket_that_lost_its_last_reading_goes(rollup_database):
    (series,) = rollup_database.series()
    rollup_database.roller.close(CLOSED + timedelta(hours=3))
    gone = batch(series, (10, 5.0), (70, 6.0), (4000, 7.0))
    write_batch(rollup_database.writer, gone)
    rollup_database.roll_all()
    # The superuser stands in for who may delete; what matters is the mark in the same transaction.
    with psycopg.connect(rollup_database.urls["superuser"]) as conn:
        closed_until = begin_writing(conn)
        conn.execute("DELETE FROM readings WHERE value IN (5, 7)")
        kept = gone.value == 6.0
        mark_changed(conn, gone.series_id[~kept], gone.time[~kept], closed_until=closed_until)
    rollup_database.roll_all()
    assert rollup_database.differing() == []
    assert rollup_database.owner.execute("SELECT count(*) FROM readings_1m").fetchone() == (1,)


def test_marks_of_years_are_rolled_up_a_stretch_of_time_at_a_pass(rollup_database):
    series = rollup_database.series(3)
    rollup_database.roller.close(CLOSED + timedelta(hours=1))
    rollup_database.roll_all()
    for each in series:
        days = [(-day * 86400.0 - each, float(day)) for day in range(0, 700, 7)]
        for part in np.array_split(days, 10):
            write_batch(rollup_database.writer, batch(each, *part))
    stretches = []
    while rolled := rollup_database.roller.roll():
        stretches.append(rolled.ends_at - rolled.begins_at)
    assert max(stretches) <= timedelta(days=28)
    assert rollup_database.differing() == []


def test_a_pass_that_finds_too_many_readings_begins_again_with_a_shorter_stretch(
    rollup_database, monkeypatch
):
    (series,) = rollup_database.series()
    rollup_database.roller.close(CLOSED + timedelta(days=2))
    rollup_database.roll_all()
    write_batch(rollup_database.writer, batch(series, *((second, 1.0) for second in range(0, 86400, 20))))
    monkeypatch.setattr(roller_module, "_TOO_MANY", 300)
    rollup_database.roller._reach[False] = 86400 * MICROSECONDS
    rolled = rollup_database.roller.roll()
    assert rolled is not None
    assert 0 < rolled.readings <= 300
    rollup_database.roll_all()
    assert rollup_database.differing() == []


def test_a_long_window_is_rolled_up_in_parts_and_each_part_stands_by_itself(rollup_database):
    series = rollup_database.series(3)
    for each in series:
        write_batch(rollup_database.writer, batch(each, *((hour * 1800, hour % 7) for hour in range(300))))
    rollup_database.roller.close(CLOSED + timedelta(days=7))
    assert rollup_database.roll_all() > 3
    assert rollup_database.differing() == []
    assert rollup_database.marks() == 0


@st.composite
def histories(draw):
    """What happens: writes of any age, replacing or not, deletions, closings, passes of the roller."""
    readings = st.lists(
        st.tuples(
            st.integers(0, 2), st.one_of(st.integers(0, 1200), st.integers(0, 9000)), st.integers(-3, 9)
        ),
        min_size=1, max_size=12,
    )  # fmt: skip
    return draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("write"), readings),
                st.tuples(st.just("replace"), readings),
                st.tuples(st.just("delete"), readings),
                st.tuples(st.just("close"), st.integers(0, 160)),
                st.tuples(st.just("roll"), st.none()),
            ),
            max_size=14,
        )
    )


def act(database, series: list[int], step: tuple[str, object]) -> None:
    """Do one step of a history."""
    what, detail = step
    if what == "close":
        database.roller.close(CLOSED + timedelta(minutes=detail))
    elif what == "roll":
        database.roller.roll()
    else:
        rows = Batch(
            np.array([series[which] for which, _, _ in detail], np.int32),
            np.array([MIDNIGHT + second * MICROSECONDS for _, second, _ in detail], np.int64),
            np.array([float(value) for _, _, value in detail]),
        )
        if what == "delete":
            with database.owner.transaction():
                closed_until = begin_writing(database.owner)
                for which, second, _ in detail:
                    database.owner.execute(
                        "DELETE FROM readings WHERE series_id = %s AND time = %s",
                        [series[which], CLOSED + timedelta(seconds=second)],
                    )
                mark_changed(database.owner, rows.series_id, rows.time, closed_until=closed_until)
        else:
            write_batch(database.writer, rows, replace=what == "replace")


def hold_any_history(database, history) -> None:
    database.clear(CLOSED)
    series = database.series(3)
    for step in history:
        act(database, series, step)
    database.roll_all()
    assert database.differing() == []


@given(histories())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_history_the_rollups_equal_a_recomputation(rollup_database, history):
    hold_any_history(rollup_database, history)


class TestSchedules:
    """The ways in which an update could be lost, each at its pause point."""

    def test_a_writer_that_began_before_the_window_was_closed_is_waited_for(self, rollup_database):
        (series,) = rollup_database.series()
        with connect(rollup_database.urls["writer"]) as slow:
            with slow.transaction():
                write_batch(slow, batch(series, (10, 5.0)))
                assert not rollup_database.roller.close(CLOSED + timedelta(minutes=5)), (
                    "a writer is in flight"
                )
                write_batch(slow, batch(series, (20, 6.0)))
            assert rollup_database.roller.close(CLOSED + timedelta(minutes=5))
        rollup_database.roll_all()
        assert rollup_database.differing() == []
        assert rollup_database.owner.execute("SELECT sum(count) FROM readings_1m").fetchone() == (2,)

    def test_a_writer_that_comes_while_the_window_is_being_closed_waits_and_marks(self, rollup_database):
        (series,) = rollup_database.series()
        writing = threading.Thread(
            target=lambda: write_batch(rollup_database.writer, batch(series, (10, 5.0)))
        )

        def pause(point: str) -> None:
            if point == "closed":
                writing.start()
                writing.join(0.3)
                assert writing.is_alive(), "the writer waits for the closing"

        rollup_database.roller.pause = pause
        rollup_database.roller.close(CLOSED + timedelta(minutes=5))
        writing.join(60)
        assert rollup_database.marks() == 2
        rollup_database.roll_all()
        assert rollup_database.differing() == []

    @pytest.mark.parametrize(
        "point",
        [
            "locked",
            "marks taken",
            "readings_1m written",
            "readings_5m written",
            "readings_1h written",
            "put right",
        ],
    )
    def test_a_late_reading_at_any_moment_of_a_pass_is_put_right_by_the_next(self, rollup_database, point):
        (series,) = rollup_database.series()
        rollup_database.roller.close(CLOSED + timedelta(hours=2))
        write_batch(rollup_database.writer, batch(series, (10, 5.0), (20, 7.0)))

        def pause(here: str) -> None:
            if here == point:
                rollup_database.roller.pause = lambda _: None
                write_batch(rollup_database.writer, batch(series, (15, 100.0), (3700, 1.0)))

        rollup_database.roller.pause = pause
        rollup_database.roll_all()
        assert rollup_database.differing() == []
        assert rollup_database.marks() == 0

    def test_two_rollers_at_once_take_turns(self, rollup_database):
        series = rollup_database.series(4)
        for each in series:
            write_batch(
                rollup_database.writer, batch(each, *((second, 1.0) for second in range(0, 40_000, 50)))
            )
        rollup_database.roller.close(CLOSED + timedelta(hours=12))
        with connect(rollup_database.urls["writer"]) as other:
            second = Roller(other)

            def roll(roller: Roller) -> None:
                for minute in range(20):
                    roller.close(CLOSED + timedelta(hours=13, minutes=minute))
                    while roller.roll():
                        pass

            with ThreadPoolExecutor(2) as pool:
                rolling = [pool.submit(roll, each) for each in (rollup_database.roller, second)]
                for late in range(60):
                    write_batch(rollup_database.writer, batch(series[late % 4], (late * 600 + 7, 3.0)))
                for each in rolling:
                    each.result(60)
        rollup_database.roll_all()
        assert rollup_database.differing() == []
