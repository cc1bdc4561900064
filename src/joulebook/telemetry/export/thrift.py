"""Thrift's compact protocol, read and written as far as Parquet's footer uses it.

Source: "Thrift compact protocol" in Apache Thrift's documentation. A struct becomes a dict of its fields by
number, so that fields of newer versions pass through untouched. Maps and sets do not occur in a footer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
