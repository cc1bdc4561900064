"""Tables of readings as one Parquet file, sent while it is written: one row group for each table.

polars writes whole files only. Here each table becomes such a file. Its row groups are sent, their footer is
read, and its offsets are moved to the positions in the whole stream. One footer with all row groups comes
last. Only the row groups' footers stay in memory, about 100 bytes a column and table.

Source: parquet.thrift and "File format" of Apache Parquet; footers are in Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import polars as pl

_MAGIC = b"PAR1"
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_COLUMN_META = 3
# Offsets in the file: of a column's chunk, of its indexes, and of its pages and filter.
_COLUMN_OFFSETS = (2, 4, 6)
_META_OFFSETS = (9, 10, 11, 14)


def parquet_chunks(tables: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Yield the tables, of one schema, as a Parquet file compressed with zstd."""
    yield _MAGIC
    offset = len(_MAGIC)
    groups: list[Struct | bytes] = []
    file: Struct = {}
    rows = 0
    for table in tables:
        data, footer = _row_groups(table)
        file = file or footer
        if not len(table):
            continue
        for group in footer[_FILE_GROUPS].value.values:
            _shift(group, (_GROUP_OFFSET,), offset - len(_MAGIC))
            # The number of a row group is optional, and polars counts them in its own file.
            group.pop(_GROUP_ORDINAL, None)
            for column in group[_GROUP_COLUMNS].value.values:
                _shift(column, _COLUMN_OFFSETS, offset - len(_MAGIC))
                if _COLUMN_META in column:
                    _shift(column[_COLUMN_META].value, _META_OFFSETS, offset - len(_MAGIC))
            groups.append(written(group))
        rows += footer[_FILE_ROWS].value
        offset += len(data)
        yield data
    file[_FILE_ROWS] = Field(file[_FILE_ROWS].kind, rows)
    file[_FILE_GROUPS] = Field(LIST, Elements(STRUCT, groups))
    last = written(file)
    yield last + len(last).to_bytes(4, "little") + _MAGIC


def _row_groups(table: pl.DataFrame) -> tuple[bytes, Struct]:
    """Return the row groups of a table as polars writes them, and the footer."""
    buffer = BytesIO()
    table.write_parquet(buffer, compression="zstd", compression_level=1, row_group_size=max(len(table), 1))
    data = buffer.getvalue()
    end = len(data) - 8
    if data[:4] != _MAGIC or data[-4:] != _MAGIC:
        raise ValueError("polars wrote a Parquet file without its marks at both ends")
    begin = end - int.from_bytes(data[end : end + 4], "little")
    return data[4:begin], read_struct(data[begin:end])


def _shift(struct: Struct, fields: Iterable[int], by: int) -> None:
    """Add `by` to offsets; zero means "not given" and stays."""
    for number in fields:
        if number in struct and struct[number].value:
            struct[number] = Field(struct[number].kind, struct[number].value + by)


TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, _SET, _MAP, STRUCT = range(1, 13)
_INTEGERS = {I16, I32, I64}
_SIZES = {BYTE: 1, DOUBLE: 8}


class Field(NamedTuple):
    """A field's type and value: bool, int, bytes, `Elements`, or a struct; a double stays eight bytes."""

    kind: int
    value: Any


class Elements(NamedTuple):
    """A list with elements of one type; a struct among them may be given as its bytes."""

    kind: int
    values: list[Any]


Struct = dict[int, Field]


def read_struct(data: bytes) -> Struct:
    """Return the struct at the beginning of `data`. Raises ValueError for types not used in footers."""
    return _Reader(data).struct()


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
            # In a field the type of a bool is its value.
            fields[number] = Field(kind, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind))
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE):
            return self._byte() == TRUE
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return Elements(head & 0x0F, [self._value(head & 0x0F) for _ in range(size)])
        if kind in (BYTE, DOUBLE, BINARY):
            size = _SIZES[kind] if kind in _SIZES else self._varint()
            self._at += size
            return self._data[self._at - size : self._at]
        raise ValueError(f"type {kind} of Thrift's compact protocol is not expected in a Parquet footer")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

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


def written(struct: Struct) -> bytes:
    """Return the struct's bytes."""
    out = bytearray()
    before = 0
    for number, (kind, value) in sorted(struct.items()):
        is_bool = kind in (TRUE, FALSE)
        mark = (TRUE if value else FALSE) if is_bool else kind
        step = number - before
        if 0 < step < 16:
            out.append(step << 4 | mark)
        else:
            out.append(mark)
            _write_varint(out, _zigzag(number))
        if not is_bool:
            _write_value(out, kind, value)
        before = number
    out.append(0)
    return bytes(out)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in (TRUE, FALSE):
        out.append(TRUE if value else FALSE)
    elif kind in _INTEGERS:
        _write_varint(out, _zigzag(value))
    elif kind == STRUCT:
        out += value if isinstance(value, bytes) else written(value)
    elif kind == LIST:
        if len(value.values) < 15:
            out.append(len(value.values) << 4 | value.kind)
        else:
            out.append(0xF0 | value.kind)
            _write_varint(out, len(value.values))
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
