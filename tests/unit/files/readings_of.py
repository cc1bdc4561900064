"""What a made-up file is read as by its guess, and by each answer to its questions."""

from __future__ import annotations

from pathlib import Path

from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

NOW = 1_900_000_000_000_000


def layout_of(path: Path, given: Given | None = None, *, tz: str = "Europe/Berlin") -> FileLayout:
    return choose_layout(FileSource(path), given or Given(), profile=None, device_tz=tz)


def required(layout: FileLayout) -> list[Question]:
    return [question for question in layout.questions if question.is_required]


def readings_of(path: Path, layout: FileLayout) -> dict[str, list[float]]:
    """Return the values of each metric in the file's order."""
    found: dict[str, list[float]] = {}
    for block in parse_file(FileSource(path), layout.profile, layout.columns, now=NOW):
        values = (*layout.profile.values, *block.added)
        for column, value in zip(block.column.tolist(), block.value.tolist(), strict=True):
            found.setdefault(values[column].metric, []).append(value)
    return found


def by_answer(
    path: Path, question: Question, given: Given | None = None
) -> dict[str, dict[str, list[float]]]:
    """Return the readings with each answer to a question, by its label; no answer leaves the question open."""
    found = {}
    for answer in question.answers:
        settled = answer.applied_to(given or Given())
        layout = layout_of(path, settled)
        assert question.about not in {left.about for left in required(layout)}, answer.label
        found[answer.label] = readings_of(path, layout)
    return found
