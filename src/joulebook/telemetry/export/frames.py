"""Blocks of readings to tables: long (time, metric, value, text) or wide (time, then one column a metric)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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


Texts = Mapping[int, Mapping[int, str]]
"""Texts by code, of the metrics that hold text; metrics are indexes into the series of a block."""


def tables(
    blocks: Iterable[Block], metrics: Sequence[str], layout: Layout, texts: Texts | None = None
) -> Iterator[pl.DataFrame]:
    """Yield the blocks as tables of one schema; the first is empty, for exports without a reading.

    Columns: `time` (microseconds, UTC); long: `metric`, `value`, and `text` if any of `texts` is given; wide:
    one column a metric, Float64 or String, null where it has no reading at the instant. `column_names` makes
    the names of wide columns distinct.
    """
    make = _long if layout == "long" else _wide
    nothing = Block(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0), 0)
    yield from make(nothing, metrics, texts or {})
    for block in blocks:
        yield from make(block, metrics, texts or {})


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


def _long(block: Block, metrics: Sequence[str], texts: Texts) -> Iterator[pl.DataFrame]:
    names = pl.Series("metric", list(metrics), dtype=pl.String)
    columns = [instants(block.time), names.gather(block.metric), pl.Series("value", block.value)]
    if texts:
        text = np.full(len(block), None, object)
        value = block.value.copy()
        for metric, by_code in texts.items():
            rows = block.metric == metric
            text[rows] = _decoded(block.value[rows], by_code)
            value[rows] = np.nan
        columns[2] = pl.Series("value", value, nan_to_null=True)
        columns.append(pl.Series("text", text.tolist(), dtype=pl.String))
    yield pl.DataFrame(columns)


def _wide(block: Block, metrics: Sequence[str], texts: Texts) -> Iterator[pl.DataFrame]:
    is_new = np.ones(len(block), np.bool_)
    is_new[1:] = block.time[1:] != block.time[:-1]
    time = block.time[is_new]
    row = np.cumsum(is_new) - 1
    height = max(1, _MOST_CELLS // max(len(metrics), 1))
    names = column_names(metrics)
    for first in range(0, max(len(time), 1), height):
        begin, end = np.searchsorted(row, (first, first + height)).tolist()
        part = slice(begin, end)
        rows = time[first : first + height]
        # No reading is NaN: here it means "none".
        cells = np.full((len(metrics), len(rows)), np.nan)
        cells[block.metric[part], row[part] - first] = block.value[part]
        columns = [
            pl.Series(name, _decoded(cells[at], texts[at]).tolist(), dtype=pl.String)
            if at in texts
            else pl.Series(name, cells[at], nan_to_null=True)
            for at, name in enumerate(names)
        ]
        yield pl.DataFrame([instants(rows), *columns])


def _decoded(codes: NDArray[np.float64], by_code: Mapping[int, str]) -> NDArray[np.object_]:
    """Return the texts of codes; None for NaN, which is no reading."""
    lookup = np.full(max(by_code, default=0) + 1, None, object)
    for code, text in by_code.items():
        lookup[code] = text
    found: NDArray[np.object_] = lookup[np.nan_to_num(codes).astype(np.intp)]
    return found
