"""Retention on a real TimescaleDB: what is too old goes, once it is rolled up, and never comes back."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.imports.undo import UndoRun
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds, to_microseconds
from joulebook.telemetry.retention import Retention
from joulebook.telemetry.rollups.state import TABLES, read_state
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.timescale import read_chunks
from joulebook.telemetry.writer import Outcome, write_batch, write_whole_batch
from joulebook.worker.tasks import RetentionTask

from ...conftest import Service, free_port
from ..telemetry_database import addresses
from .test_commands import Command

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
MIDNIGHT = to_microseconds(CLOSED)
DAY = 86_400 * MICROSECONDS
NOW = CLOSED + timedelta(days=200)
FOR_EVER = {"readings": None, "readings_1m": None, "readings_5m": None, "readings_1h": None}
AT_ONCE = timedelta(0)


def keep(**days: int) -> dict[str, timedelta | None]:
    """Keep each table named for so many days, the others for ever."""
    return FOR_EVER | {table: timedelta(days=number) for table, number in days.items()}


def batch(series: int, days: np.ndarray, value: float = 1.0) -> Batch:
    """Readings of a series at so many days after CLOSED."""
    time = MIDNIGHT + np.round(np.asarray(days, float) * DAY).astype(np.int64)
    return Batch(np.full(len(time), series, np.int32), time, np.full(len(time), value))


@pytest.fixture
def series(rollup_database) -> int:
    """A series with a reading each hour for 200 days, rolled up."""
    (number,) = rollup_database.series()
    write_batch(rollup_database.writer, batch(number, np.arange(0, 200, 1 / 24)))
    rollup_database.roller.close(NOW)
    rollup_database.roll_all()
    return number


@pytest.fixture
def retention(rollup_database):
    with connect(rollup_database.urls["writer"]) as conn:
        yield lambda limits: Retention(conn, limits)


def count(database, table: str = "readings", where: str = "true") -> int:
    row = database.owner.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()
    assert row
    return int(row[0])


def test_by_default_everything_is_kept_for_ever(rollup_database, retention, series):
    keeps_all = retention(FOR_EVER)
    assert keeps_all.move(NOW + timedelta(days=36_000)) == {}
    assert keeps_all.drop(patience=AT_ONCE) == []
    assert count(rollup_database) == 200 * 24


def test_chunks_that_are_too_old_as_a_whole_go_and_their_rollups_stay(rollup_database, retention, series):
    rollups = count(rollup_database, "readings_1m")
    limited = retention(keep(readings=100))
    moved = limited.move(NOW)
    assert list(moved) == ["readings"]
    retained_from = moved["readings"]
    limit = MIDNIGHT + 100 * DAY
    assert limit - 7 * DAY < retained_from <= limit
    gone = limited.drop(patience=AT_ONCE)
    assert {each.table for each in gone} == {"readings"}
    assert sum(each.chunks for each in gone) == len(gone) >= 13
    assert read_chunks(rollup_database.writer, TABLES)["readings"][0][0] == retained_from
    assert count(rollup_database) == count(
        rollup_database, where=f"time >= '{from_microseconds(retained_from)}'"
    )
    assert count(rollup_database, "readings_1m") == rollups
    with connect(rollup_database.urls["reader"]) as reading:
        found = verify_all(reading, 0, 1 << 60)
    assert found.differing == 0
    assert found.readings == count(rollup_database)
    assert limited.move(NOW) == {}
    assert limited.drop(patience=AT_ONCE) == []


def test_each_rollup_has_a_limit_of_its_own_and_never_goes_before_what_it_sums_up(
    rollup_database, retention, series
):
    limited = retention(keep(readings=20, readings_1m=80, readings_5m=110))
    moved = limited.move(NOW)
    assert set(moved) == {"readings", "readings_1m", "readings_5m"}
    assert moved["readings"] >= moved["readings_1m"] >= moved["readings_5m"]
    limited.drop(patience=AT_ONCE)
    assert 0 < count(rollup_database, "readings_1m") < 200 * 24
    assert 0 < count(rollup_database, "readings_5m") < 200 * 24
    assert count(rollup_database, "readings_1h") == 200 * 24
    state = read_state(rollup_database.writer)
    for table in ("readings", "readings_1m", "readings_5m"):
        assert (
            read_chunks(rollup_database.writer, TABLES)[table][0][0]
            == state.retained_from[table]
            == moved[table]
        )


def test_what_is_not_rolled_up_is_not_dropped(rollup_database, retention, series):
    late = batch(series, np.array([30.5]), 77.0)
    late.time[0] += 1
    write_batch(rollup_database.writer, late)
    limited = retention(keep(readings=100))
    moved = limited.move(NOW)
    assert moved["readings"] <= late.time[0], "nothing beyond the mark"
    newer = batch(series, np.array([40.5]), 78.0)
    newer.time[0] += 1
    assert write_batch(rollup_database.writer, newer).tolist() == [Outcome.TOO_OLD], (
        "or it would wait for ever"
    )
    limited.drop(patience=AT_ONCE)
    assert count(rollup_database, where="value = 77") == 1
    rollup_database.roll_all()
    assert limited.move(NOW)["readings"] > late.time[0]
    assert write_batch(rollup_database.writer, late).tolist() == [Outcome.TOO_OLD]
    limited.drop(patience=AT_ONCE)
    assert count(rollup_database, where="value = 77") == 0
    assert count(rollup_database, "readings_1h", "max = 77") == 1


def test_time_that_is_not_closed_is_not_dropped(rollup_database, retention, series):
    rollup_database.owner.execute("UPDATE rollup_state SET closed_until = %s", [CLOSED + timedelta(days=15)])
    moved = retention(keep(readings=100)).move(NOW)
    assert moved["readings"] <= MIDNIGHT + 15 * DAY


def test_readings_of_time_that_is_not_kept_are_refused_row_by_row(rollup_database, retention, series):
    limited = retention(keep(readings=100))
    retained_from = limited.move(NOW)["readings"]
    edge = (retained_from - MIDNIGHT) / DAY
    mixed = batch(series, np.array([edge - 1.01, edge + 1.01, 250.01, edge - 50.01, edge]), 5.0)
    mixed.value[-1] = 1.0
    assert write_batch(rollup_database.writer, mixed).tolist() == [
        Outcome.TOO_OLD, Outcome.STORED, Outcome.STORED, Outcome.TOO_OLD, Outcome.DUPLICATE,
    ]  # fmt: skip
    limited.drop(patience=AT_ONCE)
    again = write_batch(rollup_database.writer, mixed, replace=True)
    assert again.tolist() == [
        Outcome.TOO_OLD, Outcome.DUPLICATE, Outcome.DUPLICATE, Outcome.TOO_OLD, Outcome.DUPLICATE,
    ]  # fmt: skip
    assert count(rollup_database, where=f"time < '{from_microseconds(retained_from)}'") == 0
    assert count(rollup_database, "rollup_dirty", f"begins_at < '{from_microseconds(retained_from)}'") == 0
    before = count(rollup_database)
    whole = batch(series, np.array([edge - 1, edge + 3.003]), 5.0)
    assert write_whole_batch(rollup_database.writer, whole).tolist() == [Outcome.TOO_OLD, Outcome.STORED]
    assert count(rollup_database) == before, "all or nothing"


def test_nothing_is_recomputed_from_readings_that_are_gone(rollup_database, retention, series):
    limited = retention(keep(readings=100))
    retained_from = from_microseconds(limited.move(NOW)["readings"])
    limited.drop(patience=AT_ONCE)
    before = [count(rollup_database, table) for table in ("readings_1m", "readings_5m", "readings_1h")]
    for number in (series, None):
        rollup_database.owner.execute(
            "INSERT INTO rollup_dirty (begins_at, ends_at, series_id) VALUES (%s, %s, %s), (%s, %s, %s)",
            [CLOSED, CLOSED + timedelta(days=3), number, CLOSED, retained_from + timedelta(days=1), number],
        )
    rollup_database.roll_all()
    assert rollup_database.marks() == 0
    assert [
        count(rollup_database, table) for table in ("readings_1m", "readings_5m", "readings_1h")
    ] == before


def test_chunks_go_only_when_the_queries_that_saw_them_as_kept_are_over(rollup_database, retention, series):
    limited = retention(keep(readings=100))
    limited.move(NOW)
    assert limited.drop() == []
    assert count(rollup_database) == 200 * 24
    rollup_database.owner.execute(
        "UPDATE rollup_state SET kept_from_moved_at = now() - INTERVAL '16 minutes'"
    )
    assert limited.drop()


def test_a_chunk_that_a_query_reads_is_left_for_the_next_time(rollup_database, retention, series):
    limited = retention(keep(readings=100))
    limited.move(NOW)
    with psycopg.connect(rollup_database.urls["reader"]) as reading:
        reading.execute("SELECT count(*) FROM readings WHERE time < %s", [CLOSED + timedelta(days=10)])
        assert limited.drop(patience=AT_ONCE) == []
        reading.rollback()
    assert limited.drop(patience=AT_ONCE)


def test_moving_waits_for_a_writer_in_flight_but_not_for_long(rollup_database, retention, series):
    limited = retention(keep(readings=100))
    with connect(rollup_database.urls["writer"]) as slow, slow.transaction():
        write_batch(slow, batch(series, np.array([20.01]), 9.0))
        assert limited.move(NOW) == {}
    assert limited.move(NOW)["readings"] <= MIDNIGHT + 20 * DAY + DAY, "the mark that it left is seen"


def test_a_writer_that_comes_while_it_moves_waits_and_is_refused(rollup_database, retention, series):
    limited = retention(keep(readings=100))
    outcome: list[int] = []
    old = batch(series, np.array([20.01]), 9.0)
    writing = threading.Thread(target=lambda: outcome.extend(write_batch(rollup_database.writer, old)))

    def pause(point: str) -> None:
        if point == "refused":
            writing.start()
            writing.join(0.3)
            assert writing.is_alive(), "the writer waits"

    limited.pause = pause
    limited.move(NOW)
    writing.join(60)
    assert outcome == [Outcome.TOO_OLD]


def test_the_writer_may_drop_what_is_not_kept_and_nothing_else(rollup_database, retention, series):
    writer = rollup_database.writer
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        writer.execute("SELECT drop_chunks('readings', older_than => now())")
    dropped = writer.execute("SELECT drop_chunks_not_kept('readings', 'infinity')").fetchone()
    assert dropped == (0,)
    for table in ("series", "readings; DROP TABLE series", "", None):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            writer.execute("SELECT drop_chunks_not_kept(%s, 'infinity')", [table])
    retained_from = retention(keep(readings=100)).move(NOW)["readings"]
    writer.execute("SELECT drop_chunks_not_kept('readings', 'infinity')")
    assert read_chunks(writer, TABLES)["readings"][0][0] == retained_from
    with psycopg.connect(rollup_database.urls["reader"]) as reading:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reading.execute("SELECT drop_chunks_not_kept('readings', 'infinity')")


def test_an_undo_leaves_what_is_not_kept_and_what_was_overwritten_there_goes_with_it(
    rollup_database, retention, series
):
    writer = rollup_database.writer
    days = np.arange(60, 140, 1 / 24)
    replaced = write_batch(writer, batch(series, days, 2.0), import_id=5, replace=True)
    assert (replaced == Outcome.REPLACED).all()
    rollup_database.roll_all()
    limited = retention(keep(readings=100))
    retained_from = limited.move(NOW)["readings"]
    too_old = int((MIDNIGHT + np.round(days * DAY).astype(np.int64) < retained_from).sum())
    undo = UndoRun(writer, import_id=5, lease=1)
    while undo.step():
        pass
    assert (undo.removed, undo.restored, undo.kept) == (0, len(days) - too_old, too_old)
    assert count(rollup_database, "import_replaced") == too_old > 500
    limited.drop(patience=AT_ONCE)
    assert count(rollup_database, "import_replaced") == 0
    assert count(rollup_database, where="value <> 1 OR import_id <> 0") == 0
    rollup_database.roll_all()
    assert verify_all(writer, 0, 1 << 60).differing == 0
    # Nothing is left of it: an undo that comes again finds the same account, and nothing to do.
    again = UndoRun(writer, import_id=5, lease=2)
    assert not again.step()
    assert (again.restored, again.kept) == (undo.restored, too_old)


def test_the_worker_finds_first_and_drops_at_a_later_turn(rollup_database, series):
    keeper = RetentionTask(rollup_database.urls["writer"], keep(readings=100), patience=AT_ONCE)
    keeper.turn()
    retained_from = read_state(rollup_database.writer).retained_from["readings"]
    assert retained_from > MIDNIGHT
    assert count(rollup_database) == 200 * 24
    keeper.turn()
    assert read_chunks(rollup_database.writer, TABLES)["readings"][0][0] >= retained_from


def test_a_keeper_whose_database_is_away_says_so_and_lives(caplog):
    RetentionTask("postgresql://nobody@127.0.0.1:1/none", keep(readings=1)).turn()
    assert "nothing is dropped while the readings' database is unavailable" in caplog.text


@pytest.fixture
def environment(rollup_database) -> dict[str, str]:
    return addresses(rollup_database.urls)


def test_the_plan_shows_what_would_go_and_deletes_nothing(
    rollup_database, joulebook: Command, environment, series
):
    days = (datetime.now(UTC) - CLOSED).days - 100
    environment["JOULEBOOK_KEEP_READINGS"] = f"{days}d"
    done = joulebook("retention", "plan", "--json", **environment)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    readings, minutes, *_ = plan["tables"]
    assert (readings["table"], readings["keep_days"]) == ("readings", days)
    assert 13 <= readings["drop"]["chunks"] <= 15
    assert readings["drop"]["rows"] > 0
    assert 0 < readings["drop"]["bytes"] < readings["bytes"]
    assert readings["drop"]["to"] <= "2026-04-12"
    assert (minutes["keep_days"], minutes["drop"]["chunks"]) == (None, 0)
    assert count(rollup_database) == 200 * 24
    assert read_state(rollup_database.writer).retained_from["readings"] == 0
    text = joulebook("retention", "plan", **environment).stdout
    assert f"readings: kept {days:,} days" in text
    assert f"  to drop      {readings['drop']['chunks']} chunk(s) of " in text
    assert "in a year at today's rate" in text


def test_the_plan_says_what_waits_and_what_a_year_will_need(
    rollup_database, joulebook: Command, environment, series
):
    write_batch(rollup_database.writer, batch(series, np.array([30.01])))
    rollup_database.owner.execute("ANALYZE")
    environment["JOULEBOOK_KEEP_READINGS"] = f"{(datetime.now(UTC) - CLOSED).days - 100}d"
    readings, minutes, _, hours = json.loads(joulebook("retention", "plan", "--json", **environment).stdout)[
        "tables"
    ]
    assert readings["drop"]["to"] <= "2026-01-31"
    assert readings["wait"]["chunks"] >= 9
    assert readings["rows_per_day"] == minutes["rows_per_day"] == hours["rows_per_day"] == 24
    year = 24 * 365 * hours["bytes_per_row"]
    assert hours["bytes_in_a_year"] == pytest.approx(hours["bytes"] + year, rel=0.01)
    assert readings["bytes_in_a_year"] < readings["bytes"] + year


def test_an_import_reports_what_is_of_a_time_that_is_not_kept(
    rollup_database, joulebook: Command, environment, retention, series, tmp_path, transactional_db, device
):
    retained_from = from_microseconds(retention(keep(readings=100)).move(NOW)["readings"])
    path = tmp_path / "log.csv"
    times = [retained_from - timedelta(days=40), retained_from - timedelta(seconds=1), retained_from]
    path.write_text("time,power\n" + "".join(f"{time:%Y-%m-%dT%H:%M:%SZ},{5}\n" for time in times))
    done = joulebook("import", str(path), "--device", device.device_id, "--json", **environment)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    cells = report["cells"] if "cells" in report else report["report"]["cells"]
    assert (cells["stored"], cells["malformed"]) == (1, 2)
    assert done.stdout.count("time_past") >= 2


def test_ingest_refuses_what_is_of_a_time_that_is_not_kept_and_stores_the_rest(
    rollup_database, environment, retention, series, device_token, device
):
    retained_from = from_microseconds(retention(keep(readings=100)).move(NOW)["readings"])
    service = Service("ingest", free_port(), environment)
    service.start(path="/readyz")
    try:
        answers = [
            httpx.post(
                f"{service.url}/api/readings{query}",
                json=[
                    {"timestamp": (retained_from - timedelta(seconds=1)).isoformat(), "power": 1},
                    {"timestamp": retained_from.isoformat(), "power": 2},
                ],
                headers={"Authorization": f"Bearer {device_token}"},
            )
            for query in ("?atomic=1", "", "?on_conflict=replace")
        ]
    finally:
        service.stop()
    codes = [[(each["index"], each["code"]) for each in answer.json()["rejected"]] for answer in answers]
    assert codes == [[(0, "time_past")]] * 3
    assert [answer.json()["accepted"] for answer in answers] == [0, 1, 0]
    assert [answer.json()["duplicate"] for answer in answers] == [0, 0, 1]
    assert count(rollup_database, where="value = 2") == 1
