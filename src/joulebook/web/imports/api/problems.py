"""Errors of the API of imports as RFC 9457 problem details, and their description for OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from joulebook.telemetry.files.errors import (
    FileError,
    FileTooLarge,
    ReadingAbandoned,
    TooMuchWork,
    UnclearFile,
    UnusableProfile,
)
from joulebook.web.api.problems import problem, unavailable
from joulebook.web.imports.api.answers import QuestionAnswer, import_link
from joulebook.web.imports.api.parameters import parameter_of, parameter_words
from joulebook.web.imports.operations import AlreadyImported, NotYours, QuotaReached, UnableToImport
from joulebook.web.imports.profiles import UnableToSaveProfile
from joulebook.web.imports.uploads.files import DiskFull, UploadTooLarge
from joulebook.web.imports.uploads.reading import TooManyFiles


class OpenQuestions(Exception):
    """The file can be read in several ways; `questions` are the open ones, with their answers."""

    def __init__(self, questions: Sequence[QuestionAnswer]) -> None:
        super().__init__("; ".join(each.text for each in questions if each.required))
        self.questions = questions


_PLAIN_PROBLEMS: dict[type[Exception], tuple[int, str]] = {
    UploadTooLarge: (413, "File too large"),
    NotYours: (403, "Forbidden"),
    UnableToImport: (409, "Not possible now"),
    UnableToSaveProfile: (409, "Not possible now"),
    DiskFull: (507, "Insufficient storage"),
}
"""Errors with nothing but a status, a title, and their message."""


def install_problems(api: NinjaAPI) -> None:
    """Add the errors of imports to the API."""
    for error, (status, title) in _PLAIN_PROBLEMS.items():
        api.exception_handler(error)(partial(_plain_problem, status, title))
    api.exception_handler(OpenQuestions)(_open_questions)
    api.exception_handler(FileError)(_file_error)
    api.exception_handler(AlreadyImported)(_already_imported)
    api.exception_handler(TooManyFiles)(_too_many_files)
    api.exception_handler(QuotaReached)(_quota_reached)


def _plain_problem(status: int, title: str, request: HttpRequest, exc: Exception) -> HttpResponse:  # noqa: ARG001
    return problem(status, title, str(exc))


def _open_questions(request: HttpRequest, exc: OpenQuestions) -> HttpResponse:  # noqa: ARG001
    questions = [question.model_dump() for question in exc.questions]
    return problem(422, "The file leaves something open", str(exc), questions=questions)


def _file_error(request: HttpRequest, exc: FileError) -> HttpResponse:  # noqa: ARG001
    detail = exc.said(parameter_words)
    named = parameter_of(exc.setting)
    if named and not isinstance(exc, FileTooLarge | UnclearFile):
        return problem(400, "Bad parameter", detail, parameter=named)
    if isinstance(exc, TooMuchWork | ReadingAbandoned):
        return problem(400, "Too much work", detail)
    if isinstance(exc, FileTooLarge):
        return problem(413, "File too large", detail)
    if isinstance(exc, UnclearFile):
        return problem(422, "The file leaves something open", detail, questions=[])
    if isinstance(exc, UnusableProfile):
        return problem(400, "Settings do not fit", detail)
    return problem(400, "File cannot be read", detail)


def _already_imported(request: HttpRequest, exc: AlreadyImported) -> HttpResponse:  # noqa: ARG001
    number = exc.earlier.pk
    detail = f"{exc}: send it with force=1"
    return problem(409, "Imported already", detail, **{"import": number, "link": import_link(number)})


def _too_many_files(request: HttpRequest, exc: TooManyFiles) -> HttpResponse:  # noqa: ARG001
    return unavailable("Too many files", str(exc), retry_seconds=10)


def _quota_reached(request: HttpRequest, exc: QuotaReached) -> HttpResponse:  # noqa: ARG001
    return problem(409, "Limit reached", str(exc), code=exc.code)


_PROBLEM = {"schema": {"type": "object", "description": "RFC 9457 problem details"}}
_DESCRIPTIONS = {
    400: "a parameter cannot be used (`parameter` names it), or the file cannot be read",
    401: "not signed in, and no active token",
    403: "no device of yours has this id, or no import of yours this number; or the CSRF token is missing",
    404: "there is no profile of this name, or the number in the address is none",
    409: "not possible now; or imported already, then `import` is the earlier import",
    413: "larger than the limit for files, as sent or inflated",
    422: "the file leaves something open: `questions`, with answers as parameters",
    503: "the readings' database is unavailable, or too many files are being read",
    507: "the disk has no room for the file",
}


def described_problems(*statuses: int) -> dict[int, Any]:
    """Return the errors with these status codes as OpenAPI describes them."""
    return {
        status: {"description": _DESCRIPTIONS[status], "content": {"application/problem+json": _PROBLEM}}
        for status in statuses
    }
