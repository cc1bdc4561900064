"""What an edit would change, without storing it; and every answer as it would be after the edit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.corrections.edits import Edit, EditKind
from joulebook.telemetry.corrections.run import EditSlice
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.rollups.state import read_state

MOST_PREVIEWED = 20_000
"""Changed readings of a whole preview; of more only this many are counted."""

MOST_EXAMPLES = 20

# No correction has it.
_NO_NUMBER = 2**31 - 1

_SET = "SELECT set_config(%(name)s, %(value)s, true)"


@dataclass(frozen=True)
class ChangedReading:
    """One reading of a preview: its time and value before and after; None where there is none."""

    time: int | None
    value: float | None
    new_time: int | None
    new_value: float | None


@dataclass(frozen=True)
class SeriesPreview:
    """What an edit would change in one series; `is_cut` if it would change more than was looked at."""

    changed: int
    conflicts: int
    examples: list[ChangedReading]
    is_cut: bool


@dataclass
class EditPreview:
    """What an edit would change, by series; `rows` are the edited readings (series, time, value) after it."""

    edit: Edit
    series: dict[int, SeriesPreview] = field(default_factory=dict)
    rows: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether everything that would change was looked at."""
        return not any(each.is_cut for each in self.series.values())

    @property
    def changed(self) -> int:
        """The number of readings that would change."""
        return sum(each.changed for each in self.series.values())

    def extent(self) -> tuple[int, int]:
        """Return the half-open time with changes, in microseconds since 1970 UTC."""
        times = [time for _, time, _ in self.rows]
        if self.edit.kind is EditKind.FILL:
            return (min(times), max(times) + 1) if times else (self.edit.start, self.edit.start)
        return min([self.edit.start, *times]), max([self.edit.end, *(time + 1 for time in times)])


def preview_edit(conn: Connection, edit: Edit, *, most: int = MOST_PREVIEWED) -> EditPreview:
    """Return what the edit would change now. `conn` may read, and is inside one snapshot."""
    preview = EditPreview(edit)
    writable_from = read_state(conn).writable_from
    left = most
    for series in edit.series_ids:
        part = EditSlice(conn, _NO_NUMBER, edit, series, most=left + 1, writable_from=writable_from)
        found = _changes(part, edit, series)
        is_cut = len(found) > left
        found = found[:left]
        left -= len(found)
        changed = [each for each in found if (each.time, each.value) != (each.new_time, each.new_value)]
        conflicts = len(part.conflicts) if edit.kind is EditKind.SHIFT else 0
        preview.series[series] = SeriesPreview(
            len(found) - conflicts, conflicts, sorted(changed, key=_when)[:MOST_EXAMPLES], is_cut
        )
        preview.rows += [
            (series, each.new_time, each.new_value)
            for each in found
            if each.new_time is not None and each.new_value is not None
        ]
    return preview


def _when(each: ChangedReading) -> int:
    return each.new_time or 0 if each.time is None else each.time


def _changes(part: EditSlice, edit: Edit, series: int) -> list[ChangedReading]:
    if edit.kind is EditKind.FILL:
        added, _ = part.fill(None)
        return [ChangedReading(None, None, time, value) for time, value in added]
    rows, _ = part.rows(None)
    if edit.kind is EditKind.SHIFT:
        moved = {original.shown_at: target for original, target, _ in part.moves(rows)}
        return [ChangedReading(row.time, row.value, moved.get(row.time, row.time), row.value) for row in rows]
    found = []
    for row in rows:
        after = edit.value_after(series, row.value)
        is_gone = math.isnan(after)
        found.append(
            ChangedReading(row.time, row.value, None if is_gone else row.time, None if is_gone else after)
        )
    return found


@contextmanager
def edited(conn: Connection, preview: EditPreview) -> Iterator[None]:
    """Let every statement inside see the readings after the edit, which must be a whole preview.

    `conn` is inside one snapshot, that of the preview.
    """
    edit = preview.edit
    hidden = [] if edit.kind is EditKind.FILL else list(edit.series_ids)
    marks = _marks(preview)
    values = {
        "series": _array(map(str, hidden)),
        "from": str(from_microseconds(edit.start)),
        "to": str(from_microseconds(edit.end)),
        "points": _instants(edit.points),
        "row_series": _array(str(series) for series, _, _ in preview.rows),
        "row_times": _instants(time for _, time, _ in preview.rows),
        "row_values": _array(repr(value) for _, _, value in preview.rows),
        "mark_series": _array(str(series) for series, _, _ in marks),
        "mark_from": _instants(begin for _, begin, _ in marks),
        "mark_to": _instants(end for _, _, end in marks),
    }
    for name, value in values.items():
        conn.execute(_SET, {"name": f"joulebook.edited_{name}", "value": value})
    before = conn.execute("SHOW search_path").fetchone()
    conn.execute(_SET, {"name": "search_path", "value": "edited, public"})
    try:
        yield
    finally:
        if not conn.closed and not conn.broken:
            conn.execute(_SET, {"name": "search_path", "value": str(before[0]) if before else "public"})


def _marks(preview: EditPreview) -> list[tuple[int, int, int]]:
    """Return the time with changes by series, as marks for the rollups would have it."""
    edit = preview.edit
    marks = [(series, time, time + 1) for series in edit.series_ids for time in edit.points]
    if not edit.points:
        marks = [(series, edit.start, edit.end) for series in edit.series_ids]
    if edit.kind is EditKind.SHIFT:
        marks += [(series, begin + edit.by, end + edit.by) for series, begin, end in marks]
    return [(series, max(begin, 0), end) for series, begin, end in marks if end > 0]


def _array(items: Iterator[str] | map[str]) -> str:
    return "{" + ",".join(items) + "}"


def _instants(times: object) -> str:
    return _array(f'"{from_microseconds(time)}"' for time in times)  # type: ignore[attr-defined]
