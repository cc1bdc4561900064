"""A foreign format is converted to readings, which are taken as they are."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import UnreadableFile, UnusableProfile
from joulebook.telemetry.files.formats import registry
from joulebook.telemetry.files.formats.format import READINGS_HEADER, Content, Format
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given, Target
from joulebook.telemetry.files.source import FileSource

NOW = 1_800_000_000_000_000


def convert(content: Content) -> Iterator[bytes]:
    """Convert lines `TOY metric unit kind seconds value` to readings."""
    yield READINGS_HEADER.encode() + b"\n"
    for number, line in enumerate(b"".join(content.chunks()).decode().splitlines(), start=1):
        _, metric, unit, kind, second, value = line.split(" ")
        for half in ("00", "30"):
            time = f"2026-01-01T00:{second}:{half}.000001Z"
            yield f"{number},{time},{metric},{unit},{kind},{value}\n".encode()


def convert_the_stored_file(content: Content) -> Iterator[bytes]:
    """Read the stored file itself."""
    return convert(Content(content.path, lambda: iter([content.path.read_bytes()]), "", content.name))


TOY = "TOY power W gauge 01 1.5\nTOY energy kWh amount 02 0.25\nTOY power W gauge 03 oops\n"


@pytest.fixture(params=[False, True], ids=["in order", "from the file"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Know one format more."""
    made = Format(
        "a toy",
        lambda head: head.startswith(b"TOY "),
        convert_the_stored_file if request.param else convert,
        needs_file=request.param,
    )
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, made))
    return bool(request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.txt"
    path.write_text(TOY)
    return path


def read(
    path: Path, given: Given | None = None
) -> tuple[list[tuple[str, str, str, int, float]], list[tuple[int, str, str]]]:
    source = FileSource(path)
    layout = choose_layout(source, given or Given(), profile=None, device_tz="Europe/Berlin")
    layout.require_answers()
    readings: list[tuple[str, str, str, int, float]] = []
    problems: list[tuple[int, str, str]] = []
    for block in parse_file(source, layout.profile, layout.columns, now=NOW):
        values = (*layout.profile.values, *block.added)
        for at, line, value in zip(
            block.column.tolist(), block.line.tolist(), block.value.tolist(), strict=True
        ):
            readings.append((values[at].metric, values[at].unit, values[at].kind, line, value))
        problems += [(problem.line, problem.code, problem.text) for problem in block.problems]
    assert source.sha256
    return readings, problems


@pytest.mark.usefixtures("toy")
def test_units_kinds_and_lines_are_those_of_the_original_file(file: Path) -> None:
    readings, problems = read(file)
    assert sorted(readings) == [
        ("energy", "kWh", "amount", 2, 0.25),
        ("energy", "kWh", "amount", 2, 0.25),
        ("power", "W", "gauge", 1, 1.5),
        ("power", "W", "gauge", 1, 1.5),
    ]
    assert problems == [(3, "value_type", "oops")] * 2


@pytest.mark.usefixtures("toy")
def test_a_metric_can_be_renamed_or_left_out(file: Path) -> None:
    readings, problems = read(file, Given(mapping={"power": None, "energy": Target("used")}))
    assert readings == [("used", "kWh", "amount", 2, 0.25)] * 2
    assert not problems


@pytest.mark.usefixtures("toy")
def test_a_setting_for_text_tables_is_refused_by_name(file: Path) -> None:
    with pytest.raises(UnusableProfile, match="leave out all but mapping"):
        read(file, Given(decimal=","))


@pytest.mark.usefixtures("toy")
def test_a_metric_the_file_lacks_is_refused_by_name(file: Path) -> None:
    with pytest.raises(UnusableProfile, match=r"'gas'.*it has 'power', 'energy'"):
        read(file, Given(mapping={"gas": None}))


def test_gzip_is_unpacked_where_the_format_is_read_in_order(file: Path, toy: bool) -> None:
    packed = file.with_suffix(".gz")
    packed.write_bytes(gzip.compress(TOY.encode()))
    if toy:
        with pytest.raises(UnreadableFile, match="holds a toy; unpack it"):
            read(packed)
    else:
        assert len(read(packed)[0]) == 4
