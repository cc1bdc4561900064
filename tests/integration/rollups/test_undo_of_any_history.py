"""Undoing imports in any order, over any history, gives what would be there had they never been.

The oracle knows nothing of the database: for each reading it keeps a pile of who put which value there,
and undoing an import takes that import's values out of all piles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.imports.undo import UndoRun
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
# From some days before what is closed to some days behind it, over the edge between two chunks.
PLACES = [to_microseconds(CLOSED + timedelta(hours=17 * (place - 5), seconds=place)) for place in range(9)]
METRICS = ("power", "energy")
PROFILE = ImportProfile(
    time_columns=("t",),
    time_formats=("%Y-%m-%dT%H:%M:%S",),
    values=tuple(ValueColumn(metric, metric) for metric in METRICS),
)
DEVICE = "meter"

Key = tuple[int, int]
Cell = tuple[Key, float]
OnConflict = Literal["keep", "replace"]

keys = st.tuples(st.integers(0, 1), st.integers(0, len(PLACES) - 1))
cells = st.lists(st.tuples(keys, st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=12)
on_conflicts = st.sampled_from(["keep", "replace"])
steps = st.one_of(
    st.tuples(st.just("live"), cells, on_conflicts),
    st.tuples(st.just("import"), cells, on_conflicts, st.sampled_from([2, 4, 100])),
    st.tuples(st.just("again"), st.integers(0, 9), on_conflicts),
    st.tuples(st.just("undo"), st.integers(0, 9), st.sampled_from([1, 3, 100])),
    st.tuples(st.just("roll"), st.integers(0, 12)),
)


def together(written: list[Cell], on_conflict: OnConflict) -> list[Cell]:
    """What counts of cells that are written at once: with "replace" the last of equal keys, and it alone."""
    return list(dict(written).items()) if on_conflict == "replace" else written


def blocks_of(written: list[Cell], block_readings: int) -> Iterator[list[Cell]]:
    """The cells as they are stored together: a line each, two readings wide; the header is the first."""
    lines = max(1, block_readings // len(METRICS))
    for end in range(lines - 1, len(written) + lines, lines):
        yield written[max(0, end - lines) : end]


@dataclass
class Oracle:
    """The piles by key, from the bottom up: who put a value there, 0 for live ones."""

    piles: dict[Key, list[tuple[int, float]]] = field(default_factory=dict)

    def write(self, written: list[Cell], who: int, on_conflict: OnConflict) -> None:
        for key, value in written:
            pile = self.piles.setdefault(key, [])
            if not pile:
                pile.append((who, value))
            elif on_conflict == "replace" and pile[-1][1] != value:
                pile[:] = [layer for layer in pile if layer[0] != who]
                pile.append((who, value))

    def undo(self, who: int) -> None:
        for pile in self.piles.values():
            pile[:] = [layer for layer in pile if layer[0] != who]

    def shown(self) -> dict[Key, float]:
        return {key: pile[-1][1] for key, pile in self.piles.items() if pile}


@dataclass
class History:
    """The database, the oracle, and the imports that were run."""

    database: object
    folder: Path
    oracle: Oracle = field(default_factory=Oracle)
    files: list[list[Cell]] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.database.clear(CLOSED)  # type: ignore[attr-defined]
        self.conn = self.database.writer  # type: ignore[attr-defined]
        found = ensure_series(self.conn, [(DEVICE, metric) for metric in METRICS])
        self.series = [found[DEVICE, metric] for metric in METRICS]

    def live(self, written: list[Cell], on_conflict: OnConflict) -> None:
        batch = Batch(
            np.array([self.series[metric] for (metric, _), _ in written], np.int32),
            np.array([PLACES[place] for (_, place), _ in written], np.int64),
            np.array([value for _, value in written]),
        )
        write_batch(self.conn, batch, replace=on_conflict == "replace")
        self.oracle.write(together(written, on_conflict), 0, on_conflict)

    def begin(
        self, written: list[Cell], number: int, on_conflict: OnConflict, block_readings: int
    ) -> ImportRun:
        path = self.folder / f"{number}.csv"
        lines = [
            f"{from_microseconds(PLACES[place]):%Y-%m-%dT%H:%M:%S}," + ("," * metric) + f"{value}" + "," * (1 - metric)
            for (metric, place), value in written
        ]  # fmt: skip
        path.write_text("t,power,energy\n" + "\n".join(lines) + "\n")
        return ImportRun(
            self.conn, FileSource(path), PROFILE, ("t", *METRICS), import_id=number, lease=1, device_id=DEVICE,
            most_metrics=10, on_conflict=on_conflict, now=to_microseconds(CLOSED) * 2,
            block_readings=block_readings,
        )  # fmt: skip

    def import_(self, written: list[Cell], on_conflict: OnConflict, block_readings: int = 4) -> None:
        number = len(self.files) + 1
        run = self.begin(written, number, on_conflict, block_readings)
        with closing(run):
            while run.step():
                pass
        report = run.report
        assert report.readable == report.stored + report.replaced + report.duplicate + report.conflict
        assert report.readable == len(written)
        self.files.append(written)
        for block in blocks_of(written, block_readings):
            self.oracle.write(together(block, on_conflict), number, on_conflict)

    def undo(self, number: int, slice_readings: int) -> None:
        run = UndoRun(self.conn, import_id=number, lease=2, slice_readings=slice_readings)
        while run.step():
            pass
        self.undone.add(number)
        self.oracle.undo(number)
        assert run.kept == 0

    def check(self) -> None:
        rows = self.conn.execute("SELECT series_id, time, value, import_id FROM readings").fetchall()
        stored = {
            (self.series.index(series), PLACES.index(to_microseconds(time))): value
            for series, time, value, _ in rows
        }
        assert stored == self.oracle.shown()
        assert not {row[3] for row in rows} & self.undone
        assert verify_all(self.conn, 0, 1 << 60).differing == 0

    def check_rollups(self) -> None:
        self.database.roll_all()  # type: ignore[attr-defined]
        assert self.database.differing() == []  # type: ignore[attr-defined]
        assert self.database.marks() == 0  # type: ignore[attr-defined]


def play_and_undo_all(rollup_database, folder: Path, history: list[tuple], random) -> None:
    play = History(rollup_database, folder)
    for kind, *what in history:
        standing = [n for n in range(1, len(play.files) + 1) if n not in play.undone]
        if kind == "live":
            play.live(*what)
        elif kind == "import":
            play.import_(*what)
        elif kind == "again" and play.files:
            play.import_(play.files[what[0] % len(play.files)], what[1])
        elif kind == "undo" and standing:
            play.undo(standing[what[0] % len(standing)], what[1])
            play.check()
        elif kind == "roll":
            rollup_database.roller.close(CLOSED + timedelta(hours=6 * what[0]))
            rollup_database.roller.roll()
    play.check()
    # All of them, in an order of no meaning: what is left is what was live.
    standing = [n for n in range(1, len(play.files) + 1) if n not in play.undone]
    random.shuffle(standing)
    for number in standing:
        play.undo(number, 100)
        play.check()
    play.check_rollups()
    assert rollup_database.writer.execute("SELECT count(*) FROM import_replaced").fetchone() == (0,)


histories = st.lists(steps, min_size=4, max_size=12)
randoms = st.randoms(use_true_random=False)
quick = settings(
    deadline=None, max_examples=12, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@quick
@example(
    # The first file's values lie under the second's, and above live ones, when it is taken out.
    history=[
        ("live", [((0, 0), 1.0), ((0, 7), 1.0)], "keep"),
        ("import", [((0, 0), 2.0), ((0, 7), 2.0), ((1, 3), 2.0)], "replace", 100),
        ("import", [((0, 0), 3.0), ((0, 7), 3.0), ((1, 3), 3.0)], "replace", 100),
        ("undo", 0, 1),
        ("undo", 0, 100),
    ],
    random=Random(1),
)
@example(
    # The first file comes again while the second's values lie on its own; then live ones lie on all.
    history=[
        ("import", [((0, 2), 1.0)], "keep", 100),
        ("import", [((0, 2), 2.0), ((0, 2), 3.0), ((1, 8), 1.0)], "replace", 2),
        ("again", 0, "replace"),
        ("live", [((1, 8), 2.0)], "replace"),
        ("roll", 12),
        ("undo", 1, 3),
        ("undo", 1, 3),
    ],
    random=Random(2),
)
@given(history=histories, random=randoms)
def test_after_every_undo_readings_are_as_if_that_import_had_never_been(
    rollup_database, tmp_path, history, random
):
    play_and_undo_all(rollup_database, tmp_path, history, random)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(quick, max_examples=300, phases=tuple(Phase))
@given(history=histories, random=randoms)
def test_after_every_undo_of_many_histories_readings_are_as_if_that_import_had_never_been(
    rollup_database, tmp_path, history, random
):
    play_and_undo_all(rollup_database, tmp_path, history, random)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_an_import_that_overwrites_what_another_one_has_put_on_it_lies_in_the_pile_once(
    rollup_database, tmp_path, order
):
    play = History(rollup_database, tmp_path)
    play.live([((0, 1), 1.0)], "keep")
    files = {
        1: [((0, 1), 2.0), ((1, 1), 2.0), ((0, 1), 1.0), ((1, 1), 5.0)],
        2: [((0, 1), 3.0), ((1, 1), 3.0)],
    }
    # Blocks of one line; the second file comes between the two halves of the first.
    first, second = (play.begin(files[number], number, "replace", 2) for number in files)
    with closing(first), closing(second):
        assert first.step()
        assert first.step()
        while second.step():
            pass
        while first.step():
            pass
    play.oracle.write(files[1][:2], 1, "replace")
    play.oracle.write(files[2], 2, "replace")
    play.oracle.write(files[1][2:], 1, "replace")
    play.check()
    for number in order:
        play.undo(number, 100)
        play.check()
    assert rollup_database.writer.execute("SELECT count(*) FROM import_replaced").fetchone() == (0,)
