"""The one API of the web. `urls` adds the apps' routers; every error is a problem."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent, ValidationError
from django.db import DataError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError
from ninja.operation import Operation
from ninja.renderers import BaseRenderer

from joulebook import __version__
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.history.columns import TooManyNumbers
from joulebook.telemetry.history.states import ChangesTooOften
from joulebook.web.api.answers import encode
from joulebook.web.api.parameters import BadField, BadParameter
from joulebook.web.api.problems import DATABASE_RETRY_SECONDS, problem, unavailable
from joulebook.web.origins import csrf_problem

log = logging.getLogger(__name__)

_View = Callable[..., HttpResponseBase]


class _Renderer(BaseRenderer):
    """Encodes with msgspec: ninja's own renderer cuts times to milliseconds."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:  # noqa: ARG002
        return encode(data)


class RootAPI(NinjaAPI):
    """Ninja's API with problem details for unknown addresses and methods, too."""

    def get_content_type(self) -> str:
        """Return the type without a charset: JSON is UTF-8."""
        return str(self.renderer.media_type)

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the view's name: `list_devices`."""
        return operation.view_func.__name__

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """Return the addresses for Django. The last one matches every unknown address."""
        patterns, app, namespace = super().urls
        own = [_with_problems(each) if isinstance(each, URLPattern) else each for each in patterns]
        return [*own, re_path("", _no_such_address)], app, namespace


def _with_problems(pattern: URLPattern) -> URLPattern:
    """Return the address with a problem as its answer to an unknown method."""
    view: _View = pattern.callback

    @wraps(view)
    def answer(request: HttpRequest, *words: object, **named: object) -> HttpResponseBase:
        response = view(request, *words, **named)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        # They come from a set: in one order, from every process.
        allowed = ", ".join(sorted(response["Allow"].split(", ")))
        detail = f"this address does not know {request.method}; use {allowed}"
        refused = problem(405, "Method Not Allowed", detail)
        refused["Allow"] = allowed
        return refused

    return URLPattern(pattern.pattern, answer, pattern.default_args, pattern.name)


def _no_such_address(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return problem(404, "Not Found", "the API has no such address; /api/docs lists all that it has")


_no_such_address.csrf_exempt = True  # type: ignore[attr-defined]  # it changes nothing


def create_api(authentication: Sequence[Callable[[HttpRequest], object]]) -> RootAPI:
    """Return the API without addresses. One successful way of `authentication` is enough for a request."""
    api = RootAPI(
        title="Joulebook",
        version=__version__,
        description="Devices and what their metrics mean, and any range of their readings.",
        auth=authentication,
        urls_namespace="api",
        renderer=_Renderer(),
        servers=[{"url": settings.CONFIG.web_url or "/"}],
    )
    api.exception_handler(AuthenticationError)(_not_signed_in)
    api.exception_handler(HttpError)(_refused)
    api.exception_handler(BadParameter)(_bad_parameter)
    api.exception_handler(ValidationError)(_invalid_model)
    api.exception_handler(TooManyFieldsSent)(_too_many_parameters)
    api.exception_handler(TooManyNumbers)(_too_many_numbers)
    api.exception_handler(ChangesTooOften)(_changes_too_often)
    api.exception_handler(DataError)(_not_computable)
    api.exception_handler(OperationalError)(_database_unavailable)
    api.exception_handler(DatabaseUnavailable)(_database_unavailable)
    return api


def _not_signed_in(request: HttpRequest, exc: AuthenticationError) -> HttpResponse:  # noqa: ARG001
    response = problem(
        401, "Unauthorized", "sign in, or send a token that is in force: Authorization: Bearer …"
    )
    response["WWW-Authenticate"] = "Bearer"
    return response


def _refused(request: HttpRequest, exc: HttpError) -> HttpResponse:
    detail = str(exc)
    if exc.status_code == HTTPStatus.FORBIDDEN and "CSRF" in detail:
        detail = csrf_problem(request) or (
            "the CSRF token is missing or wrong: send it as X-CSRFToken, or use a user's token"
        )
    return problem(exc.status_code, HTTPStatus(exc.status_code).phrase, detail)


def _bad_parameter(request: HttpRequest, exc: BadParameter) -> HttpResponse:  # noqa: ARG001
    return problem(400, exc.title, str(exc), parameter=exc.parameter)


def _invalid_model(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    """Answer a model's own refusal of a value, with the field's name."""
    by_field = exc.message_dict if hasattr(exc, "error_dict") else {"body": exc.messages}
    field, texts = next(iter(by_field.items()))
    return _bad_parameter(request, BadField(field, " ".join(texts)))


def _too_many_parameters(request: HttpRequest, exc: TooManyFieldsSent) -> HttpResponse:  # noqa: ARG001
    most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    return problem(400, "Too many parameters", f"a request has at most {most:,} parameters")


def _too_many_numbers(request: HttpRequest, exc: TooManyNumbers) -> HttpResponse:  # noqa: ARG001
    return problem(400, "Too many numbers", str(exc), parameter=exc.parameter)


def _changes_too_often(request: HttpRequest, exc: ChangesTooOften) -> HttpResponse:  # noqa: ARG001
    detail = f"the state {str(exc)[:80]} changes too often to be told over this range; ask for a shorter one"
    return problem(400, "Range too long", detail, parameter="range")


def _not_computable(request: HttpRequest, exc: DataError) -> HttpResponse:
    log.error("the answer to %s could not be computed: %s", request.path_info, exc)
    return problem(500, "Not computable", "the readings of this range cannot be summed; try a shorter one")


def _database_unavailable(request: HttpRequest, exc: Exception) -> HttpResponse:
    if isinstance(exc, DatabaseUnavailable):
        log.warning("no answer to %s: %s", request.path_info, exc)
    return unavailable(
        "Readings cannot be read now",
        "the database is unavailable or too busy; try again soon",
        retry_seconds=DATABASE_RETRY_SECONDS,
    )
