"""Files with the faults of real exports: each is read right, or asked about, or refused; none is silently wrong."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import FileError
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

from .faulty_files import COLUMNS, ROWS, TIMES, WHOLE_FILES, FaultyFile, Readings, make_faulty_file

NOW = 1_900_000_000_000_000
RIGHT, ASKED, REFUSED = "right", "asked", "refused"


def outcome(faulty: FaultyFile, folder: Path) -> str:
    """Return what the guess makes of a file; where it is silently wrong, how."""
    path = folder / faulty.name
    path.write_bytes(faulty.data)
    try:
        source = FileSource(path)
        layout = choose_layout(source, Given(), profile=None, device_tz=faulty.tz)
        if any(question.is_required for question in layout.questions):
            return ASKED
        profile = layout.profile
        found: dict[tuple[str, str], Readings] = {}
        doubled = 0
        for block in parse_file(source, profile, layout.columns, now=NOW):
            values = (*profile.values, *block.added)
            for at, time, value in zip(
                block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
            ):
                readings = found.setdefault((values[at].metric, values[at].unit), {})
                doubled += time in readings and readings[time] != value
                readings[time] = value
    except FileError:
        return REFUSED
    if doubled:
        return f"{doubled} instants again with another value"
    return difference(faulty, found)


def difference(faulty: FaultyFile, found: dict[tuple[str, str], Readings]) -> str:
    """Return how the readings differ from the truth, in whatever order the metrics are."""
    left = dict(found)
    for series in faulty.truth:
        same = [name for name, readings in left.items() if are_equal(readings, series.readings)]
        if not same:
            return f"no metric has the readings {list(series.readings.items())[:3]} …: {shown(left)}"
        if series.unit is not None and same[0][1] != series.unit:
            return f"the unit of {same[0][0]!r} is {same[0][1]!r}, not {series.unit!r}"
        del left[same[0]]
    return f"metrics of nothing: {shown(left)}" if left else RIGHT


def shown(found: dict[tuple[str, str], Readings]) -> str:
    return str({name: list(readings.items())[:2] for name, readings in found.items()})


def are_equal(readings: Readings, others: Readings) -> bool:
    return readings.keys() == others.keys() and all(
        math.isclose(value, others[time], rel_tol=1e-12) for time, value in readings.items()
    )


def silently_wrong(seeds: range, folder: Path) -> list[str]:
    """Return the files that are read wrong without a word, and check that most are right without a question."""
    outcomes: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        faulty = make_faulty_file(seed)
        found = outcome(faulty, folder)
        outcomes[found if found in {RIGHT, ASKED, REFUSED} else "wrong"] += 1
        if found not in {RIGHT, ASKED, REFUSED}:
            wrong.append(f"{seed} {faulty.faults}: {found}"[:400])
    assert outcomes[RIGHT] >= 0.7 * len(seeds), outcomes
    return wrong


@pytest.mark.parametrize("batch", range(3))
def test_none_of_150_faulty_files_is_silently_wrong(tmp_path: Path, batch: int) -> None:
    assert silently_wrong(range(batch * 50, (batch + 1) * 50), tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", range(10))
def test_none_of_3000_faulty_files_is_silently_wrong(tmp_path: Path, batch: int) -> None:
    assert silently_wrong(range(10_000 + batch * 300, 10_000 + (batch + 1) * 300), tmp_path) == []


def test_the_faulty_files_have_all_faults_alone_and_together() -> None:
    faults = [make_faulty_file(seed).faults for seed in range(600)]
    seen = {name for each in faults for name in each}
    assert seen == {*TIMES, *COLUMNS, *ROWS, *WHOLE_FILES}
    assert sum(len(each) > 2 for each in faults) > 100
    assert make_faulty_file(7).data == make_faulty_file(7).data
