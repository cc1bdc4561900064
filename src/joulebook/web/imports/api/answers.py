"""Imports as the API answers them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from ninja import Schema
from pydantic import Field

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.guess.questions import Question, ReadingSetting
from joulebook.telemetry.files.preview import PreviewRow
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import Progress, read_progress
from joulebook.telemetry.readings import from_microseconds
from joulebook.web.imports.api.parameters import parameter_words, parameters_of
from joulebook.web.imports.models import Import
from joulebook.web.imports.report import counted

ImportState = Literal[
    "draft", "queued", "running", "done", "refused", "failed", "cancelled", "undoing", "undone"
]


class FileAnswer(Schema):
    """The file of an import."""

    name: str = Field(description="what its sender calls it")
    size: int = Field(description="bytes as it was sent")
    sha256: str


class CountsAnswer(Schema):
    """What became of the file, as far as it is known; see the report for each column."""

    rows_read: int
    rows_rejected: int
    cells_stored: int
    cells_replaced: int
    cells_duplicate: int
    cells_conflict: int
    cells_na: int
    cells_malformed: int


class LinksAnswer(Schema):
    """Where to go on."""

    self: str
    cancel: str
    rejected: str


class ImportAnswer(Schema):
    """One import: a file that was brought, and what became of it."""

    id: int
    state: ImportState
    device: str | None = Field(description="whose readings they are; null: not chosen yet")
    devices: list[str] = Field(description="every device that it may store readings of")
    user: str | None = Field(description="who brought the file; null: not known any more")
    file: FileAnswer
    on_conflict: Literal["keep", "replace"]
    strict: bool
    problem: str = Field(description="why it ended early; empty: it did not")
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
    next: str | None = Field(description="address of the imports before these; null: there are none")


class ProblemAnswer(Schema):
    """A row or cell that was not stored."""

    line: int
    column: str | None = Field(description="null: the whole row")
    code: str
    text: str


class ProgressAnswer(Schema):
    """How far a running import has come."""

    bytes_read: int
    share: float = Field(description="of the file's bytes, 0 to 1")
    updated_at: datetime


class WholeImportAnswer(ImportAnswer):
    """One import with all that is known of it."""

    profile: dict[str, Any] = Field(description="how the file is read; PUT it to save it under a name")
    progress: ProgressAnswer | None = Field(description="null where it does not run")
    report: dict[str, Any] | None = Field(description="the account; null as long as there is none")
    problems: list[ProblemAnswer] = Field(description="the first ones; all of them are in rejected.csv")


class SettingAnswer(Schema):
    """A setting by which the file is read, and where it comes from."""

    name: str
    value: str
    source: str


class ChoiceAnswer(Schema):
    """One answer to a question: the parameters that say it."""

    label: str
    parameters: dict[str, list[str]]


class QuestionAnswer(Schema):
    """What a file leaves open. The first answer is what is taken, unless one is required."""

    parameter: str
    text: str
    required: bool
    answers: list[ChoiceAnswer]


class QueuedAnswer(ImportAnswer):
    """An import that waits for a worker, with how its file will be read."""

    settings: list[SettingAnswer]
    questions: list[QuestionAnswer]


class ReadingAnswer(Schema):
    """A reading that a row of the file would give."""

    metric: str
    time: datetime
    value: float


class RowAnswer(Schema):
    """One of the file's first rows, and what it would give."""

    line: int
    text: str
    readings: list[ReadingAnswer]
    problems: list[ProblemAnswer]


class DryRunAnswer(Schema):
    """What an import of a file would do; nothing was stored or kept."""

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
    about: str = Field(description="what files a built-in profile is for")
    created_at: datetime | None
    link: str


class ProfilesAnswer(Schema):
    """The profiles that you may name: the built-in ones, and your own."""

    profiles: list[ProfileEntry]


class BuiltinAnswer(Schema):
    """A built-in profile: what it answers as parameters of an import; all else is guessed."""

    name: str
    built_in: Literal[True]
    about: str
    parameters: dict[str, list[str]]


def settings_answer(settings: tuple[ReadingSetting, ...]) -> list[SettingAnswer]:
    """Return the settings as they are answered."""
    return [SettingAnswer(name=each.name, value=each.value, source=each.reason) for each in settings]


def question_answer(question: Question) -> QuestionAnswer:
    """Return a question with its answers as parameters."""
    (parameter,) = parameters_of({question.setting: ()})
    return QuestionAnswer(
        parameter=parameter,
        text=question.said(parameter_words),
        required=question.is_required,
        answers=[
            ChoiceAnswer(label=answer.label, parameters=parameters_of(answer.given))
            for answer in question.answers
        ],
    )


def problem_answer(problem: Problem) -> ProblemAnswer:
    """Return a row or cell that was not stored."""
    return ProblemAnswer(line=problem.line, column=problem.column, code=problem.code, text=problem.text)


def row_answer(row: PreviewRow, values: tuple[ValueColumn, ...]) -> RowAnswer:
    """Return a first row, and the readings of `values` that it would give."""
    readings = [
        ReadingAnswer(metric=values[column].metric, time=from_microseconds(time), value=value)
        for column, time, value in row.readings
    ]
    problems = [problem_answer(problem) for problem in row.problems]
    return RowAnswer(line=row.line, text=row.text, readings=readings, problems=problems)


MOST_PROBLEMS = 100
"""Problems that stand in an answer; rejected.csv has all of them."""

_COUNTS = tuple(CountsAnswer.model_fields)


def link(number: int | None = None) -> str:
    """Return the address of an import, or of all."""
    return "/api/imports" if number is None else f"/api/imports/{number}"


def import_answer(import_: Import) -> ImportAnswer:
    """Return an import without what is known beside its readings only."""
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
            self=link(import_.pk),
            cancel=f"{link(import_.pk)}/cancel",
            rejected=f"{link(import_.pk)}/rejected.csv",
        ),
    )


@dataclass(frozen=True)
class Kept:
    """What is kept of an import beside its readings; `progress` is None where it was never begun."""

    progress: Progress | None
    problems: list[Problem]


def read_kept(conn: Connection, import_: Import) -> Kept:
    """Return what is known beside the readings. Raises `DatabaseUnavailable`."""
    progress = read_progress(conn, import_.pk)
    problems = read_problems(conn, import_.pk, limit=MOST_PROBLEMS) if progress is not None else ()
    return Kept(progress, list(problems))


def is_begun(import_: Import) -> bool:
    """Say whether anything may be known of an import beside the readings."""
    return import_.state not in (Import.State.DRAFT, Import.State.QUEUED)


def whole_import(import_: Import, kept: Kept | None = None) -> WholeImportAnswer:
    """Return all that is known of an import; `kept` is that beside the readings, where it has been begun."""
    told, progress, problems = import_answer(import_), None, _listed(import_.report)
    report = import_.report
    if kept is not None and kept.progress is not None:
        problems = [problem_answer(each) for each in kept.problems] or problems
        if import_.state == Import.State.RUNNING:
            progress = _progress(kept.progress, size=import_.file_size)
        if kept.progress.report is not None and (progress is not None or report is None):
            so_far = counted(ImportReport.from_state(kept.progress.report))
            report = so_far.pop("report")
            told.counts = CountsAnswer(**so_far)
    return WholeImportAnswer(
        **dict(told),
        profile=import_.profile,
        progress=progress,
        report=None if report is None else {k: v for k, v in report.items() if k != "problems"},
        problems=problems,
    )


def _progress(found: Progress, *, size: int) -> ProgressAnswer:
    share = min(1.0, found.bytes_read / size) if size else 0.0
    return ProgressAnswer(bytes_read=found.bytes_read, share=round(share, 4), updated_at=found.updated_at)


def _listed(report: dict[str, Any] | None) -> list[ProblemAnswer]:
    """Return the first problems that a report lists itself."""
    listed = (report or {}).get("problems", [])[:MOST_PROBLEMS]
    return [ProblemAnswer(**{k: each.get(k) for k in ProblemAnswer.model_fields}) for each in listed]
