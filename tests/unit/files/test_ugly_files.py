"""Made-up ugly files: what is read by the guess, with its questions answered, equals what was written."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.files.errors import plain_name
from joulebook.telemetry.files.guess.layout import FileLayout, guess_layout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import ParsedBlock

from .ugly_files import UglyFile, make_ugly_file

NOW = 1_900_000_000_000_000
BATCH = 25


def answered(question: Question, ugly: UglyFile, given: Given) -> Given:
    """Return the settings with the answer that the writer of the file would give."""
    for answer in question.answers:
        settings = answer.given
        if (
            ugly.time_format in settings.get("time_formats", ())
            or settings.get("decimal") == ugly.decimal
            or (ugly.sentinel and ugly.sentinel.replace(".", ugly.decimal) in settings.get("na_values", ()))
        ):
            return answer.applied_to(given)
    raise AssertionError(f"no answer fits: {question.said(plain_name)}")


def guessed(ugly: UglyFile) -> tuple[FileLayout, list[str]]:
    """Return the layout after all that has to be answered is, and what was asked."""
    given, asked = Given(), []
    while True:
        layout = guess_layout(ugly.data, is_whole=True, given=given, device_tz=ugly.tz)
        left = [question for question in layout.questions if question.is_required]
        if not left:
            return layout, asked
        assert left[0].setting not in asked, f"asked again: {left[0].said(plain_name)}"
        asked.append(left[0].setting)
        given = answered(left[0], ugly, given)


def found(layout: FileLayout, blocks: list[ParsedBlock]) -> dict[str, dict[int, float]]:
    """Return the readings by label, as the truth has them."""
    labels = [
        value.column if layout.profile.layout == "wide" else " ".join(value.key)
        for value in layout.profile.values
    ]
    if layout.profile.layout == "wide" and layout.profile.header_line is None:
        labels = [f"#{at}" for at in range(len(labels))]
    readings: dict[str, dict[int, float]] = {label: {} for label in labels}
    for block in blocks:
        for column, time, value in zip(
            block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
        ):
            readings[labels[column]][time] = value
    return readings


def difference(seed: int, folder: Path) -> str:
    """Return in one line how the file of a seed is misread, or "" where it equals its truth."""
    ugly = make_ugly_file(seed)
    path = folder / f"{seed}.csv"
    path.write_bytes(ugly.data)
    try:
        layout, _ = guessed(ugly)
        blocks = list(
            parse_file(FileSource(path), layout.profile, layout.columns, now=NOW, block_readings=500)
        )
    except (TelemetryError, AssertionError) as exc:
        return f"{seed}: {type(exc).__name__}: {str(exc)[:200]} {ugly.recipe}"
    readings = {label: cells for label, cells in found(layout, blocks).items() if cells}
    truth = ugly.truth
    expected = {label: cells for label, cells in truth.readings.items() if cells}
    rejected = sorted(
        problem.line for block in blocks for problem in block.problems if problem.column is None
    )
    malformed = sorted(
        problem.line for block in blocks for problem in block.problems if problem.column is not None
    )
    na = sum(cells.na.total() for block in blocks for cells in block.cells)
    pairs = {
        "labels": (sorted(readings), sorted(expected)),
        "rows": (sum(block.rows_imported for block in blocks), truth.rows),
        "rejected": (rejected, truth.rejected),
        "malformed": (malformed, sorted(truth.malformed)),
        "na": (na, truth.na),
        "readings": (readings, expected),
    }
    for name, (got, wanted) in pairs.items():
        if got != wanted:
            shown = f"{got} is not {wanted}"
            if name == "readings":
                shown = str([(label, sorted(set(readings[label].items()) ^ set(expected[label].items()))[:4])
                             for label in expected if readings[label] != expected[label]][:2])  # fmt: skip
            return f"{seed}: {name}: {shown[:300]} {ugly.recipe}"
    return ""


@pytest.mark.parametrize("batch", range(4))
def test_100_ugly_files_are_read_as_they_were_written(tmp_path: Path, batch: int) -> None:
    seeds = range(batch * BATCH, (batch + 1) * BATCH)
    assert list(filter(None, (difference(seed, tmp_path) for seed in seeds))) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", range(20))
def test_2000_ugly_files_are_read_as_they_were_written(tmp_path: Path, batch: int) -> None:
    seeds = range(10_000 + batch * 100, 10_000 + (batch + 1) * 100)
    assert list(filter(None, (difference(seed, tmp_path) for seed in seeds))) == []


def test_the_ugly_files_are_of_all_kinds() -> None:
    recipes = [make_ugly_file(seed).recipe for seed in range(100)]
    for name, fewest in (
        ("layout", 3),
        ("delimiter", 6),
        ("stamp", 12),
        ("encoding", 4),
        ("decimal", 2),
        ("tz", 5),
    ):
        assert len({recipe[name] for recipe in recipes}) >= fewest, name
    assert len({make_ugly_file(seed).data for seed in range(100)}) == 100
    assert make_ugly_file(3).data == make_ugly_file(3).data
    assert sum(bool(make_ugly_file(seed).truth.rejected) for seed in range(100)) > 20
    assert (
        len(list(itertools.chain.from_iterable(make_ugly_file(seed).truth.malformed for seed in range(100))))
        > 50
    )
