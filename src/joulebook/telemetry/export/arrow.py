"""Tables of readings as one Arrow IPC stream, which a reader can follow while it is written.

Source: "Encapsulated message format" and "IPC Streaming Format" in Apache Arrow's columnar format. polars
writes whole streams only: the message of the schema, those of the table, and an end. Of all but the
first the schema is taken off, and the end comes once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from io import BytesIO

import polars as pl

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
