"""The formats in which readings leave: what each is called, and blocks of readings to its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from io import BytesIO
from typing import Literal

import polars as pl

from joulebook.telemetry.csv_format import guarded
from joulebook.telemetry.export.csv_text import csv_chunks
from joulebook.telemetry.export.frames import TIME, Layout, tables
from joulebook.telemetry.export.parquet import parquet_chunks
from joulebook.telemetry.export.reading import Block

_CONTINUES = b"\xff\xff\xff\xff"
_END = _CONTINUES + bytes(4)


def arrow_chunks(tables: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Yield the tables, of one schema, as an Arrow IPC stream."""
    is_first = True
    for table in tables:
        schema, batches = _messages(table)
        if is_first:
            yield schema
            is_first = False
        if batches:
            yield batches
    yield _END


def _messages(table: pl.DataFrame) -> tuple[bytes, bytes]:
    """Return the message of the schema, and those of the table's batches."""
    file = BytesIO()
    # Strings as every reader of Arrow knows them; the newer views do not reach older ones.
    table.rechunk().write_ipc_stream(file, compat_level=pl.CompatLevel.oldest())
    stream = file.getvalue()
    if not (stream.startswith(_CONTINUES) and stream.endswith(_END)):
        raise ValueError("polars wrote an Arrow stream without marks of continuation or end")
    (size,) = struct.unpack_from("<i", stream, 4)
    schema = stream[: 8 + size]
    return schema, stream[len(schema) : -len(_END)] if len(table) else b""


FormatName = Literal["csv", "parquet", "arrow"]


@dataclass(frozen=True)
class Format:
    """How a format is named: to people, at the end of a file's name, and in HTTP."""

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
) -> Iterator[bytes]:
    """Yield the readings in a format, a piece a block; the first piece comes before any block is asked for.

    `metrics` are those that the blocks number. Times are local to `zone` in CSV, and UTC in the others.
    """
    found = tables(
        blocks, [guarded(metric) for metric in metrics] if file_format == "csv" else metrics, layout
    )
    if file_format == "csv" and layout == "wide":
        # The name of a metric that is called as the column of times is, needs no other in a text.
        return csv_chunks(found, zone, names=[TIME, *map(guarded, metrics)])
    return table_chunks(found, file_format=file_format, zone=zone)


def table_chunks(
    found: Iterable[pl.DataFrame], *, file_format: FormatName, zone: tzinfo = UTC
) -> Iterator[bytes]:
    """Yield tables of one schema, whose first column is `time`, in a format."""
    if file_format == "csv":
        return csv_chunks(found, zone)
    return parquet_chunks(found) if file_format == "parquet" else arrow_chunks(found)
