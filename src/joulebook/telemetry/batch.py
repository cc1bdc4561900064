"""A columnar batch of readings, and the bytes that PostgreSQL's binary COPY takes for it.

The format is "Binary Format" in PostgreSQL's documentation of COPY: a header, then for each row the
number of fields and each field as length and value, all big-endian, then a trailer of -1. Rows of
fixed width are one NumPy structured array, so that no Python runs per reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"

# PostgreSQL counts timestamptz in microseconds from 2000-01-01T00:00:00Z.
_POSTGRES_EPOCH = 946_684_800_000_000

_READING_FIELDS = (("time", ">i8"), ("value", ">f8"), ("series_id", ">i4"), ("import_id", ">i4"))
READING_COLUMNS = ("time", "value", "series_id", "import_id")
"""The order of columns in `Batch.copy_bytes`, to be named in the COPY statement."""


def _row_type(fields: Sequence[tuple[str, str]]) -> np.dtype[np.void]:
    """Return the packed row: a count of fields, then a length before each value."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in fields:
        layout += [(f"{name}_length", ">i4"), (name, kind)]
    return np.dtype(layout)


_READING_ROW = _row_type(_READING_FIELDS)
_STAGED_ROW = _row_type((*_READING_FIELDS, ("row", ">i4")))


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
        """Return the rows that an index array, a mask or a slice selects."""
        return Batch(series_id=self.series_id[rows], time=self.time[rows], value=self.value[rows])

    def copy_bytes(self, *, import_id: int) -> bytes:
        """Return the batch as COPY … (FORMAT BINARY) for the columns `READING_COLUMNS`."""
        return _HEADER + self._rows(_READING_ROW, import_id=import_id).tobytes() + _TRAILER

    def staged_copy_bytes(self, *, import_id: int) -> bytes:
        """Return the batch as `copy_bytes` does, with each row's number as a fifth column `row`."""
        rows = self._rows(_STAGED_ROW, import_id=import_id)
        rows["row"] = np.arange(len(self), dtype=np.int32)
        return _HEADER + rows.tobytes() + _TRAILER

    def _rows(self, layout: np.dtype[np.void], *, import_id: int) -> NDArray[np.void]:
        rows = np.empty(len(self), layout)
        names = layout.names or ()
        rows["fields"] = len(names) // 2
        for name in names[2::2]:
            rows[f"{name}_length"] = layout[name].itemsize
        rows["time"] = self.time - _POSTGRES_EPOCH
        rows["value"] = self.value
        rows["series_id"] = self.series_id
        rows["import_id"] = import_id
        return rows
