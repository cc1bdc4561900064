"""kill -9 of the database under an import: no block waits for the disk, and yet nothing is lost or counted twice."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from joulebook.cli.imports.options import ImportOptions
from joulebook.cli.imports.storing import store
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.files.errors import FileError
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome, write_batch
from joulebook.worker import import_runner

from ..drills.faults import kill_and_start_database
from .stopping_import import COLUMNS, NOW, PROFILE

_numbers = itertools.count(2_300_001)

ROWS = 300
TEXT = "t,P,E\n" + "".join(f"2024-03-01 {n // 60:02d}:{n % 60:02d},{n},{n * 10}\n" for n in range(ROWS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "meter.csv"
    path.write_text(TEXT)
    return path


@pytest.fixture
def own_writer(telemetry: dict[str, str]) -> Iterator[Callable[[], Connection]]:
    """Open a connection with the writer's rights that may be lost."""
    opened: list[Connection] = []

    def one() -> Connection:
        opened.append(connect(telemetry["writer"]))
        return opened[-1]

    yield one
    for conn in opened:
        conn.close()


def begin(
    conn: Connection, path: Path, number: int, device_id: str, *, lease: int,
    pause: Callable[[str], None] = lambda _point: None,
) -> ImportRun:  # fmt: skip
    return ImportRun(
        conn, FileSource(path), PROFILE, COLUMNS, import_id=number, lease=lease, device_id=device_id,
        most_metrics=9, now=NOW, block_readings=20, pause=pause,
    )  # fmt: skip


def stored(conn: Connection, device_id: str) -> dict[tuple[str, int], float]:
    rows = conn.execute(
        "SELECT metric, extract(epoch FROM time - '2024-03-01 00:00Z')::int / 60, value FROM readings "
        "JOIN series ON series.id = series_id WHERE device_id = %s",
        [device_id],
    ).fetchall()
    return {(str(metric), minute): value for metric, minute, value in rows}  # type: ignore[misc]


WHOLE = {
    (metric, n): float(n * factor) for n in range(ROWS) for metric, factor in (("power", 1), ("energy", 10))
}


def test_an_import_whose_database_dies_between_and_within_blocks_ends_with_an_exact_account(
    own_writer, path, device_id
):
    number = next(_numbers)

    def until_it_dies(moment: str, *, lease: int) -> None:
        steps = itertools.count(1)

        def pause(point: str) -> None:
            if point == moment and run.report.rows_imported > 30:
                kill_and_start_database()

        with closing(begin(own_writer(), path, number, device_id, lease=lease, pause=pause)) as run:
            with pytest.raises(DatabaseUnavailable):
                while run.step():
                    if moment == "between" and next(steps) == 3:
                        kill_and_start_database()

    for lease, moment in enumerate(("between", "readings written", "progress recorded", "between")):
        until_it_dies(moment, lease=lease)
    with closing(begin(conn := own_writer(), path, number, device_id, lease=9)) as run:
        while run.step():
            pass
    assert (run.report.rows_read, run.report.stored, run.report.duplicate) == (ROWS, 2 * ROWS, 0)
    assert stored(conn, device_id) == WHOLE


@pytest.mark.parametrize("ends_early", [False, True])
def test_what_an_import_has_told_survives_the_databases_death_at_that_moment(
    own_writer, path, device_id, ends_early
):
    number = next(_numbers)
    with closing(begin(own_writer(), path, number, device_id, lease=1)) as run:
        while run.step():
            if ends_early and run.report.rows_imported > 100:
                break
    kill_and_start_database()
    assert len(stored(own_writer(), device_id)) == run.report.stored > 200
    if not ends_early:
        assert run.report.stored == 2 * ROWS


def test_what_is_told_of_a_damaged_file_survives_the_databases_death_at_that_moment(
    own_writer, path, device_id
):
    damaged = path.with_suffix(".csv.gz")
    damaged.write_bytes(gzip.compress(TEXT.encode())[:-40])
    with closing(begin(own_writer(), damaged, next(_numbers), device_id, lease=1)) as run:
        with pytest.raises(FileError):
            while run.step():
                pass
        kill_and_start_database()
    assert len(stored(own_writer(), device_id)) == run.report.stored > 200


@pytest.mark.django_db(transaction=True)
def test_a_command_whose_database_dies_counts_what_is_left(own_writer, path, device, monkeypatch):
    blocks = itertools.count()

    def pause(point: str) -> None:
        if point == "progress recorded" and next(blocks) == 5:
            kill_and_start_database()

    monkeypatch.setattr(import_runner, "ImportRun", partial(ImportRun, block_readings=20, pause=pause))
    asked = ImportOptions(
        path, device.device_id, Given(), user_name=None, is_dry_run=False, as_json=False, on_conflict="keep"
    )
    result = store(asked, device, FileSource(path), FileLayout(PROFILE, tuple(COLUMNS), ()), None)
    assert result.is_unavailable
    assert len(stored(own_writer(), device.device_id)) == result.report.stored <= 100


def test_a_reading_that_a_device_is_told_is_there_already_is_on_the_disk(
    own_writer, path, device_id, telemetry
):
    importing, live = own_writer(), own_writer()
    (series,) = ensure_series(live, [(device_id, "power")]).values()

    def send(minute: int) -> list[int]:
        at = 1_709_251_200_000_000 + minute * 60_000_000
        batch = Batch(np.array([series], np.int32), np.array([at]), np.array([float(minute)]))
        return write_batch(live, batch).tolist()

    # The connection's first duplicate creates a table, and that alone would wait for the disk.
    assert [send(-1), send(-1)] == [[Outcome.STORED], [Outcome.DUPLICATE]]
    with closing(begin(importing, path, next(_numbers), device_id, lease=1)) as run:
        assert run.step()
        ((written,),) = live.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
        assert send(0) == [Outcome.DUPLICATE]
        assert live.execute("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", [written]).fetchone() == (
            True,
        )
