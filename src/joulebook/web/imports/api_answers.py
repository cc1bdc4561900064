"""Imports as the API answers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import Progress, read_progress
from joulebook.web.imports.account import counted
from joulebook.web.imports.api_shapes import (
    CountsAnswer,
    FileAnswer,
    ImportAnswer,
    ImportState,
    LinksAnswer,
    ProblemAnswer,
    ProgressAnswer,
    WholeImportAnswer,
    problem_answer,
)
from joulebook.web.imports.models import Import

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
    """Return what is known beside the readings. Raises `DatabaseAway`."""
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
