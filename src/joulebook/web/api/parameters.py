"""Queries and JSON bodies of requests: every name is known, and a bad value is reported with its name."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast

from django.http import HttpRequest, QueryDict
from ninja import NinjaAPI
from ninja.params.models import Body, BodyModel, Query, QueryModel
from pydantic import BaseModel, BeforeValidator, ValidationError, ValidationInfo, WithJsonSchema

_LONGEST_NAME = 40
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class BadParameter(Exception):
    """A parameter has an unusable value. `parameter` is its name, the message says why and what helps."""

    title = "Bad parameter"

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class BadField(BadParameter):
    """A field of the body has an unusable value; `body` is the name of the body as a whole."""

    title = "Bad field"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, f"{field}: {message}")


def bad_parameter(info: ValidationInfo, message: str) -> BadParameter:
    """Return the refusal of the parameter that is validated."""
    return BadParameter(str(info.field_name), message)


def _read_instant(text: str, info: ValidationInfo) -> datetime:
    name = info.field_name
    # An unescaped plus arrives as a blank.
    written = text.replace(" ", "+") if "T" in text.upper() else text
    try:
        instant = datetime.fromisoformat(written)
    except ValueError:
        raise bad_parameter(
            info, f"{name} {text[:40]!r} is not a time such as 2026-11-21T09:30:00Z"
        ) from None
    if instant.tzinfo is None:
        raise bad_parameter(info, f"{name} {text[:40]!r} has no offset; end it with Z or +hh:mm")
    try:
        instant = instant.astimezone(UTC)
    except OverflowError:
        instant = _LATEST + timedelta(days=1)
    if not _EARLIEST <= instant <= _LATEST:
        raise bad_parameter(info, f"{name} {text[:40]!r} is outside the years 1970 to 2199")
    return instant


Instant = Annotated[
    datetime | None,
    BeforeValidator(_read_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant of a query, or None without one."""


def whole_number(most: int) -> BeforeValidator:
    """Return what reads a whole number of a query, from 1 to `most`."""

    def read(text: str, info: ValidationInfo) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
            name = info.field_name
            raise bad_parameter(info, f"{name} {text[:40]!r} is not a whole number from 1 to {most}")
        return int(text)

    return BeforeValidator(read)


def check_names(
    query: QueryDict, known: Collection[str] = (), *, repeatable: Collection[str] = ("metric",)
) -> None:
    """Raise `BadParameter` for an unknown name, or a second value of a name that is not repeatable."""
    for name in query:
        if name not in known:
            remedy = f"use {', '.join(known)}" if known else "this address takes none"
            short = name[:_LONGEST_NAME]
            raise BadParameter(short, f"parameter {short!r} is not known; {remedy}")
        if name not in repeatable and len(query.getlist(name)) > 1:
            raise BadParameter(name, f"{name} is given {len(query.getlist(name))} times; give it once")


def _first_error(exc: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Return the place and the message of the first bad value; what is missing comes after what is given."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    first = min(errors, key=lambda error: error["type"] == "missing")
    return first["loc"], first["msg"]


class _StrictQueryModel(QueryModel):
    @classmethod
    def resolve(cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]) -> Any:
        try:
            return super().resolve(request, api, path_params)
        except ValidationError as exc:
            place, message = _first_error(exc)
            # The first part is the argument that takes the whole query.
            name = str(place[1])
            raise BadParameter(name, f"{name}: {message}") from None

    @classmethod
    def get_request_data(
        cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]
    ) -> dict[str, Any] | None:
        fields = cast("Any", cls)
        check_names(request.GET, fields.__ninja_flatten_map__, repeatable=fields.__ninja_collection_fields__)
        return super().get_request_data(request, api, path_params)


class StrictQuery(Query):  # type: ignore[misc]
    """Fills a schema from the query. Ninja's own drops unknown names and takes the last of several values."""

    _model = _StrictQueryModel

    @classmethod
    def _param_source(cls) -> str:
        return "query"


class _StrictBodyModel(BodyModel):
    @classmethod
    def resolve(cls, request: HttpRequest, api: NinjaAPI, path_params: dict[str, Any]) -> Any:  # noqa: ARG003
        check_names(request.GET)
        [(name, field)] = cls.model_fields.items()
        schema = cast("type[BaseModel]", field.annotation)
        try:
            return {name: schema.model_validate_json(request.body)}
        except ValidationError as exc:
            place, message = _first_error(exc)
            raise BadField(str(place[0])[:_LONGEST_NAME] if place else "body", message) from None


class StrictBody(Body):  # type: ignore[misc]
    """Fills a schema from the JSON of the body, and refuses any parameter in the query.

    Ninja's own parser accepts NaN and lone surrogates, and its errors do not name the field.
    """

    _model = _StrictBodyModel

    @classmethod
    def _param_source(cls) -> str:
        return "body"
