"""Tables of readings as one Parquet file that is sent while it is written: one table, one row group.

Source: parquet.thrift and "File format" of Apache Parquet. polars writes whole files only. What lies before
the footer of each is passed on, the places that its footer names are moved to where that now lies, and
the footers are put together to one, which comes last. Only they are kept, some 100 bytes a column and table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

import polars as pl

from joulebook.telemetry.export.thrift import (
    LIST,
    STRUCT,
    Elements,
    Field,
    Struct,
    list_header,
    read_struct,
    written,
)

_MAGIC = b"PAR1"
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_COLUMN_META = 3
# Places in the file: of a column's chunk, of its indexes, and of its pages and filter.
_COLUMN_PLACES = (2, 4, 6)
_META_PLACES = (9, 10, 11, 14)


def parquet_chunks(tables: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Yield the tables, of one schema, as a Parquet file compressed with zstd."""
    yield _MAGIC
    place = len(_MAGIC)
    groups: list[bytes] = []
    file: Struct = {}
    rows = 0
    for table in tables:
        data, footer = _parts(table)
        file = file or footer
        if not len(table):
            continue
        for group in footer[_FILE_GROUPS].value.values:
            _move(group, place - len(_MAGIC))
            groups.append(written(group))
        rows += footer[_FILE_ROWS].value
        place += len(data)
        yield data
    yield from _footer(file, rows, groups)


def _parts(table: pl.DataFrame) -> tuple[bytes, Struct]:
    """Return what polars writes between the first mark and the footer, and the footer."""
    buffer = BytesIO()
    table.write_parquet(buffer, compression="zstd", compression_level=1, row_group_size=max(len(table), 1))
    data = buffer.getvalue()
    end = len(data) - 8
    if data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("polars wrote a Parquet file without its marks at both ends")
    begin = end - int.from_bytes(data[end : end + 4], "little")
    return data[4:begin], read_struct(data[begin:end])


def _move(group: Struct, by: int) -> None:
    """Let a row group's places be `by` bytes farther on."""
    _shift(group, (_GROUP_OFFSET,), by)
    # The number of a row group is optional, and would be that in the file that polars wrote.
    group.pop(_GROUP_ORDINAL, None)
    for column in group[_GROUP_COLUMNS].value.values:
        _shift(column, _COLUMN_PLACES, by)
        if _COLUMN_META in column:
            _shift(column[_COLUMN_META].value, _META_PLACES, by)


def _shift(struct: Struct, places: Iterable[int], by: int) -> None:
    for number in places:
        # Zero stands for "not given": the mark lies there.
        if number in struct and struct[number].value:
            struct[number] = Field(struct[number].kind, struct[number].value + by)


def _footer(file: Struct, rows: int, groups: list[bytes]) -> Iterator[bytes]:
    """Yield the footer with these row groups, its length, and the last mark."""
    file[_FILE_ROWS] = Field(file[_FILE_ROWS].kind, rows)
    # The groups are bytes already: they go in where an empty list stands.
    file[_FILE_GROUPS] = Field(LIST, Elements(STRUCT, []))
    before = {number: field for number, field in file.items() if number <= _FILE_GROUPS}
    after = {number - _FILE_GROUPS: field for number, field in file.items() if number > _FILE_GROUPS}
    head = written(before)[: -len(list_header(STRUCT, 0)) - 1]
    footer = b"".join([head, list_header(STRUCT, len(groups)), *groups, written(after)])
    yield footer + len(footer).to_bytes(4, "little") + _MAGIC
