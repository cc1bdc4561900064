"""What keeps a file out, as RFC 9457 problem details: what is wrong, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence

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
from joulebook.web.api.problems import problem
from joulebook.web.imports.api.answers import QuestionAnswer, link
from joulebook.web.imports.api.parameters import parameter_of, parameter_words
from joulebook.web.imports.operations import AlreadyImported, NotYours, UnableToImport
from joulebook.web.imports.profiles import UnableToSaveProfile
from joulebook.web.imports.reading import TooManyFiles
from joulebook.web.imports.uploads.files import NoRoom, UploadTooLarge
from joulebook.web.imports.uploads.quotas import QuotaReached


class Unanswered(Exception):
    """The file can be read in several ways; `questions` are those that are open, with their answers."""

    def __init__(self, questions: Sequence[QuestionAnswer]) -> None:
        super().__init__("; ".join(each.text for each in questions if each.required))
        self.questions = questions


def install(api: NinjaAPI) -> None:
    """Let the API answer these errors."""
    api.exception_handler(Unanswered)(_unanswered)
    api.exception_handler(FileError)(_file_error)
    api.exception_handler(UploadTooLarge)(_too_large)
    api.exception_handler(NotYours)(_not_yours)
    api.exception_handler(AlreadyImported)(_already_imported)
    api.exception_handler(UnableToImport)(_unable)
    api.exception_handler(UnableToSaveProfile)(_unable)
    api.exception_handler(TooManyFiles)(_too_many_files)
    api.exception_handler(NoRoom)(_no_room)
    api.exception_handler(QuotaReached)(_quota_reached)


def _unanswered(request: HttpRequest, exc: Unanswered) -> HttpResponse:  # noqa: ARG001
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


def _too_large(request: HttpRequest, exc: UploadTooLarge) -> HttpResponse:  # noqa: ARG001
    return problem(413, "File too large", str(exc))


def _not_yours(request: HttpRequest, exc: NotYours) -> HttpResponse:  # noqa: ARG001
    return problem(403, "Forbidden", str(exc))


def _already_imported(request: HttpRequest, exc: AlreadyImported) -> HttpResponse:  # noqa: ARG001
    number = exc.earlier.pk
    detail = f"{exc}: send it with force=1"
    return problem(409, "Imported already", detail, **{"import": number, "link": link(number)})


def _unable(request: HttpRequest, exc: Exception) -> HttpResponse:  # noqa: ARG001
    return problem(409, "Not possible now", str(exc))


def _too_many_files(request: HttpRequest, exc: TooManyFiles) -> HttpResponse:  # noqa: ARG001
    response = problem(503, "Too many files", str(exc))
    response["Retry-After"] = "10"
    return response


def _quota_reached(request: HttpRequest, exc: QuotaReached) -> HttpResponse:  # noqa: ARG001
    return problem(409, "Limit reached", str(exc), code=exc.code)


def _no_room(request: HttpRequest, exc: NoRoom) -> HttpResponse:  # noqa: ARG001
    return problem(507, "Insufficient storage", str(exc))
