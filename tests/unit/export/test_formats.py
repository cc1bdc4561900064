"""What the three formats hold is what went in, bit by bit, whatever the numbers, names and zones."""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.csv_format import guarded, unguarded
from joulebook.telemetry.export import frames
from joulebook.telemetry.export.formats import arrow_chunks, csv_chunks
from joulebook.telemetry.export.frames import Layout, column_names, tables
from joulebook.telemetry.export.parquet import parquet_chunks, read_struct, written
from joulebook.telemetry.export.reading import Block
from joulebook.telemetry.readings import LARGEST_VALUE, MICROSECONDS, metric_name_problem, to_microseconds

Reading = tuple[int, str, float]

values = st.one_of(
    st.floats(-LARGEST_VALUE, LARGEST_VALUE),
    st.sampled_from([0.0, -0.0, 5e-324, 1e-300, -1e100, 1e100, 0.1, 1e15, 1e16, 123456789012345678.0, 1 / 3]),
    st.integers(-(10**6), 10**6).map(lambda number: number / 100),
)
instants = st.one_of(
    st.integers(0, to_microseconds(datetime(2100, 1, 1, tzinfo=UTC))),
    st.integers(0, 5).map(lambda second: (1_700_000_000 + second) * MICROSECONDS),
)
readings = st.lists(
    st.tuples(instants, st.sampled_from(["power", "time", "a,b", 'q"x']), values),
    unique_by=lambda reading: reading[:2],
    max_size=40,
)
layouts = pytest.mark.parametrize("layout", frames.LAYOUTS)
# The changes of a zone are looked for once in each year, and times of a century lie in many.
unhurried = settings(deadline=None)


def blocks_of(found: list[Reading], metrics: list[str], *, size: int) -> Iterator[Block]:
    """Yield the readings in the order that the reader keeps, about `size` at a time."""
    ordered = sorted(found, key=lambda reading: (reading[0], metrics.index(reading[1])))
    while ordered:
        end = ordered[min(size, len(ordered)) - 1][0] + 1
        part = [reading for reading in ordered if reading[0] < end]
        ordered = ordered[len(part) :]
        yield Block(
            np.array([time for time, _, _ in part], np.int64),
            np.array([metrics.index(metric) for _, metric, _ in part], np.int32),
            np.array([value for _, _, value in part], np.float64),
            end,
        )


def bits(value: float) -> bytes:
    """Return what tells -0.0 from 0.0."""
    return struct.pack("<d", value)


def as_set(found: list[Reading]) -> set[tuple[int, str, bytes]]:
    return {(time, metric, bits(value)) for time, metric, value in found}


def readings_of(table: pl.DataFrame, metrics: list[str]) -> list[Reading]:
    """Take a table apart into readings."""
    times = table["time"].to_physical().to_list()
    if table.columns == ["time", "metric", "value"]:
        return list(zip(times, table["metric"], table["value"], strict=True))
    assert table.columns[1:] == column_names(metrics)
    return [
        (time, metric, value)
        for metric, name in zip(metrics, table.columns[1:], strict=True)
        for time, value in zip(times, table[name], strict=True)
        if value is not None
    ]


def readings_of_csv(text: str, metrics: list[str]) -> list[Reading]:
    """Take CSV apart with the standard library alone."""
    head, *rows = csv.reader(io.StringIO(text))
    found = [(to_microseconds(datetime.fromisoformat(row[0])), row[1:]) for row in rows]
    if head == ["time", "metric", "value"]:
        return [(time, metric, float(value)) for time, (metric, value) in found]
    assert head[1:] == column_names(metrics)
    return [
        (time, metric, float(cell))
        for time, cells in found
        for metric, cell in zip(metrics, cells, strict=True)
        if cell
    ]


METRICS = ["a,b", "power", 'q"x', "time"]


@layouts
@unhurried
@given(
    found=readings, size=st.integers(1, 20), zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"])
)
def test_csv_gives_back_every_bit_of_every_reading(
    layout: Layout, found: list[Reading], size: int, zone: str
) -> None:
    text = b"".join(csv_chunks(tables(blocks_of(found, METRICS, size=size), METRICS, layout), ZoneInfo(zone)))
    assert as_set(readings_of_csv(text.decode(), METRICS)) == as_set(found)


@layouts
@unhurried
@given(found=readings, size=st.integers(1, 20))
def test_parquet_and_arrow_give_back_every_bit_of_every_reading(
    layout: Layout, found: list[Reading], size: int
) -> None:
    parquet = b"".join(parquet_chunks(tables(blocks_of(found, METRICS, size=size), METRICS, layout)))
    arrow = b"".join(arrow_chunks(tables(blocks_of(found, METRICS, size=size), METRICS, layout)))
    from_parquet, from_arrow = pl.read_parquet(io.BytesIO(parquet)), pl.read_ipc_stream(io.BytesIO(arrow))
    assert from_parquet.schema == from_arrow.schema
    assert from_parquet.schema["time"] == pl.Datetime("us", "UTC")
    assert as_set(readings_of(from_parquet, METRICS)) == as_set(found)
    assert as_set(readings_of(from_arrow, METRICS)) == as_set(found)


@layouts
def test_a_parquet_file_of_many_row_groups_can_be_filtered_by_its_statistics(layout: Layout) -> None:
    found = [(second * MICROSECONDS, "power", float(second)) for second in range(1000)]
    data = b"".join(parquet_chunks(tables(blocks_of(found, METRICS, size=100), METRICS, layout)))
    lazy = pl.scan_parquet(io.BytesIO(data)).filter(
        pl.col("time") >= pl.datetime(1970, 1, 1, 0, 15, time_zone="UTC")
    )
    assert sorted(readings_of(lazy.collect(), METRICS)) == found[900:]
    assert pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item() == 1000


def test_a_footer_is_written_as_it_was_read() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({str(n): [1.5, None, -2.0] for n in range(40)}).write_parquet(buffer, row_group_size=1)
    data = buffer.getvalue()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert written(read_struct(footer)) == footer


def test_metrics_that_never_report_at_once_are_cut_into_tables_of_bounded_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "_MOST_CELLS", 100)
    metrics = [f"m{n}" for n in range(10)]
    found = [(n, metrics[n % 10], float(n)) for n in range(95)]
    made = list(tables(blocks_of(found, metrics, size=95), metrics, "wide"))
    assert [table.height for table in made] == [0, *[10] * 9, 5]
    assert as_set(readings_of(pl.concat(made), metrics)) == as_set(found)


@layouts
def test_an_export_without_readings_has_its_columns_all_the_same(layout: Layout) -> None:
    columns = ["time", "metric", "value"] if layout == "long" else ["time", "power"]
    assert (
        pl.read_parquet(io.BytesIO(b"".join(parquet_chunks(tables([], ["power"], layout))))).columns
        == columns
    )
    assert (
        pl.read_ipc_stream(io.BytesIO(b"".join(arrow_chunks(tables([], ["power"], layout))))).columns
        == columns
    )
    header = b'"time","metric",value\n' if layout == "long" else b'"time",power\n'
    assert list(csv_chunks(tables([], ["power"], layout), UTC)) == [header]


@pytest.mark.parametrize(
    ("zone", "time", "text"),
    [
        (UTC, "2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        (UTC, "2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.500Z"),
        (UTC, "2026-03-01T12:00:00.000001Z", "2026-03-01T12:00:00.000001Z"),
        (ZoneInfo("Europe/Berlin"), "2026-10-25T00:30:00Z", "2026-10-25T02:30:00+02:00"),
        (ZoneInfo("Europe/Berlin"), "2026-10-25T01:30:00Z", "2026-10-25T02:30:00+01:00"),
        (ZoneInfo("Europe/Lisbon"), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        (ZoneInfo("America/St_Johns"), "2026-07-01T00:00:00Z", "2026-06-30T21:30:00-02:30"),
        (ZoneInfo("Asia/Kathmandu"), "2026-07-01T00:00:00Z", "2026-07-01T05:45:00+05:45"),
        # Until 1972 Liberia was 44 minutes and 30 seconds behind, which RFC 3339 cannot say.
        (ZoneInfo("Africa/Monrovia"), "1971-07-01T00:00:00Z", "1971-07-01T00:00:00Z"),
    ],
)
def test_times_are_rfc_3339_with_the_digits_and_the_offset_that_they_need(
    zone: tzinfo, time: str, text: str
) -> None:
    instant = to_microseconds(datetime.fromisoformat(time))
    block = Block(np.array([instant]), np.zeros(1, np.int32), np.ones(1), instant + 1)
    *_, row = csv_chunks(tables([block], ["power"], "wide"), zone)
    assert row.decode() == f"{text},1.0\n"


@unhurried
@given(seconds=st.lists(st.integers(0, 4_000_000_000), min_size=1, max_size=30), zone=st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Africa/Monrovia", "Asia/Kathmandu"]
))  # fmt: skip
def test_times_in_any_zone_read_back_as_the_same_instants(seconds: list[int], zone: str) -> None:
    times = np.unique(np.array(seconds, np.int64)) * MICROSECONDS
    block = Block(times, np.zeros(len(times), np.int32), np.ones(len(times)), int(times[-1]) + 1)
    _, rows = csv_chunks(tables([block], ["power"], "wide"), ZoneInfo(zone))
    written_times = [row.split(",")[0] for row in rows.decode().splitlines()]
    assert [to_microseconds(datetime.fromisoformat(text)) for text in written_times] == times.tolist()
    for text, instant in zip(written_times, times.tolist(), strict=True):
        local = datetime.fromtimestamp(instant / MICROSECONDS, UTC).astimezone(ZoneInfo(zone))
        assert text[:19] == f"{local:%Y-%m-%dT%H:%M:%S}" or local.utcoffset().seconds % 60  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-power", "@SUM", "＝1", "'quoted", "''=x"])
def test_a_name_that_a_spreadsheet_would_compute_is_kept_from_it_and_comes_back(name: str) -> None:
    assert guarded(name) == f"'{name}"
    assert unguarded(guarded(name)) == name


@given(st.text(min_size=1, max_size=12).filter(lambda name: metric_name_problem(name) is None))
def test_every_name_comes_back_from_behind_its_guard(name: str) -> None:
    assert unguarded(guarded(name)) == name
    assert not guarded(name).startswith(("=", "+", "-", "@"))


def test_negative_numbers_are_not_touched() -> None:
    block = Block(np.array([0]), np.zeros(1, np.int32), np.array([-1.5]), 1)
    assert (
        b"".join(csv_chunks(tables([block], ["p"], "long"), UTC))
        == b'"time","metric",value\n1970-01-01T00:00:00Z,p,-1.5\n'
    )


def test_the_second_column_called_time_takes_a_name_that_is_free() -> None:
    assert column_names(["a", "time", "time_2"]) == ["a", "time_3", "time_2"]
    assert len({"time", *column_names(METRICS)}) == len(METRICS) + 1
