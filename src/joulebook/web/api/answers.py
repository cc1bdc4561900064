"""Answers in JSON: compressed if the client accepts it, and 304 if the client's copy is still valid."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils.cache import get_conditional_response
from numpy.typing import NDArray

# msgspec writes NaN, "no reading" in the arrays, as null.
encode = msgspec.json.Encoder().encode

_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
Numbers = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=_NUMBERS)]
"""An array of numbers and nulls, already encoded by `encode_array`."""

Integers = Annotated[
    msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "array", "items": {"type": "integer"}})
]


def encode_array(numbers: NDArray[Any]) -> msgspec.Raw:
    """Return an array as JSON.

    Encoding arrays one by one saves memory: Python's numbers take far more of it than the array and its text.
    """
    return msgspec.Raw(encode(numbers.tolist()))


_gzip = GZipMiddleware(lambda _request: HttpResponse())


def json_answer(request: HttpRequest, answer: msgspec.Struct) -> HttpResponse:
    """Return an answer about readings, or 304 if the client's copy is still valid.

    Late readings can change any range, so the client must ask each time. The ETag is a hash of the answer's
    content, so an unchanged answer is not sent again.
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


def documented_answer(answer: type[msgspec.Struct], description: str) -> dict[int, Any]:
    """Return OpenAPI's description of a 200 with an answer of this type, as a schema without references."""
    [schema], definitions = msgspec.json.schema_components([answer], ref_template="{name}")

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(definitions[node["$ref"]])
        return {name: resolved(each) for name, each in node.items()}

    content = {"application/json": {"schema": resolved(schema)}}
    return {200: {"description": description, "content": content}}
