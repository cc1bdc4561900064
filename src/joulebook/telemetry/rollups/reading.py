"""Reads the summaries that an answer is made of: from rollups where they are true, else from readings.

All of it is seen in one snapshot: what is closed, what is marked, the rollups, and the readings. So an
answer is right at the moment of its first statement, whatever is written or rolled up meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection, one_snapshot
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.telemetry.rollups.marks import MINUTE
from joulebook.telemetry.rollups.plan import READINGS, Range, plan_range, split
from joulebook.telemetry.rollups.spans import Spans
from joulebook.telemetry.rollups.summaries import SUMMARY, Summaries, summarise
from joulebook.telemetry.rollups.tables import SUMMARY_COLUMNS, WIDTHS, read_readings, read_summaries

_CLOSED_UNTIL = "SELECT closed_until FROM rollup_state"
_MARKED = """
SELECT series_id, begins_at, ends_at FROM rollup_dirty
WHERE (series_id = ANY(%(series)s) OR series_id IS NULL) AND ends_at > %(start)s AND begins_at < %(end)s
"""
# A chunk's length: a part of a range that is read at once, so that none is too large to hold.
_PART = 7 * 24 * 60 * MINUTE
_READINGS_TABLE = "readings"


@dataclass(frozen=True)
class Pieces:
    """Summaries in the order of series and time, each within one bucket of the answer.

    `source` is the coarsest table that any of them was looked for in.
    """

    rows: Summaries
    source: str


def read_pieces(
    conn: Connection,
    series: Sequence[int],
    start: int,
    end: int,
    *,
    edges: NDArray[np.int64],
    columns: tuple[str, ...] = SUMMARY_COLUMNS,
    apart: Mapping[int, Sequence[Range]] | None = None,
) -> Pieces:
    """Return what the readings of [start, end) come to, in pieces from which each bucket can be built.

    `edges` are the borders of the answer's buckets: no piece lies on both sides of one. Of the pieces
    that come from rollups only `columns` are filled, of which `bucket` must be one. `apart` names by
    series the ranges whose readings are to be pieces of their own. `conn` is in autocommit.
    """
    step = int(np.gcd.reduce(np.append(edges, 60 * MINUTE)))
    widths = [width for width in WIDTHS if step % width == 0]
    apart = apart or {}
    with one_snapshot(conn):
        closed_until, marked = _state(conn, series, start, end)
        spans: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for each in series:
            blocked = [*marked[None], *marked[each], *apart.get(each, ())]
            plan = plan_range(start, end, closed_until=closed_until, blocked=blocked, widths=widths)
            for width, ranges in plan.items():
                parts_of = split(ranges, _PART) if width == READINGS else ranges
                spans[width] += [(each, *part) for part in parts_of]
        parts = [
            rows
            for width in spans
            if width != READINGS
            for rows in read_summaries(conn, width, Spans.of(spans[width]), columns=columns)
        ]
        parts += _from_readings(
            conn, Spans.of(spans[READINGS]), edges=edges, width=max(widths, default=0), apart=apart
        )
    rows = np.concatenate([np.empty(0, SUMMARY), *parts])
    rows = rows[np.lexsort((rows["bucket"], rows["series_id"]))]
    return Pieces(rows, source=WIDTHS.get(max(spans, default=READINGS), _READINGS_TABLE))


def _state(
    conn: Connection, series: Sequence[int], start: int, end: int
) -> tuple[int, defaultdict[int | None, list[Range]]]:
    """Return until when time is closed, and the marked ranges by series; None stands for all series."""
    ((closed_until,),) = conn.execute(_CLOSED_UNTIL).fetchall()
    limits = {"series": list(series), "start": from_microseconds(start), "end": from_microseconds(end)}
    marked: defaultdict[int | None, list[Range]] = defaultdict(list)
    for series_id, begins_at, ends_at in cast(
        "list[tuple[int | None, datetime, datetime]]", conn.execute(_MARKED, limits).fetchall()
    ):
        marked[series_id].append((to_microseconds(begins_at), to_microseconds(ends_at)))
    return to_microseconds(cast("datetime", closed_until)), marked


def _from_readings(
    conn: Connection,
    spans: Spans,
    *,
    edges: NDArray[np.int64],
    width: int,
    apart: Mapping[int, Sequence[Range]],
) -> list[Summaries]:
    """Return the readings of the spans in pieces of `width`, or of the answer's shorter buckets."""
    parts = []
    for found in read_readings(conn, spans):
        if width:
            # Where a rollup stands between two spans of one bucket, they are two pieces.
            bucket = np.maximum(found.time // width * width, found.begin)
        else:
            bucket = edges[np.searchsorted(edges, found.time, side="right") - 1]
        for series_id, ranges in apart.items():
            for begin, end in ranges:
                alone = (found.series_id == series_id) & (found.time >= begin) & (found.time < end)
                bucket = np.where(alone, found.time, bucket)
        parts.append(summarise(found.series_id, found.time, found.value, bucket))
    return parts
