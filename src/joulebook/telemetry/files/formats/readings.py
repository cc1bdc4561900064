"""Readings as the CSV of a format that leaves nothing open: rows under `READINGS_HEADER`, in chunks."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

from joulebook.telemetry.files.formats.csv_chunks import CsvChunks
from joulebook.telemetry.files.formats.format import READINGS_HEADER
from joulebook.telemetry.files.table import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReadingsWriter:
    """Collects rows until they are a chunk."""

    def __init__(self) -> None:
        self._rows = CsvChunks(READINGS_HEADER + "\n")

    def add(self, line: int, time: datetime | str, metric: str, unit: str, kind: str, value: str) -> None:
        """Add a reading; a `time` that is no instant is counted as malformed, and an empty value as none."""
        text = time if isinstance(time, str) else time.isoformat()
        self._rows.write((line, text, metric, unit, kind, value))

    def add_broken(self, line: int, text: str, metric: str, unit: str, kind: str) -> None:
        """Add a record without a readable time: its text is counted as malformed."""
        self.add(line, shown(text) or "(nothing)", metric, unit, kind, "")

    def chunk(self) -> bytes:
        """Return the rows if they are enough for a chunk, else nothing."""
        return self.rest() if self._rows.is_full else b""

    def rest(self) -> bytes:
        """Return the rows not yet returned."""
        return self._rows.taken()


class MetricNames:
    """Gives each series of a file a name of its own, the same for the same file."""

    def __init__(self) -> None:
        self._names: dict[Hashable, str] = {}

    def name(self, series: Hashable, *wanted: str) -> str:
        """Return the name of a series: the first of `wanted` that no other has, or the last with a number."""
        if series not in self._names:
            taken = set(self._names.values())
            numbered = (f"{wanted[-1]} {number}" for number in range(2, len(taken) + 3))
            self._names[series] = next(name for name in (*wanted, *numbered) if name not in taken)
        return self._names[series]


def from_seconds(text: str) -> datetime | str:
    """Return the instant of seconds since 1970 UTC, or the text itself if it is none."""
    try:
        return _EPOCH + timedelta(seconds=int(text))
    except (ValueError, OverflowError):
        return shown(text)
