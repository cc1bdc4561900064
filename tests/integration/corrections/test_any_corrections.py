"""Random corrections of every kind and their undos, in any order, beside writers and imports."""

from __future__ import annotations

import math
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.corrections.edits import Edit, EditKind, SeriesEdit
from joulebook.telemetry.corrections.run import CorrectionRun, CorrectionUndo
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.imports.undo import UndoRun
from joulebook.telemetry.readings import MINUTE, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome, write_batch

from .correction_model import Model

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
STEP = 15 * MINUTE
FIRST = to_microseconds(CLOSED - timedelta(hours=6))
# Before what is closed and behind it, over the edge between two chunks.
PLACES = 40
METRICS = ("energy", "power")
PROFILE = ImportProfile(
    time_columns=("t",),
    time_formats=("%Y-%m-%dT%H:%M:%S",),
    values=tuple(ValueColumn(metric, metric) for metric in METRICS),
)
KINDS = ("delete", "delete", "set", "scale", "scale", "shift", "shift", "fill")


class Play:
    """The database and the model, and one random step after the other in both."""

    def __init__(self, database, folder: Path, random: Random) -> None:
        self.database, self.folder, self.random = database, folder, random
        self.conn = database.writer
        found = ensure_series(self.conn, [("meter", metric) for metric in METRICS])
        self.series = [found["meter", metric] for metric in METRICS]
        self.model = Model()
        self.corrections = 0
        self.imports = 0
        self.standing: set[int] = set()
        self.standing_imports: set[int] = set()
        self.edits: dict[int, Edit] = {}

    def place(self) -> int:
        return FIRST + self.random.randrange(PLACES) * STEP

    def value(self) -> float:
        return self.random.choice([0.0, 1.0, -2.5, 0.1, 99999.0, self.random.uniform(-1e3, 1e3)])

    def step(self) -> None:
        kind = self.random.choices(
            ["live", "import", "undo import", "correct", "undo", "roll", "again"], [3, 1, 1, 6, 5, 1, 2]
        )[0]
        {
            "live": self.live,
            "import": self.import_,
            "undo import": self.undo_import,
            "correct": self.correct,
            "undo": self.undo,
            "roll": self.roll,
            "again": self.send_again,
        }[kind]()

    def live(self) -> None:
        replace = self.random.random() < 0.3
        keys = {(self.random.choice(self.series), self.place()) for _ in range(self.random.randrange(1, 12))}
        rows = [(*key, self.value()) for key in sorted(keys)]
        self.write(rows, replace=replace)

    def send_again(self) -> None:
        """Send what was sent before: nothing of it is stored anew."""
        sent = [(*each.key, each.pile[0][1]) for each in self.model.readings.values()]
        outcomes = self.write(sent, replace=False)
        assert "stored" not in outcomes

    def write(self, rows: list[tuple[int, int, float]], *, replace: bool) -> list[str]:
        batch = Batch(
            np.array([row[0] for row in rows], np.int32),
            np.array([row[1] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float64),
        )
        outcomes = [Outcome(each).name.lower() for each in write_batch(self.conn, batch, replace=replace)]
        expected = [self.model.write(row[:2], row[2], 0, replace=replace) for row in rows]
        assert outcomes == expected
        return outcomes

    def import_(self) -> None:
        self.imports += 1
        replace = self.random.random() < 0.6
        rows = {
            (metric, self.place()): self.value()
            for metric in (0, 1)
            for _ in range(self.random.randrange(1, 10))
        }
        path = self.folder / f"{self.imports}.csv"
        lines = [
            f"{from_microseconds(time):%Y-%m-%dT%H:%M:%S}," + "," * metric + repr(value) + "," * (1 - metric)
            for (metric, time), value in rows.items()
        ]
        path.write_text("t,energy,power\n" + "\n".join(lines) + "\n")
        run = ImportRun(
            self.conn, FileSource(path), PROFILE, ("t", *METRICS), import_id=self.imports, lease=1,
            device_id="meter", most_metrics=10, on_conflict="replace" if replace else "keep",
            now=to_microseconds(CLOSED) * 2,
        )  # fmt: skip
        with closing(run):
            while run.step():
                pass
        expected = [
            self.model.write((self.series[metric], time), value, self.imports, replace=replace)
            for (metric, time), value in rows.items()
        ]
        report = run.report
        found = [report.stored, report.replaced, report.duplicate, report.conflict]
        assert found == [expected.count(each) for each in ("stored", "replaced", "duplicate", "conflict")]
        self.standing_imports.add(self.imports)

    def undo_import(self) -> None:
        if not self.standing_imports:
            return
        number = self.random.choice(sorted(self.standing_imports))
        self.standing_imports.discard(number)
        run = UndoRun(self.conn, import_id=number, lease=2, slice_readings=self.random.choice([3, 100]))
        while run.step():
            pass
        self.model.undo_import(number)

    def correct(self) -> None:
        self.corrections += 1
        number, random = self.corrections, self.random
        series = random.choice([self.series[:1], self.series[1:], self.series])
        kind = random.choice(KINDS)
        start = self.place() - random.choice([0, 1])
        end = start + random.randrange(1, PLACES) * STEP // random.choice([1, 4])
        points: tuple[int, ...] = ()
        if kind != "fill" and random.random() < 0.3:
            points = tuple(sorted({self.place() for _ in range(random.randrange(1, 5))}))
            start, end = points[0], points[-1] + 1
        factor, offset = random.choice([0.001, 1000.0, -1.0, 1e60, 1e-60]), random.choice([0.0, 7.25])
        value = None if kind == "fill" and random.random() < 0.6 else self.value()
        by = random.choice([-1, 1]) * random.choice([STEP, 3 * STEP, 4 * STEP, 1, STEP // 2])
        step = random.choice([STEP, STEP // 2, 4 * STEP])
        edit = Edit(
            EditKind(kind),
            {each: SeriesEdit(str(each), value=value, offset=offset) for each in series},
            start,
            end,
            points=points,
            factor=factor,
            by=by if kind == "shift" else 0,
            step=step if kind == "fill" else 0,
        )
        expected = self.model.correct(
            number,
            {
                "kind": kind, "series": series, "start": start, "end": end, "points": set(points), "value": value,
                "factor": factor, "offset": offset, "by": by, "step": step,
            },
        )  # fmt: skip
        run = CorrectionRun(
            self.conn,
            number=number,
            lease=1,
            identity="x",
            edit=edit,
            slice_readings=random.choice([2, 5, 1000]),
        )
        while run.step():
            pass
        counts = run.report.values()
        assert (sum(c["changed"] for c in counts), sum(c["conflicts"] for c in counts)) == expected
        self.edits[number] = edit
        self.standing.add(number)

    def undo(self, number: int = 0) -> None:
        if not self.standing:
            return
        number = number or self.random.choice(sorted(self.standing))
        self.standing.discard(number)
        run = CorrectionUndo(
            self.conn, number=number, lease=2, identity="x", edit=self.edits[number],
            slice_readings=self.random.choice([1, 3, 1000]),
        )  # fmt: skip
        while run.step():
            pass
        self.model.undo(number)

    def roll(self) -> None:
        self.database.roller.close(CLOSED + timedelta(hours=self.random.randrange(8)))
        self.database.roll_all()

    def differing(self) -> int:
        """Return the number of readings and taken keys at which database and model differ."""
        rows = self.conn.execute(
            "SELECT series_id, time, value FROM readings WHERE series_id = ANY(%s)", [self.series]
        ).fetchall()
        stored = {(series, to_microseconds(time)): value for series, time, value in rows}
        shown = {key: value for key, value in stored.items() if not math.isnan(value)}
        return len(shown.items() ^ self.model.shown().items()) + len(stored.keys() ^ self.model.taken())


def play(database, folder: Path, *, corrections: int, seed: int) -> int:
    """Play until so many corrections were made, then undo all; return the differences found on the way."""
    game = Play(database, folder, Random(seed))
    differing = 0
    with beside_writers(database):
        while game.corrections < corrections:
            game.step()
            differing += game.differing()
            if len(game.standing) > 30:
                game.undo()
        game.roll()
        differing += len(database.differing())
        differing += verify_all(database.writer, 0, 1 << 60).differing
        standing = sorted(game.standing)
        game.random.shuffle(standing)
        for number in standing:
            game.undo(number)
            differing += game.differing()
    game.roll()
    differing += len(database.differing())
    for table in ("corrected_readings", "correction_steps"):
        (left,) = game.conn.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert left == 0
    return differing


class beside_writers:  # noqa: N801 - reads as a sentence
    """Other writers at work on the same device meanwhile, at times of their own and with a roller of theirs."""

    def __init__(self, database) -> None:
        self.database = database
        self.stopping = threading.Event()
        self.failed: list[BaseException] = []

    def __enter__(self) -> None:
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(2)]
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.failed

    def run(self, number: int) -> None:
        try:
            with connect(self.database.urls["writer"]) as conn:
                [series] = ensure_series(conn, [("meter", f"beside.{number}")]).values()
                at = FIRST
                while not self.stopping.wait(0.01):
                    times = np.arange(at, at + 50 * STEP, STEP)
                    batch = Batch(np.full(50, series, np.int32), times, np.arange(50.0) + number)
                    assert set(write_batch(conn, batch, replace=True)) <= {0, 1, 3}
                    at += 40 * STEP
        except BaseException as exc:
            self.failed.append(exc)
            raise


@pytest.mark.timeout(900)
def test_sixty_random_corrections_and_their_undos_leave_readings_as_the_slow_model_says(database, tmp_path):
    assert play(database, tmp_path, corrections=60, seed=1) == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_random_corrections_and_their_undos_leave_readings_as_the_slow_model_says(
    database, tmp_path, capsys
):
    differing = play(database, tmp_path, corrections=2000, seed=2026)
    with capsys.disabled():
        sys.stdout.write(f"\ncorrections: 2,000; differing: {differing}\n")
    assert differing == 0
