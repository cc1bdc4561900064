"""How a file is read: the import profile, and the part of it that a person has given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile_json import profile_from_json, profile_to_json

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

MOST_NAMINGS = 4
"""So often a wide file's column may be stored, each time as another metric or for another device."""

BLANK_RUNS = r"[ \t]+"
"""The delimiter pattern of columns that are set apart by any number of blanks."""

WIDE_GAPS = r"[ ]{2,}|[ ]*\t[ \t]*"
"""The delimiter pattern of columns that are set apart by two blanks or more: one may stand in a cell."""

Layout = Literal["wide", "long", "across"]


@dataclass(frozen=True)
class ValueColumn:
    """Numbers of the file and the metric that they belong to.

    Wide: those of a column. Long: those of a column in the rows whose key cells are `key`. Hours across:
    those of all hour columns in such rows, and `column` is empty. A number is multiplied by `factor`.
    `device` is empty for the device of the import.
    """

    column: str
    metric: str
    unit: str = ""
    key: tuple[str, ...] = ()
    factor: float = 1.0
    device: str = ""


@dataclass(frozen=True)
class HourColumn:
    """A column of the layout with the hours across: `minutes` of its time behind the row's midnight.

    `pass_` is 1 or 2 where the column is one of the two of a doubled hour, else 0.
    """

    column: str
    minutes: int
    pass_: int = 0


@dataclass(frozen=True)
class ImportProfile:
    """Everything that decides how a file's bytes become readings.

    `layout` is wide (a time, then one value a column), long (a time, a key such as a register, and
    values) or across (a day, perhaps a key, and the hours of the day as columns). `encoding` is a name
    that Python knows; cells are parted by `delimiter`, one ASCII character, unless `delimiter_pattern` (a
    regular expression) or `widths` (characters a column) is set; `line_end` is LF (which may follow a CR)
    or a lone CR. `sheet` is the sheet of a workbook, empty for the first that holds anything. Lines are
    physical and count from 1; `header_line` is None where the file has none, and its columns are then
    called `column_1`, `column_2`, … Lines that begin with one of `skip_prefixes` are no rows.

    The cells of `time_columns` are joined by one blank and must match one of `time_formats` (see
    `times`), the first that fits. `tz` is an IANA name or a fixed offset such as `+01:00`; it applies to
    times that carry no offset of their own. A local time that the clocks showed twice is told apart by the
    order of rows, or is always the first or second pass (`doubled_hour`); one that they never showed is
    rejected, or taken for what a clock that was not put forward shows (`missing_hour`). With `time_marks`
    "end" a time is that of an interval's end, and `interval` (seconds) is taken from it.

    `na_values` are compared as exact text after stripping blanks; an empty cell is always NA. `affixes`
    are units and currencies that may stand before or behind a number. A long file's keys that have no
    entry in `values` become metrics as they come (`new_keys` "import"), or are left out ("ignore"), as
    those always are that `ignored_keys` lists, their cells joined by one blank.
    """

    time_columns: tuple[str, ...]
    time_formats: tuple[str, ...]
    values: tuple[ValueColumn, ...]
    layout: Layout = "wide"
    delimiter: str = ","
    delimiter_pattern: str = ""
    widths: tuple[int, ...] = ()
    quote: str = '"'
    encoding: str = "utf-8"
    line_end: str = "\n"
    sheet: str = ""
    header_line: int | None = 1
    first_data_line: int = 2
    skip_prefixes: tuple[str, ...] = ()
    tz: str = "UTC"
    doubled_hour: Literal["order", "first", "second"] = "order"
    missing_hour: Literal["reject", "shift"] = "reject"
    time_marks: Literal["start", "end"] = "start"
    interval: int = 0
    decimal: str = "."
    thousands: str = ""
    na_values: tuple[str, ...] = DEFAULT_NA_VALUES
    affixes: tuple[str, ...] = ()
    key_columns: tuple[str, ...] = ()
    unit_column: str = ""
    new_keys: Literal["import", "ignore"] = "import"
    ignored_keys: tuple[str, ...] = ()
    hour_columns: tuple[HourColumn, ...] = ()
    name: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the profile as a JSON object that `from_json` takes back."""
        return profile_to_json(self)

    @classmethod
    def from_json(cls, stored: object) -> ImportProfile:
        """Return the profile that `as_json` described, in this version or an earlier one.

        Raises `UnusableProfile` that names the entry which cannot be used.
        """
        entries = profile_from_json(stored, cls)
        values = tuple(ValueColumn(**entry) for entry in entries.pop("values"))
        hours = tuple(HourColumn(**entry) for entry in entries.pop("hour_columns", ()))
        profile = cls(values=values, hour_columns=hours, **entries)
        profile.check_repeats()
        return profile

    def check_repeats(self) -> None:
        """Raise `UnusableProfile` where columns are named again and again.

        Each naming costs the reading of a whole column, however small the file is.
        """
        counts: Counter[tuple[str, ...]]
        if self.layout == "wide":
            counts = Counter((value.column,) for value in self.values)
            most = MOST_NAMINGS
            if len(self.values) > MOST_COLUMNS:
                raise UnusableProfile(
                    f"the profile has {len(self.values):,} values, and a row at most {MOST_COLUMNS:,} cells"
                )
        else:
            counts = Counter((value.column, *value.key) for value in self.values)
            counts += Counter((hour.column,) for hour in self.hour_columns)
            most = 1
        names, count = max(counts.items(), key=lambda item: item[1], default=((), 0))
        column = " ".join(filter(None, names))
        if count > most:
            raise UnusableProfile(
                f"the profile names {column[:80]!r} {count:,} times; name it {most} times at most"
                if most > 1
                else f"the profile names {column[:80]!r} {count:,} times; name it once"
            )


@dataclass(frozen=True)
class Target:
    """Where the numbers of a column or key go: a metric, its unit and a factor where they were named."""

    metric: str
    unit: str = ""
    factor: float = 1.0
    device: str = ""


@dataclass(frozen=True)
class Given:
    """The settings that a person named; None (or nothing) where the file itself is to be asked.

    `delimiter` is a character, a word such as `tab`, `blanks` or `/REGULAR EXPRESSION/`, or the widths of
    fixed columns (`10,8,8`). `header_line` 0 means that there is none. `mapping` renames a column, or
    in a long file the key of a series (`Target`), or leaves it out (None). `key_columns` ("",) means none.
    """

    layout: Layout | None = None
    delimiter: str | None = None
    encoding: str | None = None
    header_line: int | None = None
    time_columns: tuple[str, ...] = ()
    time_formats: tuple[str, ...] = ()
    tz: str | None = None
    time_marks: Literal["start", "end"] | None = None
    doubled_hour: Literal["order", "first", "second"] | None = None
    missing_hour: Literal["reject", "shift"] | None = None
    decimal: str | None = None
    thousands: str | None = None
    na_values: tuple[str, ...] | None = None
    key_columns: tuple[str, ...] = ()
    mapping: Mapping[str, Target | None] = field(default_factory=dict)
