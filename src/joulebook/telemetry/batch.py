"""A batch of readings in columns, its bytes for PostgreSQL's binary COPY, and the check of its order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.binary import POSTGRES_EPOCH, copy_bytes, empty_rows, row_type

_READING_FIELDS = (("time", ">i8"), ("value", ">f8"), ("series_id", ">i4"), ("import_id", ">i4"))
READING_COLUMNS = ("time", "value", "series_id", "import_id")
"""The order of columns in `Batch.copy_bytes`, to be named in the COPY statement."""

_READING_ROW = row_type(_READING_FIELDS)
_STAGED_ROW = row_type((*_READING_FIELDS, ("row", ">i4")))


@dataclass(frozen=True)
class Batch:
    """Readings as three columns of equal length.

    `series_id` are ids of `series`; `time` is microseconds since 1970 UTC; `value` is finite.
    """

    series_id: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.series_id) == len(self.time) == len(self.value):
            raise ValueError(
                f"columns differ in length: {len(self.series_id)}, {len(self.time)}, {len(self.value)}"
            )

    def __len__(self) -> int:
        return len(self.time)

    @classmethod
    def concat(cls, batches: Iterable[Batch]) -> Batch:
        """Return the batches one after the other as one."""
        parts = list(batches)
        if len(parts) == 1:
            return parts[0]
        return cls(
            series_id=np.concatenate([part.series_id for part in parts] or [np.empty(0, np.int32)]),
            time=np.concatenate([part.time for part in parts] or [np.empty(0, np.int64)]),
            value=np.concatenate([part.value for part in parts] or [np.empty(0, np.float64)]),
        )

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Batch:
        """Return the rows selected by an index array, a mask or a slice."""
        return Batch(series_id=self.series_id[rows], time=self.time[rows], value=self.value[rows])

    def copy_bytes(self, *, import_id: int) -> bytes:
        """Return the batch as COPY … (FORMAT BINARY) for the columns `READING_COLUMNS`."""
        return copy_bytes(self._rows(_READING_ROW, import_id=import_id))

    def staged_copy_bytes(self, *, import_id: int) -> bytes:
        """Return the batch as `copy_bytes` does, with each row's number as a fifth column `row`."""
        rows = self._rows(_STAGED_ROW, import_id=import_id)
        rows["row"] = np.arange(len(self), dtype=np.int32)
        return copy_bytes(rows)

    def _rows(self, layout: np.dtype[np.void], *, import_id: int) -> NDArray[np.void]:
        rows = empty_rows(layout, len(self))
        rows["time"] = self.time - POSTGRES_EPOCH
        rows["value"] = self.value
        rows["series_id"] = self.series_id
        rows["import_id"] = import_id
        return rows


def are_in_order(series_id: NDArray[np.int32], time: NDArray[np.int64], *, are_distinct: bool) -> bool:
    """Return whether rows are sorted by series and time; with `are_distinct`, also without equal ones."""
    is_later = time[1:] > time[:-1] if are_distinct else time[1:] >= time[:-1]
    rising = (series_id[1:] > series_id[:-1]) | ((series_id[1:] == series_id[:-1]) & is_later)
    return bool(rising.all())
