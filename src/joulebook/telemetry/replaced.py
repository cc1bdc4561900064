"""What imports have overwritten: kept beside the readings, so that undoing an import restores it.

For each reading there is a pile of values: what was there first, and on top of it what each import put
in its place. `readings` shows the top one, and each import that lies on another has one record in
`import_replaced`, which says what lies right below and whose it is (0: live). Undoing an import takes its
value out of the pile. Where that is the top one, what lies below is shown again; else the record of the
import above takes over what lay below the one that is gone. So undoing in any order gives what would be
there had those imports never been. Live values are never taken out: below them nothing matters any more.
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
    """Note what is stored under these keys, which the import is about to overwrite; lock the readings.

    What the import itself has stored there is not noted. Belongs in the transaction that overwrites,
    under `UNDO_LOCK`.
    """
    keys = {
        "import_id": import_id, "series_id": series_id, "time": time,
        "oldest": min(time), "newest": max(time),
    }  # fmt: skip
    # Never a generic plan here: the index is one of imports alone.
    ((is_covered,),) = conn.execute(_IS_COVERED, keys, prepare=False).fetchall()
    if is_covered:
        # Its own former value under another import's: it would lie in the pile twice.
        conn.execute(_TAKE_OVER + _AMONG, keys, prepare=False)
        conn.execute(_LIES_ON_NOTHING + _AMONG, keys, prepare=False)
    conn.execute(_RECORD, keys, prepare=False)


def uncover(
    conn: Connection, *, import_id: int, series: Sequence[int], begin: datetime, end: datetime
) -> None:
    """Take the import's values out from under those of other imports, for series in [begin, end).

    Belongs in a transaction under `UNDO_LOCK`.
    """
    where = {"import_id": import_id, "series": list(series), "begin": begin, "end": end}
    conn.execute(_TAKE_OVER + _BETWEEN, where, prepare=False)
    conn.execute(_LIES_ON_NOTHING + _BETWEEN, where, prepare=False)


def forget_replaced(conn: Connection, before: datetime) -> int:
    """Drop what was overwritten before an instant, some at a time; return how many those were.

    For time whose readings are not kept, and on a connection in autocommit.
    """
    forgotten = 0
    while gone := conn.execute(_FORGET_OLD, {"before": before, "limit": _FORGOTTEN_AT_ONCE}).rowcount:
        forgotten += gone
    return forgotten
