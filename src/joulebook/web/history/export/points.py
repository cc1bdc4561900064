"""The points of an answer as a file: a table with one row a point, in the formats of exports."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from django.http import HttpResponse
from numpy.typing import NDArray

from joulebook.telemetry.csv_format import guarded
from joulebook.telemetry.export.formats import FORMATS, FormatName, table_chunks
from joulebook.telemetry.export.frames import column_names, instants
from joulebook.telemetry.history.columns import Column, Numbers
from joulebook.telemetry.history.points import Points
from joulebook.time_zones import ZoneInfo


def points_file(points: Points, *, file_format: FormatName, device_id: str, zone: ZoneInfo) -> HttpResponse:
    """Return the points as a file; in CSV times are local to `zone` with its offset, else UTC.

    Raw: a column a metric, by its name. Buckets: columns `<metric> mean`, `min`, `max`, `count` and
    `coverage`; of a counter also `increase`, `unallocated` and `resets`, of a state `share of <value>`. A
    null of the JSON answer is empty or null here.
    """
    figures = [figure for column in points.columns for figure in _figures(column)]
    names = [guarded(name) if file_format == "csv" else name for name, _ in figures]
    columns = [
        pl.Series(name, values, nan_to_null=True)
        for name, (_, values) in zip(column_names(names), figures, strict=True)
    ]
    table = pl.DataFrame([instants(points.time), *columns])
    chunks = table_chunks([table], file_format=file_format, zone=zone)
    response = HttpResponse(b"".join(chunks), content_type=FORMATS[file_format].media_type)
    name = f"{device_id.replace(':', '_')}_{points.resolution}{FORMATS[file_format].suffix}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-cache"
    return response


def _figures(column: Column) -> Iterator[tuple[str, Numbers | NDArray[np.int64]]]:
    """Yield name and values of each of a metric's columns."""
    metric = column.wanted.metric
    if column.value is not None:
        yield metric, column.value
        return
    figures = {
        "mean": column.mean,
        "min": column.min,
        "max": column.max,
        "count": column.count,
        "coverage": column.coverage,
    }
    for name, values in [*figures.items(), *(column.more.table() if column.more else ())]:
        yield f"{metric} {name}", values
