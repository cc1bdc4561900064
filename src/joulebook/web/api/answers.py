"""Answers in JSON: compressed where the client takes it, and not sent again where it has them already."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import get_conditional_response
from numpy.typing import NDArray

# msgspec writes NaN, which stands for "no reading", as null.
encode = msgspec.json.Encoder().encode


def encoded(numbers: NDArray[Any]) -> msgspec.Raw:
    """Return an array as JSON: as Python's numbers, all arrays of an answer together would take far more."""
    return msgspec.Raw(encode(numbers.tolist()))


_gzip = GZipMiddleware(lambda _request: HttpResponse())


def json_answer(request: HttpRequest, answer: dict[str, Any]) -> HttpResponse:
    """Return an answer about readings, or 304 where the client's copy is still true.

    Readings may come late for any range, so a copy is never true without asking; its tag is of what it
    says, so asking costs no transfer.
    """
    body = encode(answer)
    response = HttpResponse(body, content_type="application/json")
    response["Cache-Control"] = "private, no-cache"
    response["ETag"] = f'W/"{blake2b(body, digest_size=16).hexdigest()}"'
    known = get_conditional_response(request, etag=response["ETag"], response=response)
    if known is not None and known.status_code == 304:
        headers = {name: response[name] for name in ("ETag", "Cache-Control")}
        return HttpResponse(status=304, headers={**headers, "Vary": "Accept-Encoding"})
    _gzip.process_response(request, response)
    return response
