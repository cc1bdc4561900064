"""Tables of readings as CSV: RFC 3339 times, shortest exact numbers, names that are no formulas.

A number is written with the fewest digits that read back as the same number. The first cell of the
header stands in quotes, which mean nothing to others: by them an import knows that nothing has to be guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo

import numpy as np
import polars as pl

from joulebook.telemetry.export.frames import TIME
from joulebook.telemetry.files.zones import offsets
from joulebook.telemetry.readings import MICROSECONDS

_CLOCK = "%Y-%m-%dT%H:%M:%S%.f"
_MINUTE = 60 * MICROSECONDS
_NEEDS_QUOTES = frozenset('",\r\n')


def csv_chunks(tables: Iterable[pl.DataFrame], zone: tzinfo) -> Iterator[bytes]:
    """Yield the tables as CSV in UTF-8, header first; lines end with LF.

    Times are local to `zone` with its offset, or end with Z where that is zero or no whole minutes.
    """
    is_first = True
    for table in tables:
        if is_first:
            yield _header(table.columns)
            is_first = False
        if len(table):
            text = table.with_columns(_time_text(table[TIME], zone))
            yield text.write_csv(include_header=False).encode()


def _header(names: list[str]) -> bytes:
    cells = [f'"{names[0]}"', *map(_cell, names[1:])]
    return f"{','.join(cells)}\n".encode()


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES & set(text) else text


def _time_text(time: pl.Series, zone: tzinfo) -> pl.Series:
    """Return instants as RFC 3339, with as many digits of a second as they need."""
    utc = time.to_physical().to_numpy()
    ahead = offsets(zone, utc)
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
