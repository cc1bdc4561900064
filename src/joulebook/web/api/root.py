"""The one API of the web: each app adds its addresses, and errors are problem details."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError

from joulebook import __version__
from joulebook.web.api.parameters import BadParameter
from joulebook.web.api.problems import ProblemAPI, problem


def create_api(authentication: Sequence[Callable[[HttpRequest], object]]) -> NinjaAPI:
    """Return the API without addresses. A request passes by any one of the ways of `authentication`."""
    api = ProblemAPI(
        title="Joulebook",
        version=__version__,
        description="Devices and what their metrics mean, and any range of their readings.",
        auth=authentication,
        urls_namespace="api",
    )
    api.exception_handler(AuthenticationError)(_not_signed_in)
    api.exception_handler(BadParameter)(_bad_parameter)
    api.exception_handler(OperationalError)(_telemetry_unavailable)
    api.exception_handler(TooManyFieldsSent)(_too_many_parameters)
    return api


def _not_signed_in(request: HttpRequest, exc: AuthenticationError) -> HttpResponse:  # noqa: ARG001
    response = problem(
        401, "Unauthorized", "sign in, or send a token that is in force: Authorization: Bearer …"
    )
    response["WWW-Authenticate"] = "Bearer"
    return response


def _bad_parameter(request: HttpRequest, exc: BadParameter) -> HttpResponse:  # noqa: ARG001
    return problem(400, "Bad parameter", str(exc), parameter=exc.parameter)


def _telemetry_unavailable(request: HttpRequest, exc: OperationalError) -> HttpResponse:  # noqa: ARG001
    response = problem(
        503, "Readings cannot be read now", "the database is unavailable or too busy; try again soon"
    )
    response["Retry-After"] = "5"
    return response


def _too_many_parameters(request: HttpRequest, exc: TooManyFieldsSent) -> HttpResponse:  # noqa: ARG001
    most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    return problem(400, "Too many parameters", f"a request has at most {most:,} parameters")
