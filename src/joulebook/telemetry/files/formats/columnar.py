"""Parquet and Arrow: tables of typed columns become tables of text, in pieces of bounded size.

Instants become RFC 3339, times without a zone stay local, and numbers have the fewest digits that read back
as the same number. Joulebook's own exports become the CSV that it would have exported.
Sources: Apache Parquet's file format; Apache Arrow, "Encapsulated message format" and "IPC streaming format".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from mmap import PROT_READ, mmap
from pathlib import Path

import polars as pl

from joulebook.telemetry.csv_format import guarded as guarded_name
from joulebook.telemetry.csv_format import header
from joulebook.telemetry.files.archive import guarded
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats.format import Content, Format

MOST_BATCH_BYTES = 256 << 20
"""Most bytes of one batch of an Arrow stream, as stored and after unpacking."""

_CELLS_A_PIECE = 200_000
_LONGEST_TEXT = 1000
_PARQUET = b"PAR1"
_ARROW_FILE = b"ARROW1"
_CONTINUES = b"\xff\xff\xff\xff"
_END = _CONTINUES + bytes(4)
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_BLOCK = struct.Struct("<qi4xq")
_BUFFER = struct.Struct("<qq")
_DAMAGE = (
    OSError,
    BufferError,
    ValueError,
    OverflowError,
    struct.error,
    IndexError,
    pl.exceptions.PolarsError,
)


def _parquet_chunks(content: Content) -> Iterator[bytes]:
    """Yield a Parquet file as CSV.

    Raises `UnreadableFile` for damage and for columns that are no cells of a table, and `FileTooLarge` for
    far more rows than any file of readings of its size.
    """
    yield from _scanned(content, pl.scan_parquet)


def _arrow_file_chunks(content: Content) -> Iterator[bytes]:
    """Yield an Arrow file as CSV; the errors are those of `_parquet_chunks`."""
    _check_batches(content)
    yield from _scanned(content, pl.scan_ipc)


def _arrow_stream_chunks(content: Content) -> Iterator[bytes]:
    """Yield an Arrow stream as CSV; the errors are those of `_parquet_chunks`."""
    yield from _csv(_arrow_tables(content), content.name)


def _scanned(content: Content, scan: Callable[[Path], pl.LazyFrame]) -> Iterator[bytes]:
    with _reader(content.name):
        table = scan(content.path)
        schema = table.collect_schema()
        rows = int(table.select(pl.len()).collect().item())
    rows_a_piece = max(1, _CELLS_A_PIECE // max(len(schema), 1))

    def pieces() -> Iterator[pl.DataFrame]:
        yield pl.DataFrame(schema=schema)
        for begin in range(0, rows, rows_a_piece):
            with _reader(content.name):
                piece = table.slice(begin, rows_a_piece).collect()
            yield piece

    yield from guarded(_csv(pieces(), content.name), stored=content.path.stat().st_size, name=content.name)


def _csv(tables: Iterator[pl.DataFrame], name: str) -> Iterator[bytes]:
    """Yield tables of one schema as CSV, the header first."""
    is_first = is_own = True
    for table in tables:
        if is_first:
            _check_columns(table, name)
            is_own = table.columns[0] == "time" and _has_zone(table.dtypes[0])
            names = [guarded_name(column) if is_own else column for column in table.columns]
            # The guess knows an export by the quotes around its columns of text.
            is_text = [is_own and not dtype.is_numeric() for dtype in table.dtypes]
            yield f"{header(names, is_text)}\n".encode()
            is_first = False
        if len(table):
            check_budget()
            with _reader(name):
                text = table.select(_text(table[column], is_own=is_own) for column in table.columns)
                lines = text.write_csv(include_header=False)
            yield lines.encode()


def _check_columns(table: pl.DataFrame, name: str) -> None:
    if not table.columns:
        raise UnreadableFile(f"{name} has no columns; is it the file you meant?")
    for column, dtype in table.schema.items():
        if dtype.is_nested() or dtype == pl.Object:
            raise UnreadableFile(
                f"{name}: the column {column!r} holds lists or structures ({dtype}), and a table of readings "
                "has one value a cell; write the file without that column, or with a column for each value"
            )


def _has_zone(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime) and dtype.time_zone is not None


def _text(column: pl.Series, *, is_own: bool) -> pl.Series:
    """Return a column with its values as CSV shows them."""
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime):
        # Times beyond a microsecond's digits are never needed.
        utc = column.cast(pl.Datetime("us", dtype.time_zone))
        if dtype.time_zone is None:
            return utc.dt.to_string("%Y-%m-%dT%H:%M:%S%.f")
        return utc.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")
    if dtype.is_float():
        return column.fill_nan(None)
    if dtype.is_numeric():
        return column.cast(pl.String) if isinstance(dtype, pl.Decimal) else column
    text = column.cast(pl.String).str.head(_LONGEST_TEXT).str.replace_all(r"[\r\n\x00\x0b\x0c]+", " ")
    if not is_own:
        return text
    # An export's names and texts are read back without their guard.
    distinct = text.drop_nulls().unique()
    return text.replace(distinct, pl.Series([guarded_name(each) for each in distinct], dtype=pl.String))


@contextmanager
def _reader(name: str) -> Iterator[None]:
    """Raise `UnreadableFile` for errors of the reader."""
    try:
        yield
    except UnreadableFile:
        raise
    except BaseException as exc:
        # The reader is written in Rust; its panic is no Exception.
        if not isinstance(exc, _DAMAGE) and type(exc).__name__ != "PanicException":
            raise
        reason = str(exc).splitlines()[0][:200] if str(exc) else type(exc).__name__
        raise UnreadableFile(
            f"{name} is damaged ({reason}); fetch or export the file again, or save it as CSV"
        ) from exc


class _Bytes:
    """The bytes of a stream, taken a number at a time."""

    def __init__(self, content: Content) -> None:
        self._chunks = content.chunks()
        self._name = content.name
        self._held = bytearray()

    def take(self, count: int) -> bytes:
        """Return the next bytes; raises `UnreadableFile` if there are fewer."""
        while len(self._held) < count:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise UnreadableFile(f"{self._name} is cut off: its Arrow data has no end; fetch it again")
            self._held += chunk
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken


def _arrow_tables(content: Content) -> Iterator[pl.DataFrame]:
    """Yield an empty table with the columns, then the batches."""
    data = _Bytes(content)
    start = data.take(8)
    schema = dictionaries = b""
    while start != _END:
        if not start.startswith(_CONTINUES):
            raise UnreadableFile(
                f"{content.name} is damaged, or Arrow of a format before 2019; fetch or write it again"
            )
        (size,) = struct.unpack_from("<i", start, 4)
        if not 0 < size <= MOST_BATCH_BYTES:
            raise UnreadableFile(f"{content.name} is damaged: a message of {size:,} bytes; fetch it again")
        metadata = data.take(size)
        with _reader(content.name):
            message = _Message(metadata)
        _check_size(message.body_length, content.name)
        body = data.take(message.body_length)
        with _reader(content.name):
            _check_size(message.unpacked_length(body), content.name)
        written = start + metadata + body
        if message.kind == _SCHEMA:
            schema = written
            yield from _read_batch(schema + _END, content.name)
        elif message.kind == _DICTIONARY:
            dictionaries += written
            _check_size(len(dictionaries), content.name)
        elif message.kind == _BATCH:
            yield from _read_batch(schema + dictionaries + written + _END, content.name)
        start = data.take(8)


def _check_batches(content: Content) -> None:
    """Check the size of each batch of an Arrow file, from the index at its end."""
    with (
        _reader(content.name),
        content.path.open("rb") as file,
        mmap(file.fileno(), 0, prot=PROT_READ) as data,
    ):
        (size,) = struct.unpack_from("<i", data, len(data) - len(_ARROW_FILE) - 4)
        end = len(data) - len(_ARROW_FILE) - 4
        index = _Flatbuffer(data[max(end - size, 0) : end])
        for number in (2, 3):
            for place in index.structs(index.root, number, _BLOCK.size):
                offset, metadata_size, body_size = _BLOCK.unpack_from(index.data, place)
                _check_size(body_size, content.name)
                message = _Message(data[offset + 8 : offset + metadata_size])
                body = memoryview(data)[offset + metadata_size : offset + metadata_size + body_size]
                with body:
                    _check_size(message.unpacked_length(body), content.name)


def _check_size(size: int, name: str) -> None:
    if not 0 <= size <= MOST_BATCH_BYTES:
        raise FileTooLarge(
            f"{name} has a batch that unpacks to {size:,} bytes, and {MOST_BATCH_BYTES:,} are read at once; "
            "write it in smaller batches, or as Parquet"
        )


def _read_batch(stream: bytes, name: str) -> Iterator[pl.DataFrame]:
    with _reader(name):
        table = pl.read_ipc_stream(BytesIO(stream))
    if not len(table):
        yield table
    yield from table.iter_slices(max(1, _CELLS_A_PIECE // max(table.width, 1)))


class _Flatbuffer:
    """Finds the fields of a flatbuffer's tables. Source: FlatBuffers, "FlatBuffer Internals"."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.root = self.target(0)

    def target(self, place: int) -> int:
        """Return where the offset at a place leads to."""
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def field(self, table: int, number: int) -> int:
        """Return the place of a table's field, 0 if it is not set."""
        vtable = table - int(struct.unpack_from("<i", self.data, table)[0])
        (size,) = struct.unpack_from("<H", self.data, vtable)
        slot = 4 + 2 * number
        if slot >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, vtable + slot)
        return table + offset if offset else 0

    def structs(self, table: int, number: int, size: int) -> range:
        """Return the places of the structs in a table's field, each of `size` bytes."""
        place = self.field(table, number)
        if not place:
            return range(0)
        vector = self.target(place)
        (count,) = struct.unpack_from("<I", self.data, vector)
        if vector + 4 + count * size > len(self.data):
            raise ValueError("a list is longer than its message")
        return range(vector + 4, vector + 4 + count * size, size)


class _Message(_Flatbuffer):
    """The metadata of a message: its kind, the length of its body, and for a batch where its buffers are."""

    def __init__(self, metadata: bytes) -> None:
        super().__init__(metadata)
        kind, length = self.field(self.root, 1), self.field(self.root, 3)
        self.kind = metadata[kind] if kind else 0
        self.body_length: int = struct.unpack_from("<q", metadata, length)[0] if length else 0

    def unpacked_length(self, body: bytes | memoryview) -> int:
        """Return the bytes that a batch's compressed buffers say they unpack to, 0 without compression."""
        place = self.field(self.root, 2)
        if self.kind not in (_BATCH, _DICTIONARY) or not place:
            return 0
        batch = self.target(place)
        if self.kind == _DICTIONARY:
            batch = self.target(self.field(batch, 1))
        if not self.field(batch, 3):
            return 0
        total = 0
        for each in self.structs(batch, 2, _BUFFER.size):
            offset, length = _BUFFER.unpack_from(self.data, each)
            if length >= 8:
                total += max(0, struct.unpack_from("<q", body, offset)[0])
        return total


def _is_arrow_stream(head: bytes) -> bool:
    try:
        return head.startswith(_CONTINUES) and _Message(head[8:]).kind == _SCHEMA
    except (struct.error, IndexError):
        return False


PARQUET = Format("a Parquet file", lambda head: head.startswith(_PARQUET), _parquet_chunks, needs_file=True)
ARROW_FILE = Format(
    "an Arrow file", lambda head: head.startswith(_ARROW_FILE), _arrow_file_chunks, needs_file=True
)
ARROW_STREAM = Format("an Arrow stream", _is_arrow_stream, _arrow_stream_chunks)
