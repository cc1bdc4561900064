"""`GET /api/imports/<number>/rejected.csv`: every row and cell that was not stored, sent while it is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from itertools import islice

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.imports.problems import read_problems
from joulebook.web.history.queries import telemetry_connection
from joulebook.web.imports.models import Import
from joulebook.web.problems import problem
from joulebook.web.server import THREADS

LISTS_AT_ONCE = THREADS // 4
"""A list keeps one of the server's threads as long as its client takes it."""

_AT_ONCE = 1000
_places = threading.BoundedSemaphore(LISTS_AT_ONCE)


def rejected_rows(import_: Import) -> HttpResponseBase:
    """Return the list as CSV; 503 where others are being fetched, and `DatabaseAway` raised at once."""
    if not _places.acquire(blocking=False):
        busy: HttpResponse = problem(503, "Too many lists", "others are being fetched; try again soon")
        busy["Retry-After"] = "10"
        return busy
    response = StreamingHttpResponse(_Pieces(import_.pk), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="import-{import_.pk}-rejected.csv"'
    response["Cache-Control"] = "no-store"
    return response


class _Pieces:
    """The list in pieces, and the place that it takes until it is closed; the first is read at once."""

    def __init__(self, number: int) -> None:
        self._has_place = True
        self._pieces = _csv(number)
        try:
            self._first = next(self._pieces)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._pieces

    def close(self) -> None:
        """Make room for another list."""
        if self._has_place:
            self._has_place = False
            _places.release()

    def __del__(self) -> None:
        """Make room also where nobody has closed the answer."""
        self.close()


def _csv(number: int) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = RejectedWriter(text)
    with telemetry_connection() as conn:
        problems = read_problems(conn, number)
        while some := list(islice(problems, _AT_ONCE)):
            writer.add(some)
            yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    """Take what was written out of the text."""
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written
