"""The folders of emoncms, or a zip archive of them: each feed is a metric, called by its number.

A feed of PHPFina is a pair of files: `7.meta` with the time of the first point and the seconds between two,
and `7.dat` with the values. A feed of PHPTimeSeries is one file, `feed_7.MYD`, each point with its time.
Source: Modules/feed/engine of emoncms. Names and units of feeds are not in these files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.archive import archived_files, guarded, opened, read_member
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import READINGS_LINE, Content, Format

_FILE = re.compile(
    r"(?:.*/)?(?P<feed>[0-9]{1,9})\.(?P<kind>meta|dat)|(?:.*/)?feed_(?P<series>[0-9]{1,9})\.MYD"
)
_CHUNK_BYTES = 1 << 18
_META = np.dtype([("unused", "<u8"), ("interval", "<u4"), ("begin", "<u4")])
_VALUE = np.dtype("<f4")
_POINT = np.dtype([("mark", "u1"), ("time", "<u4"), ("value", "<f4")])

Open = Callable[[str], Iterator[bytes]]
"""Yields the bytes of one of several files by its name."""


def _is_emoncms(names: Sequence[str]) -> bool:
    """Return whether these are the names of a folder of feeds, and of nothing else."""
    found = [_FILE.fullmatch(name) for name in names]
    return all(found) and any(match and match["kind"] != "meta" for match in found)


def _convert(content: Content) -> Iterator[bytes]:
    """Yield the points of all feeds, one feed after the other; the line is the number of the point."""
    yield READINGS_LINE
    with _opened(content) as (names, open_file):
        feeds: dict[int, dict[str, str]] = {}
        for name in names:
            if (match := _FILE.fullmatch(name)) and "/." not in f"/{name}":
                number = int(match["feed"] or match["series"])
                feeds.setdefault(number, {})[match["kind"] or "MYD"] = name
        for number, files in sorted(feeds.items()):
            if "MYD" in files:
                yield from _series(number, open_file(files["MYD"]))
            if "meta" in files and "dat" in files:
                yield from _intervals(number, open_file(files["meta"]), open_file(files["dat"]))
            elif "dat" in files or "meta" in files:
                there, lacking = ("dat", "meta") if "dat" in files else ("meta", "dat")
                yield _broken(number, 0, f"{files[there]} has no {number}.{lacking} beside it")


@contextmanager
def _opened(content: Content) -> Iterator[tuple[list[str], Open]]:
    """Open a folder or an archive; raises `UnreadableFile`."""
    if content.path.is_dir():
        paths = {each.relative_to(content.path).as_posix(): each for each in content.path.rglob("*.*")}
        try:
            yield sorted(paths), lambda name: _file_chunks(paths[name])
        except OSError as exc:
            raise UnreadableFile(f"{content.name} cannot be read further: {exc.strerror}") from exc
        return
    with opened(content.path, name=content.name) as archive:
        members = archived_files(archive, name=content.name)
        stored = sum(each.compress_size for each in members.values())

        def open_member(name: str) -> Iterator[bytes]:
            return guarded(read_member(archive, members[name]), stored=stored, name=content.name)

        yield sorted(members), open_member


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _series(number: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the points of a feed with a time each."""
    for first, points, rest in _records(chunks, _POINT):
        yield _lines(number, first, points["time"].astype(np.int64), points["value"])
        if rest:
            yield _broken(number, first + len(points), f"a point cut off: {rest.hex()}")


def _intervals(number: int, meta: Iterator[bytes], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the points of a feed at equal intervals; padding between points is no value."""
    head = b"".join(meta)[: _META.itemsize]
    if len(head) < _META.itemsize or not (read := np.frombuffer(head, _META)[0])["interval"]:
        yield _broken(number, 0, f"no time and interval in {number}.meta: {head.hex() or '(nothing)'}")
        return
    begin, interval = int(read["begin"]), int(read["interval"])
    for first, values, rest in _records(chunks, _VALUE):
        at = np.arange(first - 1, first - 1 + len(values), dtype=np.int64)
        yield _lines(number, first, begin + at * interval, values)
        if rest:
            yield _broken(number, first + len(values), f"a point cut off: {rest.hex()}")


def _records(chunks: Iterator[bytes], kind: np.dtype[Any]) -> Iterator[tuple[int, NDArray[Any], bytes]]:
    """Yield records with the number of the first, from 1; at the end, what is left of a record cut off."""
    first, rest = 1, b""
    for chunk in chunks:
        for begin in range(0, len(chunk), _CHUNK_BYTES):
            check_budget()
            data = rest + chunk[begin : begin + _CHUNK_BYTES]
            whole = len(data) - len(data) % kind.itemsize
            rest = data[whole:]
            yield first, np.frombuffer(data[:whole], kind), b""
            first += whole // kind.itemsize
    if rest:
        yield first, np.empty(0, kind), rest


def _lines(number: int, first: int, seconds: NDArray[np.int64], values: NDArray[np.float32]) -> bytes:
    """Return points as CSV; a value is written as short as it can be read back to the same 32 bits."""
    times = np.datetime_as_string(np.minimum(seconds, 2**40).astype("datetime64[s]"), timezone="UTC").tolist()
    texts = np.where(np.isnan(values), "", values.astype("U32")).tolist()
    rows = zip(range(first, first + len(times)), times, texts, strict=True)
    return "".join(f"{line},{time},feed {number},,,{text}\n" for line, time, text in rows).encode()


def _broken(number: int, line: int, text: str) -> bytes:
    return f'{line},"{text.replace(chr(34), chr(39))}",feed {number},,,\n'.encode("utf-8", "replace")


EMONCMS = Format("emoncms's feeds", lambda _head: False, _convert, needs_file=True, is_set=_is_emoncms)
"""Recognised by the names of its files, not by the first bytes of one."""
