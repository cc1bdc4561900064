"""`GET /api/export/<device>`: every reading of any range, sent while it is read."""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from datetime import UTC
from typing import Annotated

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from ninja import Router

from joulebook.telemetry.connection import one_snapshot
from joulebook.telemetry.export.formats import FORMATS, export_chunks
from joulebook.telemetry.export.reading import read_blocks, read_metric_texts
from joulebook.web.accounts.authentication import authentication
from joulebook.web.api.parameters import BadParameter, StrictQuery
from joulebook.web.api.problems import documented_problems, unavailable
from joulebook.web.devices.gate import DeviceRequest, visible_device
from joulebook.web.devices.models import Device
from joulebook.web.history.export.parameters import ExportQuery
from joulebook.web.slots import NoSlot, SlotPieces, Slots
from joulebook.web.telemetry import device_series, own_telemetry_connection

EXPORTS_AT_ONCE = 8
"""Each holds a connection to the database, and a snapshot of it, until its client has the file."""

EXPORTS_OF_ONE_PERSON = 4

_BUSY_RETRY_SECONDS = 30
_PIECE = 256 * 1024
# Level 1 compresses 100 MB/s, three times the usual level's speed, to a little more than its size.
_LEVEL = 1
# To zlib this means the format of gzip, with the largest window.
_GZIP = 31
_REFUSES_GZIP = re.compile(r"\bgzip\s*;\s*q=0(\.0*)?\s*(,|$)")

router = Router(tags=["export"], auth=authentication(visible_device))
_slots = Slots(EXPORTS_AT_ONCE, per_person=EXPORTS_OF_ONE_PERSON)

_OPERATION = documented_problems(400, 401, 403, 503)
_OPERATION["responses"][200] = {
    "description": "the file, from one snapshot; complete only if the answer ends in order",
    "content": {each.media_type: {"schema": {"type": "string"}} for each in FORMATS.values()},
}


@router.get("/{device_id}", url_name="export", summary="Export a device's readings", openapi_extra=_OPERATION)
def export_readings(
    request: DeviceRequest, device_id: str, asked: Annotated[ExportQuery, StrictQuery(...)]
) -> HttpResponseBase:
    """Return every reading of a range as a file, from one snapshot. It is complete if it ends in order."""
    begin, end, word = asked.bounds(now=timezone.now())
    try:
        _slots.take(request.user.pk)
    except NoSlot as exc:
        detail = f"too many exports at a time: {exc}"
        return unavailable("Too many exports", detail, retry_seconds=_BUSY_RETRY_SECONDS)
    pieces = _Pieces(_readings(request.auth, asked, begin, end), _slots, request.user.pk, ahead=2)
    response = StreamingHttpResponse(pieces, content_type=FORMATS[asked.format].media_type)
    response["Content-Disposition"] = f'attachment; filename="{asked.file_name(device_id, word)}"'
    response["Cache-Control"] = "no-store"
    return _compressed(request, response, pieces, asked)


class _Pieces(SlotPieces):
    """The pieces of an export: its chunks, cut. The second chunk holds the first readings."""

    def __iter__(self) -> Iterator[bytes]:
        for chunk in super().__iter__():
            yield from _cut(chunk)


def _readings(device: Device, asked: ExportQuery, begin: int, end: int) -> Generator[bytes, None, None]:
    series = device_series(device.device_id)
    for metric in asked.metrics:
        if metric not in series:
            raise BadParameter("metric", f"device {device.device_id} has no metric {metric[:80]!r}")
    wanted = {metric: series[metric].id for metric in asked.metrics or series}
    with (
        own_telemetry_connection() as conn,
        one_snapshot(conn),
        closing(read_blocks(conn, wanted, begin=begin, end=end, corrected=asked.corrected)) as blocks,
    ):
        yield from export_chunks(
            blocks,
            list(wanted),
            file_format=asked.format,
            layout=asked.layout,
            zone=asked.tz or UTC,
            texts=read_metric_texts(conn, wanted),
        )


def _compressed(
    request: HttpRequest, response: StreamingHttpResponse, pieces: Iterable[bytes], asked: ExportQuery
) -> StreamingHttpResponse:
    """Compress the file if that was requested, else the answer on its way if the client accepts that."""
    accepted = request.META.get("HTTP_ACCEPT_ENCODING", "")
    accepts_gzip = "gzip" in accepted and not _REFUSES_GZIP.search(accepted)
    has_compression = asked.is_compressed or asked.format == "parquet"
    if asked.is_compressed:
        response["Content-Type"] = "application/gzip"
        response.streaming_content = _gzipped(pieces)
    elif accepts_gzip and not has_compression:
        response["Content-Encoding"] = "gzip"
        response.streaming_content = _gzipped(pieces)
    if not has_compression:
        patch_vary_headers(response, ("Accept-Encoding",))
    # The middleware would compress it again, or at a level too slow for a long answer.
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    return response


def _gzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()


def _cut(chunk: bytes) -> Iterator[bytes]:
    """Yield pieces small enough for the server's buffers."""
    for begin in range(0, len(chunk), _PIECE):
        yield chunk[begin : begin + _PIECE]
