"""The formats of exports: their names, and their bytes for blocks of readings."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from io import BytesIO
from typing import Literal

import numpy as np
import polars as pl

from joulebook.telemetry.clocks import Clock
from joulebook.telemetry.csv_format import guarded, header
from joulebook.telemetry.export.frames import TIME, Layout, Texts, tables
from joulebook.telemetry.export.parquet import parquet_chunks
from joulebook.telemetry.export.reading import Block
from joulebook.telemetry.readings import MICROSECONDS

_CONTINUES = b"\xff\xff\xff\xff"
_END = _CONTINUES + bytes(4)


def arrow_chunks(tables: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Yield the tables, of one schema, as an Arrow IPC stream."""
    is_first = True
    for table in tables:
        file = BytesIO()
        # Plain strings: older readers of Arrow do not know the newer string views.
        table.rechunk().write_ipc_stream(file, compat_level=pl.CompatLevel.oldest())
        stream = file.getvalue()
        if not (stream.startswith(_CONTINUES) and stream.endswith(_END)):
            raise ValueError("polars wrote an Arrow stream without marks of continuation or end")
        (size,) = struct.unpack_from("<i", stream, 4)
        schema = stream[: 8 + size]
        if is_first:
            yield schema
            is_first = False
        if len(table):
            yield stream[len(schema) : -len(_END)]
    yield _END


FormatName = Literal["csv", "parquet", "arrow"]


@dataclass(frozen=True)
class Format:
    """The names of a format: for people, at the end of a file's name, and in HTTP."""

    label: str
    suffix: str
    media_type: str


FORMATS: dict[FormatName, Format] = {
    "csv": Format("CSV", ".csv", "text/csv; charset=utf-8"),
    "parquet": Format("Parquet", ".parquet", "application/vnd.apache.parquet"),
    "arrow": Format("Arrow", ".arrows", "application/vnd.apache.arrow.stream"),
}


def export_chunks(
    blocks: Iterable[Block],
    metrics: Sequence[str],
    *,
    file_format: FormatName,
    layout: Layout = "wide",
    zone: tzinfo = UTC,
    texts: Texts | None = None,
) -> Iterator[bytes]:
    """Yield the readings in a format, one piece for each block; the first piece needs no block.

    Blocks and `texts` refer to `metrics` by index. Times are local to `zone` in CSV, and UTC in the other
    formats. In CSV, names and texts are guarded from spreadsheets.
    """
    if file_format == "csv":
        texts = {
            metric: {code: guarded(text) for code, text in by_code.items()}
            for metric, by_code in (texts or {}).items()
        }
    found = tables(
        blocks, [guarded(metric) for metric in metrics] if file_format == "csv" else metrics, layout, texts
    )
    if file_format == "csv" and layout == "wide":
        # In CSV a metric called `time` keeps its name beside the column of times.
        return csv_chunks(found, zone, names=[TIME, *map(guarded, metrics)])
    return table_chunks(found, file_format=file_format, zone=zone)


def table_chunks(
    found: Iterable[pl.DataFrame], *, file_format: FormatName, zone: tzinfo = UTC
) -> Iterator[bytes]:
    """Yield tables of one schema, with `time` as the first column, in a format."""
    if file_format == "csv":
        return csv_chunks(found, zone)
    return parquet_chunks(found) if file_format == "parquet" else arrow_chunks(found)


_CLOCK = "%Y-%m-%dT%H:%M:%S%.f"
_MINUTE = 60 * MICROSECONDS
_NUMBERS = {pl.Float64, pl.Int64}


def csv_chunks(
    tables: Iterable[pl.DataFrame], zone: tzinfo, *, names: Sequence[str] | None = None
) -> Iterator[bytes]:
    """Yield the tables as CSV in UTF-8, header first; lines end with LF.

    Numbers have the fewest digits that read back as the same number. `names` replace the columns' names in
    the header, and need not be distinct. Times are RFC 3339, local to `zone` with its offset; they end with
    Z where the offset is zero or no whole minutes.
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
    """Return instants as RFC 3339, with the digits of a second they need."""
    utc = time.to_physical().to_numpy()
    ahead = Clock.over(zone, int(utc.min()), int(utc.max())).offsets_at(utc)
    # RFC 3339 has no seconds in an offset, but until the 1970s some zones had offsets with seconds.
    ahead = np.where(ahead % _MINUTE, 0, ahead)
    if not ahead.any():
        return time.dt.to_string(f"{_CLOCK}Z")
    local = pl.Series(TIME, utc + ahead).cast(pl.Datetime("us"))
    suffixes = {}
    for offset in np.unique(ahead).tolist():
        hours, minutes = divmod(abs(offset) // _MINUTE, 60)
        suffixes[offset] = f"{'-' if offset < 0 else '+'}{hours:02d}:{minutes:02d}" if offset else "Z"
    suffix = pl.Series("offset", ahead).replace_strict(list(suffixes), list(suffixes.values()))
    return local.dt.to_string(_CLOCK) + suffix
