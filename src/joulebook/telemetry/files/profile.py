"""How a file is read: the import profile, and the part of it that a person has given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_NA_VALUES = (
    "?",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "NAN",
    "nan",
    "NULL",
    "null",
    "None",
    "-",
    "--",
    "---",
)
"""What stands for a missing value unless the profile says otherwise; an empty cell always does."""

MOST_COLUMNS = 4096
"""A line with more cells than this is taken for damage, not for a header."""


@dataclass(frozen=True)
class ValueColumn:
    """A column of the file and the metric that its numbers belong to."""

    column: str
    metric: str
    unit: str = ""


@dataclass(frozen=True)
class ImportProfile:
    """Everything that decides how a file's bytes become readings. Wide layout: a time, then values.

    `encoding` is a name that Python knows; `delimiter` is one ASCII character; `line_end` is LF (which
    may follow a CR) or a lone CR. Lines are physical and count from 1; `header_line` is None where the
    file has none, and its columns are then called `column_1`, `column_2`, … The cells of `time_columns`
    are joined by one blank and must match one of `time_formats` (see `times`), the first that fits. `tz`
    is an IANA name or a fixed offset such as `+01:00`; it applies to times that carry no offset of their
    own. `na_values` are compared as exact text after stripping blanks; an empty cell is always NA.
    """

    time_columns: tuple[str, ...]
    time_formats: tuple[str, ...]
    values: tuple[ValueColumn, ...]
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    line_end: str = "\n"
    header_line: int | None = 1
    first_data_line: int = 2
    tz: str = "UTC"
    decimal: str = "."
    thousands: str = ""
    na_values: tuple[str, ...] = DEFAULT_NA_VALUES

    def as_json(self) -> dict[str, Any]:
        """Return the profile as a JSON object that `from_json` takes back."""
        return {
            "layout": "wide",
            "encoding": self.encoding,
            "line_end": self.line_end,
            "delimiter": self.delimiter,
            "quote": self.quote,
            "header_line": self.header_line,
            "first_data_line": self.first_data_line,
            "time_columns": list(self.time_columns),
            "time_formats": list(self.time_formats),
            "tz": self.tz,
            "decimal": self.decimal,
            "thousands": self.thousands,
            "na_values": list(self.na_values),
            "values": [{"column": v.column, "metric": v.metric, "unit": v.unit} for v in self.values],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ImportProfile:
        """Return the profile that `as_json` described."""
        return cls(
            encoding=stored["encoding"],
            line_end=stored["line_end"],
            delimiter=stored["delimiter"],
            quote=stored["quote"],
            header_line=stored["header_line"],
            first_data_line=stored["first_data_line"],
            time_columns=tuple(stored["time_columns"]),
            time_formats=tuple(stored["time_formats"]),
            tz=stored["tz"],
            decimal=stored["decimal"],
            thousands=stored["thousands"],
            na_values=tuple(stored["na_values"]),
            values=tuple(ValueColumn(**value) for value in stored["values"]),
        )


@dataclass(frozen=True)
class Target:
    """Where the numbers of a column go: a metric, and its unit where one was named."""

    metric: str
    unit: str = ""


@dataclass(frozen=True)
class Given:
    """The settings that a person named; None (or nothing) where the file itself is to be asked.

    `header_line` 0 means that there is none. `mapping` renames a column (`Target`) or leaves it out (None).
    """

    delimiter: str | None = None
    encoding: str | None = None
    header_line: int | None = None
    time_columns: tuple[str, ...] = ()
    time_formats: tuple[str, ...] = ()
    tz: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    na_values: tuple[str, ...] | None = None
    mapping: Mapping[str, Target | None] = field(default_factory=dict)
