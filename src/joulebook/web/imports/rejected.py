"""`rejected.csv` of an import: every row and cell not stored, streamed from the database."""

from __future__ import annotations

import io
from collections.abc import Generator
from itertools import islice

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase

from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.imports.problems import read_problems
from joulebook.web.api.problems import unavailable
from joulebook.web.imports.models import Import
from joulebook.web.slots import NoSlot, SlotPieces, Slots
from joulebook.web.telemetry import own_telemetry_connection

LISTS_AT_ONCE = 4
"""Each uses a database connection until its client has received it."""

LISTS_OF_ONE_PERSON = 2

_ROWS_IN_A_PIECE = 1000
_slots = Slots(LISTS_AT_ONCE, per_person=LISTS_OF_ONE_PERSON)


def rejected_csv(import_: Import, *, person: int) -> HttpResponseBase:
    """Return the list as CSV, or 503 if too many lists are being sent. Raises `DatabaseUnavailable`."""
    try:
        _slots.take(person)
    except NoSlot as exc:
        return unavailable("Too many lists", f"too many lists are being sent: {exc}", retry_seconds=10)
    pieces = SlotPieces(_csv(import_.pk), _slots, person)
    response = StreamingHttpResponse(pieces, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="import-{import_.pk}-rejected.csv"'
    response["Cache-Control"] = "no-store"
    return response


def _csv(number: int) -> Generator[bytes, None, None]:
    text = io.StringIO(newline="")
    writer = RejectedWriter(text)
    with own_telemetry_connection() as conn:
        problems = read_problems(conn, number)
        while some := list(islice(problems, _ROWS_IN_A_PIECE)):
            writer.add(some)
            yield _take_written(text)
    yield _take_written(text)


def _take_written(text: io.StringIO) -> bytes:
    """Return the text written so far, and empty the buffer."""
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written
