"""A device with a long past at one reading a second, and others beside it: stored quickly, then rolled up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.influxd import DATABASE, Influxd
from benchmarks.load import Plan, send_all
from benchmarks.stack import Stack
from benchmarks.wires import Http, post
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series

DEVICE = "history_device"
MEASUREMENT = "history"
END = datetime(2026, 1, 1, tzinfo=UTC)
"""Far enough in the past to be rolled up for good, and the same for every run."""

_ZONE = "Europe/Berlin"

_NOTE = "archive"
"""The file that says what is stored in a folder, once all of it is."""

_BLOCK = timedelta(days=7)
_LINES = 10_000
_NEIGHBOURS_STEP = 300
_COPY = "COPY readings (time, value, series_id, import_id) FROM STDIN (FORMAT BINARY)"
_ANY = "SELECT FROM readings WHERE series_id = ANY(%s) LIMIT 1"
_MARK = "INSERT INTO rollup_dirty (begins_at, ends_at) VALUES (%s, %s)"


@dataclass(frozen=True)
class Archive:
    """How long the past is, and how many series, a reading every 5 minutes, lie beside the one asked for."""

    days: int
    neighbours: int

    @property
    def begin(self) -> datetime:
        """The time of the first reading."""
        return END - timedelta(days=self.days)

    def store(self, stack: Stack) -> float | None:
        """Store the readings in the order of their keys and roll them up, where that is not done yet.

        Returns the seconds that rolling up took, or None where nothing was left to do. Raises
        RuntimeError where an earlier run has stored something else, or not all.
        """
        if self._is_stored(stack.home):
            return None
        stack.add_devices([DEVICE], time_zone=_ZONE)
        metrics = ["power", *(f"neighbour_{number}" for number in range(self.neighbours))]
        with connect(stack.writer_url) as conn:
            series = ensure_series(conn, [(DEVICE, metric) for metric in metrics])
            if conn.execute(_ANY, [list(series.values())]).fetchone() is not None:
                raise RuntimeError(f"{stack.home} holds only a part of what is to be read; remove it")
            for begin in self._blocks():
                end = min(begin + _BLOCK, END)
                for number, metric in enumerate(metrics):
                    batch = _batch(series[DEVICE, metric], begin, end, step=_NEIGHBOURS_STEP if number else 1)
                    with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                        copy.write(batch.copy_bytes(import_id=0))
            conn.execute(_MARK, (self.begin, END))
        took = stack.roll_up()
        self._note_stored(stack.home)
        return took

    def store_in(self, influxd: Influxd) -> None:
        """Store the series that is asked for in InfluxDB as well, where it is not there yet.

        Points that an unfinished run has stored are the same ones and just stored again.
        """
        if self._is_stored(influxd.home):
            return
        path = f"/write?db={DATABASE}&precision=s"
        for begin in self._blocks():
            batch = _batch(0, begin, min(begin + _BLOCK, END), step=1)
            times, values = (batch.time // 1_000_000).tolist(), batch.value.tolist()
            lines = [f"{MEASUREMENT} value={value} {at}" for at, value in zip(times, values, strict=True)]
            bodies = ("\n".join(lines[at : at + _LINES]).encode() for at in range(0, len(lines), _LINES))
            send_all(Plan(influxd.port, Http(204), [post(path, body) for body in bodies], connections=4))
        self._note_stored(influxd.home)

    def _is_stored(self, home: Path) -> bool:
        """Tell whether all of this archive is stored there. Raises RuntimeError where another one is."""
        note = home / _NOTE
        if not note.exists():
            return False
        if note.read_text() != str(self):
            raise RuntimeError(f"{home} holds {note.read_text()}, not {self}; give another folder")
        return True

    def _note_stored(self, home: Path) -> None:
        (home / _NOTE).write_text(str(self))

    def _blocks(self) -> list[datetime]:
        return [self.begin + number * _BLOCK for number in range(-(-self.days // _BLOCK.days))]


def _batch(series_id: int, begin: datetime, end: datetime, *, step: int) -> Batch:
    """Return readings every `step` seconds of [begin, end): the same ones whenever they are asked for."""
    first = int(begin.timestamp())
    time = np.arange(first, int(end.timestamp()), step, dtype=np.int64) * 1_000_000
    value = np.random.default_rng([first, series_id]).normal(500, 100, len(time)).round(1)
    return Batch(np.full(len(time), series_id, np.int32), time, value)
