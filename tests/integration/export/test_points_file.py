"""The points of `GET /api/history/<device>` as a file hold what its JSON says."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from joulebook.web.devices.models import Device

NOON = 1_772_366_400_000_000
"""2026-03-01T12:00:00Z"""
HOUR = {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z"}
SECOND = 1_000_000


@pytest.fixture
def ask(
    transaction_on_both: None, device: Device, alice: User, client_of: Callable[..., Client]
) -> Callable[..., Any]:
    client = client_of(alice)
    return lambda **query: client.get(f"/api/history/{device.device_id}", {**HOUR, **query})


def table_of(answer: Any, file_format: str) -> pl.DataFrame:
    assert answer.status_code == 200
    read = {"parquet": pl.read_parquet, "arrow": pl.read_ipc_stream}[file_format]
    return read(io.BytesIO(answer.content))


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_buckets_have_a_column_for_each_figure(
    ask: Callable[..., Any], put: Callable[..., None], device: Device, file_format: str
) -> None:
    put({
        "power": [(NOON + n * SECOND, float(n)) for n in range(0, 1800, 2)],
        "energy": [(NOON + n * 10 * SECOND, n / 10) for n in range(180)],
    })  # fmt: skip
    said = ask(max_points="100").json()
    answer = ask(max_points="100", format=file_format)
    table = table_of(answer, file_format)
    assert (table["time"].to_physical() // SECOND).to_list() == said["time"]
    for series in said["series"]:
        for figure in {"mean", "min", "max", "count", "coverage", "increase", "unallocated", "resets"} & set(
            series
        ):
            column = table[f"{series['metric']} {figure}"].to_list()
            assert len(column) == said["points"]
            for ours, theirs in zip(column, series[figure], strict=True):
                assert ours == theirs if theirs is None else ours == pytest.approx(theirs, abs=1e-4)
    assert {"energy increase", "energy resets"} <= set(table.columns)
    assert answer["Content-Disposition"].startswith(f'attachment; filename="{device.device_id}_')


def test_raw_points_are_readings_by_the_clock_of_the_zone(
    ask: Callable[..., Any], put: Callable[..., None]
) -> None:
    put({"power": [(NOON, 1.5), (NOON + 1, -2.0)], "=x": [(NOON, 3.0)]})
    answer = ask(format="csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.content.decode() == (
        '"time",\'=x,power\n2026-03-01T13:00:00+01:00,3.0,1.5\n2026-03-01T13:00:00.000001+01:00,,-2.0\n'
    )
    assert datetime.fromisoformat("2026-03-01T13:00:00+01:00").timestamp() * SECOND == NOON


def test_a_range_without_readings_is_an_empty_table(
    ask: Callable[..., Any], put: Callable[..., None]
) -> None:
    put({"power": [(NOON - SECOND, 1.0)]})
    assert ask(format="csv").content == b'"time",power\n'
    assert table_of(ask(format="parquet"), "parquet").schema == {
        "time": pl.Datetime("us", "UTC"), "power": pl.Float64,
    }  # fmt: skip


def test_another_format_is_refused_by_name(ask: Callable[..., Any]) -> None:
    answer = ask(format="xlsx")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "format")
    assert "json, csv, parquet, arrow" in answer.json()["detail"]
