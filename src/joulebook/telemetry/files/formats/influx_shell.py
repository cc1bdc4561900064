"""CSV of InfluxDB 1's shell and query API: the columns `name`, `tags`, `time`, then the fields.

https://docs.influxdata.com/influxdb/v1/tools/influx-cli/use-influx-cli/ (`-format csv`, grouped by tags)
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.formats.format import READINGS_LINE, Content, Format
from joulebook.telemetry.files.formats.named_series import (
    PRECISIONS,
    TEXT,
    Origin,
    Rows,
    SeriesNames,
    precision_of,
    quoted,
    text_cells,
    text_lines,
)

_COLUMNS = ["name", "tags", "time"]
_TRUTH = {"true": "1", "false": "0"}
_ROWS_A_CHUNK = 10_000


def _recognises(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").startswith(b"name,tags,time,")


def _convert(content: Content) -> Iterator[bytes]:
    return convert_rows(content, SeriesNames())


def convert_rows(content: Content, names: SeriesNames) -> Iterator[bytes]:
    """Yield the rows as CSV of readings; afterwards `names` has all their series.

    A statement for several measurements writes the header again before each of them.
    """
    yield READINGS_LINE
    rows = Rows()
    reader = csv.reader(text_lines(content))
    fields: list[str] = []
    found: dict[tuple[str, str, str], str] = {}
    for cells in reader:
        line = reader.line_num
        if cells[:3] == _COLUMNS:
            fields = cells[3:]
        elif not any(cells):
            continue
        elif len(cells) != len(fields) + 3:
            rows.add_damaged(line, ",".join(cells))
        else:
            for field, value in zip(fields, cells[3:], strict=True):
                key = (cells[0], cells[1], field)
                if key not in found:
                    found[key] = names.find(Origin(cells[0], _tags(cells[1]), field)).cells
                _add(rows, line, cells[2], found[key], value)
        if len(rows) >= _ROWS_A_CHUNK:
            check_budget()
            yield rows.taken()
    yield rows.taken()


def _add(rows: Rows, line: int, time: str, cells: str, value: str) -> None:
    value = _TRUTH.get(value, value)
    try:
        float(value or "0")
    except ValueError:
        cells, value = text_cells(), TEXT
    precision = precision_of(int(time)) if time.isdecimal() else None
    if precision is None:
        rows.add_text(line, time, cells, value)
    else:
        multiply, divide = PRECISIONS[precision]
        rows.add(line, int(time) * multiply // divide, cells, quoted(value))


def _tags(text: str) -> tuple[tuple[str, str], ...]:
    """Return the tags of a cell such as `host=a,room=b`; those without a value are none."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return tuple(sorted((key, value) for key, _, value in pairs if value))


INFLUX_SHELL = Format("CSV of InfluxDB's shell", _recognises, _convert)
