"""Tables of readings as CSV: RFC 3339 times, shortest exact numbers, names that are no formulas.

A number is written with the fewest digits that read back as the same number. In the header the names of
columns of text stand in quotes, others only where they must: quotes that mean nothing to other programs,
and by which an import knows that nothing has to be guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo

import numpy as np
import polars as pl

from joulebook.telemetry.clocks import Clock
from joulebook.telemetry.csv_format import header
from joulebook.telemetry.export.frames import TIME
from joulebook.telemetry.readings import MICROSECONDS

_CLOCK = "%Y-%m-%dT%H:%M:%S%.f"
_MINUTE = 60 * MICROSECONDS
_NUMBERS = {pl.Float64, pl.Int64}


def csv_chunks(
    tables: Iterable[pl.DataFrame], zone: tzinfo, *, names: Sequence[str] | None = None
) -> Iterator[bytes]:
    """Yield the tables as CSV in UTF-8, header first; lines end with LF.

    `names` stand in the header in place of the columns' own, and need not be distinct. Times are local to
    `zone` with its offset, or end with Z where that is zero or no whole minutes.
    """
    is_first = True
    for table in tables:
        if is_first:
            text_columns = [column.dtype not in _NUMBERS for column in table.get_columns()]
            yield f"{header(names or table.columns, text_columns)}\n".encode()
            is_first = False
        if len(table):
            text = table.with_columns(_time_text(table[TIME], zone))
            yield text.write_csv(include_header=False).encode()


def _time_text(time: pl.Series, zone: tzinfo) -> pl.Series:
    """Return instants as RFC 3339, with as many digits of a second as they need."""
    utc = time.to_physical().to_numpy()
    ahead = Clock.over(zone, int(utc.min()), int(utc.max())).offsets_at(utc)
    # RFC 3339 has no seconds in an offset; zones had, until the seventies.
    ahead = np.where(ahead % _MINUTE, 0, ahead)
    if not ahead.any():
        return time.dt.to_string(f"{_CLOCK}Z")
    local = pl.Series(TIME, utc + ahead).cast(pl.Datetime("us"))
    known = np.unique(ahead).tolist()
    suffix = pl.Series("offset", ahead).replace_strict(known, [_offset_text(offset) for offset in known])
    return local.dt.to_string(_CLOCK) + suffix


def _offset_text(offset: int) -> str:
    if not offset:
        return "Z"
    minutes = abs(offset) // _MINUTE
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
