"""Values replaced by imports, stored beside the readings, so that undoing an import restores them.

Each reading has a pile of values: the first value, and on top of it the value of each import. `readings`
holds the top one. Each import's value above another has one record in `import_replaced`: the value right
below, and the import of that value (0: live). Undoing an import removes its value from the pile. If it was
the top one, the value below is shown again; else the record of the import above takes over the value below
the removed one. So after undoing in any order, the readings are as if the undone imports had never run. Live
values are never removed: values below them do not matter any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from joulebook.telemetry.connection import Connection

_RECORD = """
INSERT INTO import_replaced (import_id, series_id, time, value, replaced_import_id)
SELECT %(import_id)s, stored.series_id, stored.time, stored.value, stored.import_id
FROM readings AS stored
JOIN unnest(%(series_id)s::int[], %(time)s::timestamptz[]) AS new (series_id, time) USING (series_id, time)
WHERE stored.time >= %(oldest)s AND stored.time <= %(newest)s AND stored.import_id <> %(import_id)s
FOR UPDATE OF stored
ON CONFLICT (import_id, series_id, time)
    DO UPDATE SET value = EXCLUDED.value, replaced_import_id = EXCLUDED.replaced_import_id
"""
_IS_COVERED = "SELECT EXISTS (SELECT FROM import_replaced WHERE replaced_import_id = %(import_id)s::int)"
_AMONG: LiteralString = """
    (above.series_id, above.time) IN (
        SELECT * FROM unnest(%(series_id)s::int[], %(time)s::timestamptz[]) AS new (series_id, time))
"""
_BETWEEN: LiteralString = """
    above.series_id = ANY(%(series)s) AND above.time >= %(begin)s AND above.time < %(end)s
"""
_TAKE_OVER: LiteralString = """
UPDATE import_replaced AS above SET value = own.value, replaced_import_id = own.replaced_import_id
FROM import_replaced AS own
WHERE above.replaced_import_id = %(import_id)s::int AND own.import_id = %(import_id)s
  AND own.series_id = above.series_id AND own.time = above.time AND
"""
_LIES_ON_NOTHING: LiteralString = """
DELETE FROM import_replaced AS above WHERE above.replaced_import_id = %(import_id)s::int AND
"""
_FORGET_OLD = """
DELETE FROM import_replaced WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM import_replaced WHERE time < %(before)s LIMIT %(limit)s))
"""
_FORGOTTEN_AT_ONCE = 50_000


def record_replaced(conn: Connection, *, import_id: int, series_id: list[int], time: list[datetime]) -> None:
    """Record the stored values of these keys before the import overwrites them; lock the readings.

    Values of the import itself are not recorded. Belongs in the overwriting transaction, under `UNDO_LOCK`.
    """
    keys = {
        "import_id": import_id, "series_id": series_id, "time": time,
        "oldest": min(time), "newest": max(time),
    }  # fmt: skip
    # Never a generic plan: the index holds the values of imports alone.
    ((is_covered,),) = conn.execute(_IS_COVERED, keys, prepare=False).fetchall()
    if is_covered:
        # Its former value lies under another import's: without this it would be in the pile twice.
        conn.execute(_TAKE_OVER + _AMONG, keys, prepare=False)
        conn.execute(_LIES_ON_NOTHING + _AMONG, keys, prepare=False)
    conn.execute(_RECORD, keys, prepare=False)


def remove_from_piles(
    conn: Connection, *, import_id: int, series: Sequence[int], begin: datetime, end: datetime
) -> None:
    """Remove the import's values from below those of other imports, for series in [begin, end).

    Belongs in a transaction under `UNDO_LOCK`.
    """
    where = {"import_id": import_id, "series": list(series), "begin": begin, "end": end}
    conn.execute(_TAKE_OVER + _BETWEEN, where, prepare=False)
    conn.execute(_LIES_ON_NOTHING + _BETWEEN, where, prepare=False)


def forget_replaced(conn: Connection, before: datetime) -> int:
    """Remove the replaced values before an instant, in portions; return their number.

    For time without retained readings, and on a connection in autocommit.
    """
    forgotten = 0
    while gone := conn.execute(_FORGET_OLD, {"before": before, "limit": _FORGOTTEN_AT_ONCE}).rowcount:
        forgotten += gone
    return forgotten
