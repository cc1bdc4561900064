"""The writer against a real TimescaleDB: exactly once, whatever comes twice."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome, write_batch, write_whole_batch

START = 1_700_000_000_000_000
_numbers = itertools.count()


def new_series(conn: psycopg.Connection, count: int = 1) -> list[int]:
    device_id = f"writer_test_{next(_numbers)}"
    keys = [(device_id, f"metric_{number}") for number in range(count)]
    found = ensure_series(conn, keys)
    return [found[key] for key in keys]


def batch_of(rows: list[tuple[int, int, float]]) -> Batch:
    return Batch(
        series_id=np.array([row[0] for row in rows], np.int32),
        time=np.array([START + row[1] for row in rows], np.int64),
        value=np.array([row[2] for row in rows], np.float64),
    )


def stored(conn: psycopg.Connection, series: list[int]) -> dict[tuple[int, int], float]:
    rows = conn.execute(
        "SELECT series_id, (extract(epoch FROM time) * 1000000)::bigint, value FROM readings "
        "WHERE series_id = ANY(%s)",
        [series],
    ).fetchall()
    assert len({(series_id, time) for series_id, time, _ in rows}) == len(rows)
    return {(series_id, time - START): value for series_id, time, value in rows}


def test_a_batch_is_stored_to_the_microsecond_and_the_last_bit(writer):
    [series] = new_series(writer)
    rows = [
        (series, 1, 0.1 + 0.2),
        (series, 2, -0.0),
        (series, 3, 1.7976931348623157e308),
        (series, 4, 5e-324),
    ]
    assert write_batch(writer, batch_of(rows)).tolist() == [Outcome.STORED] * 4
    assert stored(writer, [series]) == {(s, t): v for s, t, v in rows}


def test_an_empty_batch_is_no_trouble(writer):
    assert write_batch(writer, batch_of([])).tolist() == []


def test_the_same_batch_again_is_all_duplicate_and_stores_nothing(writer):
    series = new_series(writer, 3)
    batch = batch_of(
        [(number, second * 1_000_000, second + number) for second in range(500) for number in series]
    )
    assert set(write_batch(writer, batch)) == {Outcome.STORED}
    before = stored(writer, series)
    assert set(write_batch(writer, batch)) == {Outcome.DUPLICATE}
    assert stored(writer, series) == before


def test_another_value_for_a_stored_key_is_a_conflict_and_the_first_is_kept(writer):
    [series] = new_series(writer)
    write_batch(writer, batch_of([(series, 0, 1.0)]))
    outcomes = write_batch(writer, batch_of([(series, 1, 5.0), (series, 0, 2.0), (series, 0, 1.0)]))
    assert outcomes.tolist() == [Outcome.STORED, Outcome.CONFLICT, Outcome.DUPLICATE]
    assert stored(writer, [series]) == {(series, 0): 1.0, (series, 1): 5.0}


def test_the_import_id_stays_with_the_rows_that_the_import_stored(writer):
    [series] = new_series(writer)
    write_batch(writer, batch_of([(series, 0, 1.0)]))
    write_batch(writer, batch_of([(series, 0, 1.0), (series, 1, 1.0)]), import_id=7)
    rows = writer.execute("SELECT import_id FROM readings WHERE series_id = %s ORDER BY time", [series])
    assert [row[0] for row in rows] == [0, 7]


def test_a_batch_inside_a_transaction_goes_when_the_transaction_is_rolled_back(writer):
    [series] = new_series(writer)
    write_batch(writer, batch_of([(series, 0, 1.0)]))
    with writer.transaction(force_rollback=True):
        first = write_batch(writer, batch_of([(series, 1, 1.0)]))
        second = write_batch(writer, batch_of([(series, 0, 1.0), (series, 2, 1.0)]))
    assert [*first, *second] == [Outcome.STORED, Outcome.DUPLICATE, Outcome.STORED]
    assert stored(writer, [series]) == {(series, 0): 1.0}


def expected_outcomes(rows, expected, *, replace):
    """Say what a dictionary, filled in order, makes of a batch; for `replace` the last of a key counts."""
    before = dict(expected)
    last = dict(rows) if replace else {}
    outcomes = []
    for place, (key, value) in enumerate(rows):
        if replace:
            is_last = key not in [other for other, _ in rows[place + 1 :]]
            if key not in before:
                superseded = Outcome.DUPLICATE if value == last[key] else Outcome.REPLACED
                outcomes.append(Outcome.STORED if is_last else superseded)
            else:
                outcomes.append(Outcome.DUPLICATE if value == before[key] else Outcome.REPLACED)
            expected[key] = last[key]
        elif key not in expected:
            expected[key] = value
            outcomes.append(Outcome.STORED)
        else:
            outcomes.append(Outcome.DUPLICATE if expected[key] == value else Outcome.CONFLICT)
    return outcomes


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.tuples(
            st.booleans(),
            st.lists(
                st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from([0.0, -0.0, 1.0, 2.5])),
                max_size=12,
            ),
        ),
        max_size=4,
    )
)
def test_any_sequence_of_batches_ends_as_a_dictionary_filled_in_order_would(writer, batches):
    series = new_series(writer, 3)
    expected: dict[tuple[int, int], float] = {}
    for replace, rows in batches:
        keyed = [((series[number], week * 7 * 86_400_000_000), value) for number, week, value in rows]
        wanted = expected_outcomes(keyed, expected, replace=replace)
        batch = batch_of([(*key, value) for key, value in keyed])
        assert write_batch(writer, batch, replace=replace).tolist() == wanted
    assert stored(writer, series) == expected


def test_a_replaced_reading_carries_the_import_that_replaced_it(writer):
    [series] = new_series(writer)
    write_batch(writer, batch_of([(series, 0, 1.0), (series, 1, 1.0)]))
    write_batch(writer, batch_of([(series, 0, 2.0), (series, 1, 1.0)]), import_id=9, replace=True)
    rows = writer.execute(
        "SELECT value, import_id FROM readings WHERE series_id = %s ORDER BY time", [series]
    )
    assert rows.fetchall() == [(2.0, 9), (1.0, 0)]


def test_a_whole_batch_is_stored_without_a_conflict_and_not_at_all_with_one(writer):
    [series] = new_series(writer)
    assert set(write_whole_batch(writer, batch_of([(series, 0, 1.0), (series, 1, 1.0)]))) == {Outcome.STORED}
    outcomes = write_whole_batch(writer, batch_of([(series, 1, 2.0), (series, 2, 2.0)]))
    assert outcomes.tolist() == [Outcome.CONFLICT, Outcome.STORED]
    assert stored(writer, [series]) == {(series, 0): 1.0, (series, 1): 1.0}
    outcomes = write_whole_batch(writer, batch_of([(series, 1, 2.0), (series, 2, 2.0)]), replace=True)
    assert outcomes.tolist() == [Outcome.REPLACED, Outcome.STORED]
    assert stored(writer, [series]) == {(series, 0): 1.0, (series, 1): 2.0, (series, 2): 2.0}


def test_the_writer_may_change_nothing_else_of_a_reading(writer):
    for statement in (
        "UPDATE readings SET time = now()",
        "UPDATE readings SET series_id = 1",
        "TRUNCATE readings",
        "DROP TABLE readings",
        "UPDATE series SET metric = ''",
        "DELETE FROM series",
    ):
        with pytest.raises(psycopg.Error, match=r"permission denied|must be owner"):
            writer.execute(statement)


def test_writers_with_overlapping_keys_in_any_order_agree_on_who_was_first(telemetry, writer):
    series = new_series(writer, 4)
    random = np.random.default_rng(7)

    def write(number: int) -> np.ndarray:
        keys = [(one, second * 1000) for one in series for second in range(200)]
        random_order = random.permutation(len(keys))
        rows = [(keys[place][0], keys[place][1], float(number)) for place in random_order]
        with connect(telemetry["writer"]) as conn:
            return write_batch(conn, batch_of(rows))

    with ThreadPoolExecutor(8) as pool:
        outcomes = np.concatenate(list(pool.map(write, range(8))))
    kept = stored(writer, series)
    assert len(kept) == 800
    assert np.count_nonzero(outcomes == Outcome.STORED) == 800
    assert np.count_nonzero(outcomes == Outcome.CONFLICT) == 7 * 800


def test_a_batch_that_the_server_ends_for_a_deadlock_is_stored_by_another_attempt(telemetry, writer):
    [series] = new_series(writer)
    insert = "INSERT INTO readings (time, value, series_id) VALUES (to_timestamp(%s), 1, %s)"
    waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    pid = writer.info.backend_pid
    with (
        psycopg.connect(telemetry["superuser"]) as other,
        psycopg.connect(telemetry["superuser"], autocommit=True) as watcher,
        ThreadPoolExecutor(1) as pool,
    ):
        # The server looks for a deadlock on behalf of who waits, and ends that one: never this.
        other.execute("SET deadlock_timeout = '1min'")
        other.execute(insert, [START // 1_000_000 + 2, series])
        batch = batch_of([(series, 1_000_000, 5.0), (series, 2_000_000, 6.0)])
        written = pool.submit(write_batch, writer, batch)
        while watcher.execute(waits, [pid]).fetchone() == (0,):
            assert not written.done()
        other.execute(insert, [START // 1_000_000 + 1, series])
        other.rollback()
        assert written.result(30).tolist() == [Outcome.STORED] * 2
    assert stored(writer, [series]) == {(series, 1_000_000): 5.0, (series, 2_000_000): 6.0}


def test_a_batch_that_would_replace_what_is_removed_meanwhile_is_stored(telemetry, writer):
    [series] = new_series(writer)
    write_batch(writer, batch_of([(series, 1, 1.0)]), import_id=77)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    pid = writer.info.backend_pid
    with (
        psycopg.connect(telemetry["writer"]) as other,
        psycopg.connect(telemetry["superuser"], autocommit=True) as watcher,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("SELECT FROM readings WHERE series_id = %s FOR UPDATE", [series])
        written = pool.submit(write_batch, writer, batch_of([(series, 1, 2.0)]), replace=True)
        while watcher.execute(waits, [pid]).fetchone() == (0,):
            assert not written.done()
        # It has found the reading, and waits for its turn to replace it.
        other.execute("DELETE FROM readings WHERE import_id = 77 AND series_id = %s", [series])
        other.commit()
        assert written.result(30).tolist() == [Outcome.STORED]
    assert stored(writer, [series]) == {(series, 1): 2.0}


def test_a_backend_that_is_ended_in_the_middle_is_reported_as_away(telemetry, writer):
    [series] = new_series(writer)
    with psycopg.connect(telemetry["superuser"], autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s)", [writer.info.backend_pid])
    with pytest.raises(DatabaseUnavailable):
        write_batch(writer, batch_of([(series, 0, 1.0)]))


def test_a_server_that_cannot_be_reached_is_reported_as_away(tmp_path):
    with pytest.raises(DatabaseUnavailable):
        connect(f"postgresql://joulebook_writer@/joulebook?host={tmp_path}")


def test_a_device_gets_no_more_series_than_its_cap(writer):
    device_id = f"writer_test_{next(_numbers)}"
    first = ensure_series(writer, [(device_id, "a"), (device_id, "b")], most_per_device=2)
    second = ensure_series(writer, [(device_id, "b"), (device_id, "c")], most_per_device=2)
    assert len(first) == 2
    assert list(second) == [(device_id, "b")]
