"""Tables of readings as one Parquet file that is sent while it is written: one table, one row group.

Source: parquet.thrift and "File format" of Apache Parquet. polars writes whole files only. What lies before
the footer of each is passed on, the places that its footer names are moved to where that now lies, and
the footers are put together to one, which comes last. Only they are kept, some 100 bytes a column and table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, _SET, _MAP, STRUCT = range(1, 13)
_INTEGERS = {I16, I32, I64}
_SIZES = {BYTE: 1, DOUBLE: 8}


@dataclass
class Field:
    """A field's type and value: bool, int, bytes, `Elements`, or a struct; a double stays eight bytes."""

    kind: int
    value: Any


@dataclass
class Elements:
    """A list, all of whose elements are of one type."""

    kind: int
    values: list[Any]


Struct = dict[int, Field]


def read_struct(data: bytes) -> Struct:
    """Return the struct that `data` begins with. Raises ValueError for what no footer holds."""
    return _Reader(data).struct()


def written(struct: Struct) -> bytes:
    """Return the struct's bytes."""
    out = bytearray()
    _write_struct(out, struct)
    return bytes(out)


def list_header(kind: int, size: int) -> bytes:
    """Return what stands before the elements of a list."""
    out = bytearray()
    if size < 15:
        out.append(size << 4 | kind)
    else:
        out.append(0xF0 | kind)
        _write_varint(out, size)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        while head := self._byte():
            kind, step = head & 0x0F, head >> 4
            number = number + step if step else self._zigzag()
            fields[number] = Field(kind, self._value(kind, is_field=True))
        return fields

    def _value(self, kind: int, *, is_field: bool = False) -> Any:
        if kind in (TRUE, FALSE):
            return kind == TRUE if is_field else self._byte() == TRUE
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            return self._list()
        if kind in (BYTE, DOUBLE, BINARY):
            return self._bytes(_SIZES[kind] if kind in _SIZES else self._varint())
        raise ValueError(f"type {kind} of Thrift's compact protocol is not expected in a Parquet footer")

    def _list(self) -> Elements:
        head = self._byte()
        size = head >> 4
        if size == 15:
            size = self._varint()
        return Elements(head & 0x0F, [self._value(head & 0x0F) for _ in range(size)])

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)


def _write_struct(out: bytearray, struct: Struct) -> None:
    before = 0
    for number, field in sorted(struct.items()):
        kind = field.kind
        if kind in (TRUE, FALSE):
            kind = TRUE if field.value else FALSE
        step = number - before
        if 0 < step < 16:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _write_varint(out, _zigzag(number))
        if kind not in (TRUE, FALSE):
            _write_value(out, kind, field.value)
        before = number
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in (TRUE, FALSE):
        out.append(TRUE if value else FALSE)
    elif kind in _INTEGERS:
        _write_varint(out, _zigzag(value))
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind == LIST:
        out += list_header(value.kind, len(value.values))
        for element in value.values:
            _write_value(out, value.kind, element)
    else:
        if kind == BINARY:
            _write_varint(out, len(value))
        out += value


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _write_varint(out: bytearray, number: int) -> None:
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


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
