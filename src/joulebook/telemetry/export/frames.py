"""Blocks of readings to tables: long (time, metric, value) or wide (time, then one column a metric)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.export.reading import Block

Layout = Literal["wide", "long"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
TIME = "time"

_MOST_CELLS = 4_000_000
"""Most numbers in one wide table: metrics that never share an instant need a row for each reading."""


def tables(blocks: Iterable[Block], metrics: Sequence[str], layout: Layout) -> Iterator[pl.DataFrame]:
    """Yield the blocks as tables of one schema; the first is empty, for exports without a reading.

    Columns: `time` (microseconds, UTC); long: `metric`, `value`; wide: one Float64 column a metric, null
    where it has no reading at the instant. `column_names` makes the names of wide columns distinct.
    """
    nothing = Block(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0), 0)
    yield from _tables(nothing, metrics, layout)
    for block in blocks:
        yield from _tables(block, metrics, layout)


def column_names(metrics: Sequence[str]) -> list[str]:
    """Return the names of the wide columns: the metrics' names, but `time_2` for a metric called `time`."""
    taken = set(metrics)
    names = list(metrics)
    if TIME in taken:
        number = 2
        while f"{TIME}_{number}" in taken:
            number += 1
        names[names.index(TIME)] = f"{TIME}_{number}"
    return names


def instants(time: NDArray[np.int64]) -> pl.Series:
    """Return microseconds since 1970 UTC as a column of instants."""
    return pl.Series(TIME, time, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def _tables(block: Block, metrics: Sequence[str], layout: Layout) -> Iterator[pl.DataFrame]:
    if layout == "long":
        names = pl.Series("metric", list(metrics), dtype=pl.String)
        yield pl.DataFrame(
            [instants(block.time), names.gather(block.metric), pl.Series("value", block.value)]
        )
        return
    is_new = np.ones(len(block), np.bool_)
    is_new[1:] = block.time[1:] != block.time[:-1]
    time = block.time[is_new]
    row = np.cumsum(is_new) - 1
    height = max(1, _MOST_CELLS // max(len(metrics), 1))
    for first in range(0, max(len(time), 1), height):
        begin, end = np.searchsorted(row, (first, first + height)).tolist()
        part = slice(begin, end)
        rows = time[first : first + height]
        # No reading is NaN: here it means "none".
        cells = np.full((len(metrics), len(rows)), np.nan)
        cells[block.metric[part], row[part] - first] = block.value[part]
        columns = [
            pl.Series(name, cells[at], nan_to_null=True) for at, name in enumerate(column_names(metrics))
        ]
        yield pl.DataFrame([instants(rows), *columns])
