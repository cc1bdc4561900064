"""`GET /api/export/<device>`: the gate first, then every reading of any range, sent while it is read."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, cast

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from ninja import NinjaAPI, Router

from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.export.formats import FORMATS, export_chunks
from joulebook.telemetry.export.frames import LAYOUTS
from joulebook.telemetry.export.reading import read_blocks
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.web.api.parameters import BadParameter
from joulebook.web.api.problems import problem
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device
from joulebook.web.history.export.parameters import (
    DEFAULT_EXPORT_RANGE,
    DEFAULT_FORMAT,
    DEFAULT_LAYOUT,
    ExportRequest,
    read_export,
)
from joulebook.web.history.openapi import HISTORY_OPERATION
from joulebook.web.slots import NoSlot, Slots
from joulebook.web.telemetry import device_series, own_telemetry_connection

_OF_HISTORY = {parameter["name"]: parameter for parameter in HISTORY_OPERATION["parameters"]}


def _choice(name: str, description: str, words: list[str], default: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": words, "default": default}
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


EXPORT_OPERATION: dict[str, Any] = {
    "parameters": [
        _OF_HISTORY["metric"],
        _OF_HISTORY["start"],
        _OF_HISTORY["end"],
        _choice("range", "instead of start and end, ending now", [*RANGES, ALL], DEFAULT_EXPORT_RANGE),
        _choice("format", "of the file", list(FORMATS), DEFAULT_FORMAT),
        _choice("layout", "wide: a column a metric; long: a row a reading", list(LAYOUTS), DEFAULT_LAYOUT),
        {**_OF_HISTORY["tz"], "description": "IANA time zone of a CSV file's times; default: UTC"},
        _choice("gzip", "1: a CSV file that is packed itself", ["0", "1"], "0"),
    ],
    "responses": {
        200: {
            "description": "the file, in one snapshot; whole only if the answer ends in order",
            "content": {each.media_type: {"schema": {"type": "string"}} for each in FORMATS.values()},
        },
        **{status: answer for status, answer in HISTORY_OPERATION["responses"].items() if status != 200},
    },
}


log = logging.getLogger(__name__)

EXPORTS_AT_ONCE = 8
"""Each keeps a connection to the database, and a snapshot of it, as long as its client takes it."""

EXPORTS_OF_ONE_PERSON = 4

_PIECE = 256 * 1024
# Level 1 packs 100 MB/s to little more than the usual level does at a third of that.
_LEVEL = 1
_GZIP = 31
_REFUSES_GZIP = re.compile(r"\bgzip\s*;\s*q=0(\.0*)?\s*(,|$)")

router = Router()
_slots = Slots(EXPORTS_AT_ONCE, per_person=EXPORTS_OF_ONE_PERSON)


def install(api: NinjaAPI) -> None:
    """Add this address to the API."""
    api.add_router("/export", router)
    api.exception_handler(DatabaseUnavailable)(_database_unavailable)


@router.get(
    "/{device_id}",
    url_name="export",
    summary="Export a device's readings",
    openapi_extra=EXPORT_OPERATION,
)
def export(request: HttpRequest, device_id: str) -> HttpResponseBase:
    """Return every reading of a range as a file, in one snapshot. It is whole if the answer ends in order."""
    device = find_visible_device(request.user, device_id)
    if device is None:
        # The same words for another's device as for none, and no statement has reached telemetry.
        return problem(403, "Forbidden", "no device of yours has this id")
    asked = read_export(request.GET, now=timezone.now())
    person = cast("User", request.user).pk
    try:
        _slots.take(person)
    except NoSlot as exc:
        return _later("Too many exports", f"too many exports at a time: {exc}", 30)
    pieces = _Pieces(_readings(device, asked), person)
    response = StreamingHttpResponse(pieces, content_type=FORMATS[asked.file_format].media_type)
    response["Content-Disposition"] = f'attachment; filename="{asked.file_name(device.device_id)}"'
    response["Cache-Control"] = "no-store"
    return _encoded(request, response, pieces, asked)


class _Pieces:
    """The pieces of an answer, and the slot that it has until it is closed.

    The first readings are fetched before the answer begins, so an unavailable database gives a 503.
    """

    def __init__(self, chunks: Iterator[bytes], person: int) -> None:
        self._chunks = chunks
        self._person = person
        self._has_slot = True
        try:
            self._first = list(islice(chunks, 2))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        while self._first:
            yield from _cut(self._first.pop(0))
        for chunk in self._chunks:
            yield from _cut(chunk)

    def close(self) -> None:
        """End the query, and make room for another export."""
        if self._has_slot:
            self._has_slot = False
            try:
                if isinstance(self._chunks, Generator):
                    self._chunks.close()
            finally:
                _slots.give_back(self._person)

    def __del__(self) -> None:
        """Make room also where nobody has closed the answer, as when a middleware fails."""
        self.close()


def _readings(device: Device, asked: ExportRequest) -> Iterator[bytes]:
    series = device_series(device.device_id)
    for metric in asked.metrics:
        if metric not in series:
            raise BadParameter("metric", f"device {device.device_id} has no metric {metric[:80]!r}")
    wanted = {metric: series[metric] for metric in asked.metrics or series}
    with (
        own_telemetry_connection() as conn,
        closing(read_blocks(conn, wanted, begin=asked.begin, end=asked.end)) as blocks,
    ):
        yield from export_chunks(
            blocks, list(wanted), file_format=asked.file_format, layout=asked.layout, zone=asked.zone
        )


def _encoded(
    request: HttpRequest, response: StreamingHttpResponse, pieces: Iterable[bytes], asked: ExportRequest
) -> StreamingHttpResponse:
    """Pack the file where that was asked for, else the answer where the client takes it."""
    accepted = request.META.get("HTTP_ACCEPT_ENCODING", "")
    takes_gzip = "gzip" in accepted and not _REFUSES_GZIP.search(accepted)
    is_packed = asked.gzip or asked.file_format == "parquet"
    if asked.gzip:
        response["Content-Type"] = "application/gzip"
        response.streaming_content = _gzipped(pieces)
    elif takes_gzip and not is_packed:
        response["Content-Encoding"] = "gzip"
        response.streaming_content = _gzipped(pieces)
    if not is_packed:
        patch_vary_headers(response, ("Accept-Encoding",))
    # The middleware would pack it again, or harder than a long answer can afford.
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    return response


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _cut(chunk: bytes) -> Iterator[bytes]:
    """Yield pieces that the server can pass on without holding much."""
    for begin in range(0, len(chunk), _PIECE):
        yield chunk[begin : begin + _PIECE]


def _later(title: str, detail: str, seconds: int) -> HttpResponse:
    response = problem(503, title, detail)
    response["Retry-After"] = str(seconds)
    return response


def _database_unavailable(request: HttpRequest, exc: DatabaseUnavailable) -> HttpResponse:  # noqa: ARG001
    log.warning("an export could not begin: %s", exc)
    return _later("Readings cannot be read now", "the database is unavailable or too busy; try again soon", 5)
