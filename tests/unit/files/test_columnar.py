"""Parquet and Arrow: our own exports come back exactly, others' tables with their types, damage in words."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.export.formats import export_chunks
from joulebook.telemetry.export.reading import Block
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats import columnar
from joulebook.telemetry.files.source import FileSource

from .reading_files import read_file

START = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN = int(START.timestamp()) * 1_000_000


def write_parquet(table: pl.DataFrame, path: Path) -> None:
    table.write_parquet(path)


def write_stream(table: pl.DataFrame, path: Path) -> None:
    table.write_ipc_stream(path)


def write_packed_stream(table: pl.DataFrame, path: Path) -> None:
    table.write_ipc_stream(path, compression="zstd")


def write_file(table: pl.DataFrame, path: Path) -> None:
    table.write_ipc(path)


WRITERS = [write_parquet, write_stream, write_packed_stream, write_file]
Writer = Callable[[pl.DataFrame, Path], None]


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def write(request: pytest.FixtureRequest) -> Writer:
    return request.param  # type: ignore[no-any-return]


def lines(path: Path) -> list[str]:
    """Return the lines of CSV that a file is converted to."""
    return b"".join(FileSource(path).chunks()).decode().splitlines()


def minutes(count: int, **kinds: Any) -> pl.Series:
    return pl.Series("time", [START + timedelta(minutes=at) for at in range(count)], **kinds)


@pytest.mark.parametrize("layout", ["wide", "long"])
@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_our_own_export_is_read_like_the_same_export_as_csv(
    tmp_path: Path, file_format: Any, layout: Any
) -> None:
    count = 5000
    time = np.repeat(BEGIN + np.arange(count) * 60_000_001, 2)
    value = np.random.default_rng(5).normal(size=2 * count) * 1e5
    blocks = [Block(time, np.tile(np.array([0, 1], np.int32), count), value, BEGIN * 2)]
    names = ["power", "=grid, 'L1'"]
    found = {}
    for each in ("csv", file_format):
        path = tmp_path / f"export.{each}"
        path.write_bytes(b"".join(export_chunks(iter(blocks), names, file_format=each, layout=layout)))
        found[each] = read_file(path)
    assert found[file_format] == found["csv"]
    assert sorted(found["csv"].series) == sorted(names)
    assert list(found["csv"].series["power"].values.values()) == value[::2].tolist()
    assert found["csv"].layout.settings[0].reason == "found: by its header"


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_text_of_our_own_export_is_left_out_in_words(tmp_path: Path, file_format: Any) -> None:
    time = BEGIN + np.arange(4) * 60_000_000
    block = Block(
        np.repeat(time, 2),
        np.tile(np.array([0, 1], np.int32), 4),
        np.array([1.5, 0, 2, 1, 3, 0, 4, 1]),
        BEGIN * 2,
    )
    path = tmp_path / "export"
    texts = {1: {0: "AUTO", 1: "OFF"}}
    path.write_bytes(
        b"".join(export_chunks(iter([block]), ["power", "mode"], file_format=file_format, texts=texts))
    )
    found = read_file(path)
    assert {name: list(each.values.values()) for name, each in found.series.items()} == {
        "power": [1.5, 2.0, 3.0, 4.0]
    }
    assert [(each.name, each.value) for each in found.layout.settings if each.name == "left out"] == [
        ("left out", "mode")
    ]


def test_columns_of_other_programs_keep_their_values(tmp_path: Path, write: Writer) -> None:
    berlin = timezone(timedelta(hours=1))
    table = pl.DataFrame(
        [
            pl.Series("when", [datetime(2026, 1, 1, 1, 0, 0, 5, berlin), None], dtype=pl.Datetime("ns", "Europe/Berlin")),
            pl.Series("exact", [Decimal("0.10"), Decimal("-12345678901234.05")], dtype=pl.Decimal(20, 2)),
            pl.Series("single", [0.1, math.nan], dtype=pl.Float32),
            pl.Series("whole", [2**60, None], dtype=pl.Int64),
            pl.Series("tiny", [1, 255], dtype=pl.UInt8),
            pl.Series("phase", ["L1", "L2"], dtype=pl.Categorical),
            pl.Series("on", [True, False]),
            pl.Series("day", [date(2026, 1, 2), None]),
            pl.Series("text", ['a "b", c\nd', None]),
        ]
    )  # fmt: skip
    path = tmp_path / "table"
    write(table, path)
    assert lines(path) == [
        "when,exact,single,whole,tiny,phase,on,day,text",
        '2026-01-01T00:00:00.000005Z,0.10,0.1,1152921504606846976,1,L1,true,2026-01-02,"a ""b"", c d"',
        ",-12345678901234.05,,,255,L2,false,,",
    ]


def test_a_table_of_another_program_is_guessed_like_csv(tmp_path: Path, write: Writer) -> None:
    table = pl.DataFrame(
        [minutes(50).alias("Zeit"), pl.Series("Leistung [kW]", [at / 8 for at in range(50)])]
    )
    write(table, tmp_path / "table")
    found = read_file(tmp_path / "table")
    assert list(found.series) == ["Leistung [kW]"]
    assert found.series["Leistung [kW]"].unit == "kW"
    assert found.series["Leistung [kW]"].values["2026-01-01 00:49"] == 6.125
    assert found.lines[0] == 2


def test_times_without_a_zone_are_local_to_the_device(tmp_path: Path, write: Writer) -> None:
    naive = minutes(50).dt.replace_time_zone(None)
    write(pl.DataFrame([naive, pl.Series("power", range(50))]), tmp_path / "table")
    found = read_file(tmp_path / "table", device_tz="Europe/Berlin")
    assert min(found.series["power"].values) == "2025-12-31 23:00"
    assert not found.problems


def test_a_long_table_is_read_in_pieces(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "_CELLS_A_PIECE", 20)
    write(pl.DataFrame([minutes(1005), pl.Series("power", range(1005))]), tmp_path / "table")
    chunks = list(FileSource(tmp_path / "table").chunks())
    assert len(chunks) == 1 + math.ceil(1005 / 10)
    assert sum(read_file(tmp_path / "table").series["power"].values.values()) == sum(range(1005))


def test_several_batches_of_a_stream_are_all_read(tmp_path: Path) -> None:
    data = BytesIO()
    table = pl.concat(
        [pl.DataFrame([minutes(5), pl.Series("phase", ["L1"] * 5, dtype=pl.Categorical)])] * 4, rechunk=False
    )
    table.write_ipc_stream(data, compat_level=pl.CompatLevel.oldest())
    path = tmp_path / "stream.arrows.gz"
    path.write_bytes(gzip.compress(data.getvalue()))
    assert len(lines(path)) == 21


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [{"a": 1}]])
def test_lists_and_structures_are_refused_with_the_column(tmp_path: Path, write: Writer, values: Any) -> None:
    write(pl.DataFrame([minutes(1), pl.Series("nested", values)]), tmp_path / "table")
    with pytest.raises(
        UnreadableFile, match=r"the column 'nested' holds lists or structures .*without that column"
    ):
        lines(tmp_path / "table")


def test_a_file_cut_off_is_refused_in_words(tmp_path: Path, write: Writer) -> None:
    path = tmp_path / "table"
    write(pl.DataFrame([minutes(500), pl.Series("power", np.random.default_rng(5).random(500))]), path)
    whole = path.read_bytes()
    for kept in (len(whole) // 4, len(whole) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(UnreadableFile, match="fetch"):
            lines(path)


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1), byte=st.integers(0, 255), writer=st.sampled_from(WRITERS))
def test_a_damaged_byte_ends_in_words_or_in_another_value(
    tmp_path_factory: pytest.TempPathFactory, place: float, byte: int, writer: Writer
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "table"
    writer(pl.DataFrame([minutes(20), pl.Series("power", range(20))]), path)
    data = bytearray(path.read_bytes())
    data[min(int(place * len(data)), len(data) - 1)] = byte
    path.write_bytes(data)
    try:
        source = FileSource(path)
        if source.format is not None:
            assert sum(map(len, source.chunks())) < 10_000
    except UnreadableFile as exc:
        assert "fetch" in str(exc) or "write" in str(exc) or "cut off" in str(exc)  # noqa: PT017


def test_far_more_rows_than_a_file_of_its_size_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "guarded", partial(columnar.guarded, free=1000))
    monkeypatch.setattr("joulebook.telemetry.files.archive.MOST_TIMES", 1)
    pl.DataFrame([minutes(50_000), pl.Series("power", [0] * 50_000)]).write_parquet(tmp_path / "table")
    with pytest.raises(FileTooLarge, match="swells to more than"):
        lines(tmp_path / "table")


def test_a_batch_that_unpacks_to_far_more_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_packed_stream(
        pl.DataFrame([minutes(50_000), pl.Series("power", [0.0] * 50_000)]), tmp_path / "table"
    )
    monkeypatch.setattr(columnar, "MOST_BATCH_BYTES", 500_000)
    with pytest.raises(FileTooLarge, match=r"a batch that unpacks to 8..,... bytes"):
        lines(tmp_path / "table")
    write_stream(pl.DataFrame([minutes(50_000), pl.Series("power", [0.0] * 50_000)]), tmp_path / "table")
    with pytest.raises(FileTooLarge, match=r"a batch that unpacks to 8..,... bytes"):
        lines(tmp_path / "table")
