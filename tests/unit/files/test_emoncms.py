"""The feeds of emoncms become exact readings, from a folder or a zip archive."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.files.formats.emoncms import _lines
from joulebook.telemetry.files.settings import Given, Target
from joulebook.telemetry.files.source import FileSource

from .reading_files import read_file

BEGIN = 1_767_225_600
"""2026-01-01 00:00 UTC."""

Make = Callable[[dict[str, bytes]], Path]


@pytest.fixture(params=["folder", "archive"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Write files into a folder, or into an archive."""

    def written(files: dict[str, bytes]) -> Path:
        path = tmp_path / "feeds"
        if request.param == "archive":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return path
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path

    return written


def meta(interval: int = 10, begin: int = BEGIN) -> bytes:
    return struct.pack("<IIII", 0, 0, interval, begin)


def values(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def points(*pairs: tuple[int, float], mark: int = 249) -> bytes:
    return b"".join(struct.pack("<BIf", mark, time, value) for time, value in pairs)


def test_feeds_of_both_kinds_are_metrics_by_their_number(make: Make) -> None:
    path = make(
        {
            "phpfina/10.meta": meta(),
            "phpfina/10.dat": values(0.1, math.nan, -2.5),
            "phpfina/7.meta": meta(3600, BEGIN + 60),
            "phpfina/7.dat": values(1234.5),
            "phptimeseries/feed_8.MYD": points((BEGIN, 21.7), (BEGIN + 5, 1e-7), mark=0),
        }
    )
    found = read_file(path)
    assert {metric: series.values for metric, series in found.series.items()} == {
        "feed 7": {"2026-01-01 00:01": 1234.5},
        "feed 8": {"2026-01-01 00:00": 21.7, "2026-01-01 00:00:05": 1e-7},
        "feed 10": {"2026-01-01 00:00": 0.1, "2026-01-01 00:00:20": -2.5},
    }
    assert not found.problems
    assert sorted(found.lines) == [1, 1, 1, 2, 3]


def test_a_feed_is_named_and_given_its_unit(make: Make) -> None:
    path = make({"7.meta": meta(), "7.dat": values(1, 2), "8.meta": meta(), "8.dat": values(3)})
    found = read_file(path, Given(mapping={"feed 7": Target("grid_power", "W"), "feed 8": None}))
    assert [(metric, series.unit) for metric, series in found.series.items()] == [("grid_power", "W")]


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        ({"7.dat": values(1, 2)}, [(0, "7.dat has no 7.meta beside it")]),
        ({"7.meta": meta(), "8.meta": meta(), "8.dat": values(1)}, [(0, "7.meta has no 7.dat beside it")]),
        ({"7.meta": meta()[:15], "7.dat": values(1)},
         [(0, f"no time and interval in 7.meta: {meta()[:15].hex()}")]),
        ({"7.meta": meta(interval=0), "7.dat": values(1)},
         [(0, f"no time and interval in 7.meta: {meta(interval=0).hex()}")]),
        ({"7.meta": meta(), "7.dat": values(1, 2)[:-1]}, [(2, "a point cut off: 000000")]),
        ({"feed_7.MYD": points((BEGIN, 1), (BEGIN + 1, 2))[:-8]}, [(2, "a point cut off: f9")]),
    ],
)  # fmt: skip
def test_damage_is_listed_with_the_feed(
    make: Make, files: dict[str, bytes], problems: list[tuple[int, str]]
) -> None:
    found = read_file(make(files))
    assert [(line, text) for line, code, text in found.problems if code == "time_malformed"] == problems


def test_an_archive_with_other_files_is_no_archive_of_feeds(tmp_path: Path) -> None:
    path = tmp_path / "feeds.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("7.dat", values(1))
        archive.writestr("notes.csv", "t,v\n2026-01-01 00:00,1\n")
    assert FileSource(path).format is None


@pytest.mark.parametrize("count", [0, 1, 70_000, 200_001])
def test_every_point_of_a_long_feed_is_counted_once(make: Make, count: int) -> None:
    path = make({"7.meta": meta(), "7.dat": values(*range(count)), "8.meta": meta(), "8.dat": values(5)})
    found = read_file(path)
    numbers = list(found.series["feed 7"].values.values()) if count else []
    assert (len(numbers), math.fsum(numbers)) == (count, count * (count - 1) / 2)


def test_the_digest_of_a_folder_is_that_of_names_and_files(tmp_path: Path) -> None:
    def digest(name: str, content: bytes) -> str:
        folder = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / f"{name}.dat").write_bytes(content)
        source = FileSource(folder)
        for _ in source.chunks():
            pass
        return source.sha256

    assert digest("7", values(1)) == digest("7", values(1))
    assert len({digest("7", values(1)), digest("8", values(1)), digest("7", values(2))}) == 3


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_value_is_read_back_to_the_same_32_bits(value: float) -> None:
    line = _lines(7, 1, np.array([BEGIN]), np.array([value], "<f4")).decode()
    text = line.rstrip("\n").split(",")[-1]
    assert struct.pack("<f", float(text)) == struct.pack("<f", value)
    digits = text.partition("e")[0].replace(".", "").strip("-0")
    assert len(digits) <= 9
