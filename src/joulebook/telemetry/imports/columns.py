"""The series of each value column of a file, found or created when the column first has a value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.series import ensure_series

OVER_CAP = -1
"""In place of a series: the device has as many metrics as it may."""

_UNKNOWN = 0


class SeriesOfColumns:
    """Series ids by the index of value columns, for one device unless a column names another."""

    def __init__(
        self, conn: Connection, device_id: str, values: Sequence[ValueColumn], *, most_metrics: int
    ) -> None:
        self._conn = conn
        self._device_id = device_id
        self._given = len(values)
        self._keys = [(value.device or device_id, value.metric) for value in values]
        self._most_metrics = most_metrics
        self._ids = np.full(len(values), _UNKNOWN, np.int32)

    def add(self, added: Sequence[ValueColumn]) -> None:
        """Take in the values that the file's keys have added so far."""
        new = added[len(self._keys) - self._given :]
        if new:
            self._keys += [(value.device or self._device_id, value.metric) for value in new]
            self._ids = np.append(self._ids, np.full(len(new), _UNKNOWN, np.int32))

    def ids(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the series ids by column; those of `columns` are known, or `OVER_CAP`.

        Creating one commits on its own, so not inside a transaction. Raises `DatabaseAway`.
        """
        new = [column for column in np.unique(columns).tolist() if self._ids[column] == _UNKNOWN]
        if new:
            found = ensure_series(
                self._conn, [self._keys[column] for column in new], most_per_device=self._most_metrics
            )
            for column in new:
                self._ids[column] = found.get(self._keys[column], OVER_CAP)
        return self._ids
