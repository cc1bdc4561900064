"""The answers of the API of imports: their schemas, and how they are filled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, cast

from django.http import HttpResponse
from ninja import Schema
from pydantic import Field

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.guess.questions import Question, ReadingSetting
from joulebook.telemetry.files.preview import PreviewRow
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.settings import setting_texts
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import Progress, read_progress
from joulebook.telemetry.readings import from_microseconds
from joulebook.web.imports.api.parameters import parameter_of, parameter_words
from joulebook.web.imports.models import Import, report_fields

ImportState = Literal[
    "draft", "queued", "running", "done", "refused", "failed", "cancelled", "undoing", "undone"
]


class FileAnswer(Schema):
    """The file of an import."""

    name: str = Field(description="the sender's name for it")
    size: int = Field(description="bytes, as sent")
    sha256: str


class CountsAnswer(Schema):
    """Counts of rows and cells so far; the report has them by column."""

    rows_read: int
    rows_rejected: int
    cells_stored: int
    cells_replaced: int
    cells_duplicate: int
    cells_conflict: int
    cells_na: int
    cells_malformed: int


class LinksAnswer(Schema):
    """Addresses of the import."""

    self: str
    cancel: str
    rejected: str


class ImportAnswer(Schema):
    """One import: its file, settings, state and counts."""

    id: int
    state: ImportState
    device: str | None = Field(description="the device of its readings; null: not chosen yet")
    devices: list[str] = Field(description="all devices it may store readings of")
    user: str | None = Field(description="uploaded by this user; null: the user was removed")
    file: FileAnswer
    on_conflict: Literal["keep", "replace"]
    strict: bool
    problem: str = Field(description="the reason for an early end; empty: none")
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    undone_at: datetime | None
    counts: CountsAnswer
    links: LinksAnswer


class ImportsAnswer(Schema):
    """Imports, the newest first."""

    imports: list[ImportAnswer]
    next: str | None = Field(description="address of the next older imports; null: none")


class ProblemAnswer(Schema):
    """A row or cell not stored, or a file left out."""

    file: str | None = Field(description="of an import of several files; null: it has one")
    line: int
    column: str | None = Field(description="null: the whole row")
    code: str
    text: str


class ProgressAnswer(Schema):
    """The progress of a running import."""

    bytes_read: int
    share: float = Field(description="of the file's bytes, 0 to 1")
    updated_at: datetime


class WholeImportAnswer(ImportAnswer):
    """One import with all details."""

    profile: dict[str, Any] = Field(description="the reading settings; PUT them to save them under a name")
    progress: ProgressAnswer | None = Field(description="null: it is not running")
    report: dict[str, Any] | None = Field(description="the report; null: none yet")
    problems: list[ProblemAnswer] = Field(description="the first ones; rejected.csv has all")


class SettingAnswer(Schema):
    """A reading setting and its source."""

    name: str
    value: str
    source: str


class ChoiceAnswer(Schema):
    """One answer to a question, as parameters."""

    label: str
    parameters: dict[str, list[str]]


class QuestionAnswer(Schema):
    """A question left open by a file. Without an answer the first one is used, unless one is required."""

    parameter: str
    text: str
    required: bool
    answers: list[ChoiceAnswer]


class QueuedAnswer(ImportAnswer):
    """An import waiting for a worker, with its reading settings."""

    settings: list[SettingAnswer]
    questions: list[QuestionAnswer]


class ReadingAnswer(Schema):
    """A reading of a row."""

    metric: str
    time: datetime
    value: float


class RowAnswer(Schema):
    """One of the file's first rows, with its readings."""

    line: int
    text: str
    readings: list[ReadingAnswer]
    problems: list[ProblemAnswer]


class DryRunAnswer(Schema):
    """The outcome of a dry run: nothing is stored, and the file is removed."""

    device: str
    file: FileAnswer
    profile: dict[str, Any]
    settings: list[SettingAnswer]
    questions: list[QuestionAnswer]
    rows: list[RowAnswer] = Field(description="the first ones")
    report: dict[str, Any]


class ProfileEntry(Schema):
    """A profile in the list."""

    name: str
    built_in: bool
    about: str = Field(description="the files a built-in profile is for")
    created_at: datetime | None
    link: str


class ProfilesAnswer(Schema):
    """The profiles available to the user: the built-in ones, and the user's own."""

    profiles: list[ProfileEntry]


class BuiltinAnswer(Schema):
    """A built-in profile as parameters of an import; all other settings are guessed."""

    name: str
    built_in: Literal[True]
    about: str
    parameters: dict[str, list[str]]


def settings_answer(settings: tuple[ReadingSetting, ...]) -> list[SettingAnswer]:
    """Return settings as an answer."""
    return [SettingAnswer(name=each.name, value=each.value, source=each.reason) for each in settings]


def question_answer(question: Question) -> QuestionAnswer:
    """Return a question with its answers as parameters."""
    return QuestionAnswer(
        parameter=parameter_of(question.setting),
        text=question.said(parameter_words),
        required=question.is_required,
        answers=[
            ChoiceAnswer(label=answer.label, parameters=setting_texts(answer.given))
            for answer in question.answers
        ],
    )


def problem_answer(problem: Problem) -> ProblemAnswer:
    """Return a row or cell not stored as an answer."""
    return ProblemAnswer(
        file=problem.file or None,
        line=problem.line,
        column=problem.column,
        code=problem.code,
        text=problem.text,
    )


def row_answer(row: PreviewRow, values: tuple[ValueColumn, ...]) -> RowAnswer:
    """Return a row with its readings; `values` are the profile's value columns."""
    readings = [
        ReadingAnswer(metric=values[column].metric, time=from_microseconds(time), value=value)
        for column, time, value in row.readings
    ]
    problems = [problem_answer(problem) for problem in row.problems]
    return RowAnswer(line=row.line, text=row.text, readings=readings, problems=problems)


MOST_PROBLEMS = 100
"""Problems in an answer; rejected.csv has all."""

_COUNTS = tuple(CountsAnswer.model_fields)


def import_link(number: int | None = None) -> str:
    """Return the address of an import, or of their list."""
    return "/api/imports" if number is None else f"/api/imports/{number}"


def import_answer(import_: Import) -> ImportAnswer:
    """Return an import without the details stored beside its readings."""
    return ImportAnswer(
        id=import_.pk,
        state=cast("ImportState", import_.state),
        device=import_.device.device_id if import_.device else None,
        devices=sorted(device.device_id for device in import_.devices.all()),
        user=import_.user.get_username() if import_.user else None,
        file=FileAnswer(name=import_.file_name, size=import_.file_size, sha256=import_.file_sha256),
        on_conflict=cast('Literal["keep", "replace"]', import_.on_conflict),
        strict=import_.is_strict,
        problem=import_.problem,
        created_at=import_.created_at,
        queued_at=import_.queued_at,
        started_at=import_.started_at,
        finished_at=import_.finished_at,
        undone_at=import_.undone_at,
        counts=CountsAnswer(**{name: getattr(import_, name) for name in _COUNTS}),
        links=LinksAnswer(
            self=import_link(import_.pk),
            cancel=f"{import_link(import_.pk)}/cancel",
            rejected=f"{import_link(import_.pk)}/rejected.csv",
        ),
    )


@dataclass(frozen=True)
class RunDetails:
    """Details of an import stored beside its readings; `progress` is None if it was never begun."""

    progress: Progress | None
    problems: list[Problem]


def read_run_details(conn: Connection, import_: Import) -> RunDetails:
    """Return the details stored beside the readings. Raises `DatabaseUnavailable`."""
    progress = read_progress(conn, import_.pk)
    problems = read_problems(conn, import_.pk, limit=MOST_PROBLEMS) if progress is not None else ()
    return RunDetails(progress, list(problems))


def has_begun(import_: Import) -> bool:
    """Return whether an import may have details beside the readings."""
    return import_.state not in (Import.State.DRAFT, Import.State.QUEUED)


def whole_import(import_: Import, details: RunDetails | None = None) -> WholeImportAnswer:
    """Return an import with all details; `details` are those beside the readings, if it has begun."""
    answer, progress, report = import_answer(import_), None, import_.report
    listed = (report or {}).get("problems", [])[:MOST_PROBLEMS]
    problems = [ProblemAnswer(**{k: each.get(k) for k in ProblemAnswer.model_fields}) for each in listed]
    if details is not None and details.progress is not None:
        found = details.progress
        problems = [problem_answer(each) for each in details.problems] or problems
        if import_.state == Import.State.RUNNING:
            share = min(1.0, found.bytes_read / import_.file_size) if import_.file_size else 0.0
            progress = ProgressAnswer(
                bytes_read=found.bytes_read, share=round(share, 4), updated_at=found.updated_at
            )
        if found.report is not None and (progress is not None or report is None):
            so_far = report_fields(ImportReport.from_state(found.report))
            report = so_far.pop("report")
            answer.counts = CountsAnswer(**so_far)
    return WholeImportAnswer(
        **dict(answer),
        profile=import_.profile,
        progress=progress,
        report=None if report is None else {k: v for k, v in report.items() if k != "problems"},
        problems=problems,
    )


def json_response(body: Schema, *, status: int = HTTPStatus.OK) -> HttpResponse:
    """Return an answer as JSON."""
    return HttpResponse(body.model_dump_json(), status=status, content_type="application/json")
