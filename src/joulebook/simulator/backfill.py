"""Writes a home's past readings into the database, up to an instant, and continues after an interruption.

The database itself says how far each series goes within each week: an interrupted write is completed, and a
finished one costs a few look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from joulebook.simulator.clock import BLOCK
from joulebook.simulator.devices import DEVICE_KINDS, SimulatedMetric
from joulebook.simulator.home import Home, HomeState
from joulebook.simulator.noise import Floats, Ints
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

WINDOW = 7 * 86_400
"""Seconds written together, series after series: a chunk of the hypertable, so its key stays dense."""

_ROWS = 100_000  # of one batch
_NEWEST = "SELECT max(time) FROM readings WHERE series_id = %s AND time >= %s AND time < %s"


@dataclass(frozen=True)
class _Missing:
    """Seconds [start, end) of one series to be written, at every `metric.step`th second."""

    series_id: int
    metric: SimulatedMetric
    start: int
    end: int

    def __len__(self) -> int:
        return max(0, -(-(self.end - self.start) // self.metric.step))


Told = Callable[[int, int], None]
"""Called with the count of readings written, and the count to write in all."""


class Backfill:
    """The past of one home with its three devices, to be written with progress."""

    def __init__(self, conn: Connection, home: Home, device_ids: Sequence[str]) -> None:
        """`conn` has the writer's rights; `device_ids` are battery, roof and grid meter."""
        self._conn = conn
        self._home = home
        metrics = [
            (device_id, metric)
            for device_id, kind in zip(device_ids, DEVICE_KINDS, strict=True)
            for metric in kind.metrics
        ]
        ids = ensure_series(conn, [(device_id, metric.name) for device_id, metric in metrics])
        self._series = sorted((ids[device_id, metric.name], metric) for device_id, metric in metrics)

    def run(self, states: Sequence[HomeState], *, start: int, end: int, told: Told) -> HomeState:
        """Write what is missing in [start, end), in seconds since 1970 UTC; return the home's state at `end`.

        `states` are known states of the home; the first is not after `start`, and the later ones save the
        simulation of the time before them. Only the end of each series within a week counts: gaps from an
        outage of the simulator stay.
        """
        # Cut at the borders of chunks: whole weeks since 1970.
        borders = range((start // WINDOW + 1) * WINDOW, end, WINDOW)
        windows = [self._missing(low, high) for low, high in pairwise([start, *borders, end])]
        total = sum(len(part) for window in windows for part in window)
        written = 0
        for window in windows:
            if any(window):
                begin = min(part.start for part in window if part)
                columns = _Columns(self._home, _latest(states, begin), window)
                for part in window:
                    for batch in columns.batches(part):
                        write_batch(self._conn, batch)
                        written += len(batch)
                        told(written, total)
                states = [*states, columns.state]
        return self._home.seek(_latest(states, end), end)

    def _missing(self, start: int, end: int) -> list[_Missing]:
        """Return each series' seconds in [start, end) after its newest reading there."""
        span = [from_microseconds(second * 1_000_000) for second in (start, end)]
        parts = []
        for series_id, metric in self._series:
            with translated_errors():
                row = self._conn.execute(_NEWEST, (series_id, *span)).fetchone()
            newest = row[0] if row else None
            begin = start
            if isinstance(newest, datetime):
                begin = max(start, to_microseconds(newest) // 1_000_000 + 1)
            parts.append(_Missing(series_id, metric, -(-begin // metric.step) * metric.step, end))
        return parts


class _Columns:
    """A home's values in one window: a column for each series, and the state at its last block."""

    def __init__(self, home: Home, state: HomeState, parts: Sequence[_Missing]) -> None:
        begin = min(part.start for part in parts if len(part))
        end = max(part.end for part in parts)
        state = home.seek(state, begin)
        self._start = state.block * BLOCK
        columns: dict[int, list[Floats]] = {part.series_id: [] for part in parts}
        while state.block * BLOCK < end:
            self.state = state
            block, state = home.advance(state)
            for part in parts:
                columns[part.series_id].append(part.metric.values(block)[:: part.metric.step].copy())
        self._columns = {series_id: np.concatenate(pieces) for series_id, pieces in columns.items()}

    def batches(self, part: _Missing) -> Iterator[Batch]:
        """Yield the part's readings in order of time."""
        step = part.metric.step
        column = self._columns[part.series_id]
        for low in range(part.start, part.end, step * _ROWS):
            seconds: Ints = np.arange(low, min(part.end, low + step * _ROWS), step, dtype=np.int64)
            yield Batch(
                series_id=np.full(len(seconds), part.series_id, dtype=np.int32),
                time=seconds * 1_000_000,
                value=column[(seconds - self._start) // step],
            )


def _latest(states: Sequence[HomeState], second: int) -> HomeState:
    """Return the newest state with a block begun by `second`."""
    return max((state for state in states if state.block * BLOCK <= second), key=lambda state: state.block)
