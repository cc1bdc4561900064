"""How a file is read: the import profile."""

from __future__ import annotations

import dataclasses
import types
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.settings import LONGEST_TEXT, KindWord, Target
from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit

VERSION = 1
_MOST_ENTRIES = {
    "time_columns": 6,
    "time_formats": 20,
    "widths": 4096,
    "skip_prefixes": 100,
    "na_values": 1000,
    "affixes": 200,
    "key_columns": 16,
    "key": 16,
    "hour_columns": 4096,
    "values": 50_000,
    "ignored_keys": 50_000,
}
"""Most entries in each list of a profile: the work for each row grows with most of them."""


def profile_to_json(profile: Any) -> dict[str, Any]:
    """Return a profile (a data class) as a JSON object; nested entries omit defaults."""
    described: dict[str, Any] = {"version": VERSION}
    for entry in dataclasses.fields(profile):
        value = getattr(profile, entry.name)
        if isinstance(value, tuple):
            value = [_without_defaults(item) if dataclasses.is_dataclass(item) else item for item in value]
        described[entry.name] = value
    return described


def profile_from_json(stored: object, profile_type: type) -> dict[str, Any]:
    """Return the entries of a profile by name; raises `UnusableProfile` with the name of a wrong entry."""
    if not isinstance(stored, Mapping):
        raise UnusableProfile("an import profile is a JSON object, as Joulebook saves it")
    version = stored.get("version", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
        raise UnusableProfile(
            f"the profile has version {version!r}; this Joulebook reads versions 1 to {VERSION}, "
            "so use the Joulebook that wrote it, or a newer one"
        )
    return _entries({name: value for name, value in stored.items() if name != "version"}, profile_type, "")


def _without_defaults(item: Any) -> dict[str, Any]:
    shown = {}
    for entry in dataclasses.fields(item):
        value = getattr(item, entry.name)
        if entry.default is dataclasses.MISSING or value != entry.default:
            shown[entry.name.removesuffix("_")] = list(value) if isinstance(value, tuple) else value
    return shown


def _entries(stored: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    hints = _hints(kind)
    fields = {field.name.removesuffix("_"): field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(stored) - set(fields)):
        raise UnusableProfile(
            f"the profile has the unknown entry {where}{str(unknown[0])[:80]!r}; "
            f"there are {', '.join(fields)}"
        )
    for name, entry in fields.items():
        if entry.default is dataclasses.MISSING and name not in stored:
            raise UnusableProfile(f"the profile lacks the entry {where}{name!r}")
    return {
        fields[name].name: _checked(value, hints[fields[name].name], f"{where}{name}")
        for name, value in stored.items()
    }


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a data class's fields; finding them takes longer than reading an entry."""
    return get_type_hints(kind)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` in the type of a field; raises `UnusableProfile` if it has another."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple:
        most = _MOST_ENTRIES[where.rpartition(".")[2]]
        if not isinstance(value, list):
            raise _unfit(value, "a list", where)
        if len(value) > most:
            raise UnusableProfile(
                f"the profile's entry {where} has {len(value):,} items, at most {most:,} are read"
            )
        items = [_checked(item, args[0], f"{where}[{at}]") for at, item in enumerate(value)]
        return items if dataclasses.is_dataclass(args[0]) else tuple(items)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise _unfit(value, "an object", where)
        return _entries(value, hint, f"{where}.")
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise _unfit(value, " or ".join(map(repr, args)), where)
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _checked(value, args[0], where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or isinstance(value, bool):
        raise _unfit(value, {str: "text", int: "a whole number", float: "a number"}[hint], where)
    # A database of accounts may refuse a NUL, and no line of a file has one.
    if hint is str and (len(value) > LONGEST_TEXT or "\0" in value):
        raise _unfit(value, f"text of at most {LONGEST_TEXT} characters without NUL", where)
    if hint is int and not 0 <= value < 2**31:
        raise _unfit(value, "a whole number of 0 or more", where)
    return value


def _unfit(value: Any, wanted: str, where: str) -> UnusableProfile:
    return UnusableProfile(f"the profile's entry {where} is {str(value)[:80]!r}; it must be {wanted}")


DEFAULT_NA_VALUES = (
    "?",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "unavailable",
    "unknown",
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
"""Texts for a missing value unless the profile has others; an empty cell is always missing."""

MOST_COLUMNS = 4096
"""A line with more cells than this is taken for damage, not for a header."""

MOST_NAMINGS = 4
"""A wide file's column may be stored this many times, each as another metric or for another device."""

BLANK_RUNS = r"[ \t]+"
"""The delimiter pattern of columns separated by any number of blanks."""

WIDE_GAPS = r"[ ]{2,}|[ ]*\t[ \t]*"
"""The delimiter pattern of columns separated by two blanks or more: a cell may hold single blanks."""


class ShownMeaning:
    """The unit and kind on a metric's page, unless its owner has set others."""

    metric: str
    unit: str
    kind: str

    @property
    def shown_unit(self) -> str:
        """The unit: the file's, or else the usual one of the name."""
        return self.unit or guess_unit(self.metric)

    @property
    def shown_kind(self) -> str:
        """The kind: the one the values show, or else that of the name."""
        return self.kind or guess_kind(self.metric).kind.name


@dataclass(frozen=True)
class ValueColumn(ShownMeaning):
    """Numbers of the file and their metric.

    Wide: the numbers of a column. Long: the numbers of a column in rows with these `key` cells. Hours
    across: the numbers of all hour columns in such rows, and `column` is empty. A number is multiplied by
    `factor`. `device` is empty for the device of the import. `kind` is empty if the metric's name decides.

    With a `cell_unit`, numbers beside another unit are converted to it before the factor: in a cell of
    their own, or in `unit_column` (in a long file, the profile's).
    """

    column: str
    metric: str
    unit: str = ""
    key: tuple[str, ...] = ()
    factor: float = 1.0
    device: str = ""
    kind: KindWord = ""
    cell_unit: str = ""
    unit_column: str = ""

    def with_target(self, target: Target) -> ValueColumn:
        """Return the same numbers for another target; what it does not name stays."""
        return dataclasses.replace(
            self,
            metric=target.metric,
            unit=target.unit or self.unit,
            factor=target.factor,
            device=target.device,
            kind=target.kind or self.kind,
        )


COUNTED = 3
"""In place of a pass: an hour column counts the minutes as they pass, also through a change of the clocks."""


@dataclass(frozen=True)
class HourColumn:
    """A column of the layout with the hours across, `minutes` after the row's midnight by the clock.

    `pass_` is 1 or 2 if the column is one of the two of a doubled hour, else 0. It is `COUNTED` if the
    minutes are those that have passed: of 25 columns, a day of 23 hours fills 23.
    """

    column: str
    minutes: int
    pass_: int = 0


@dataclass(frozen=True)
class ImportProfile:
    """All settings for converting a file's bytes to readings.

    `layout` is wide (a time, then one value a column), long (a time, a key such as a register, and
    values) or across (a day, perhaps a key, and the hours of the day as columns). `encoding` is a name
    known to Python. Cells are separated by `delimiter`, one ASCII character, unless `delimiter_pattern` (a
    regular expression) or `widths` (characters a column) is set. `line_end` is LF (possibly after a CR) or
    a lone CR. `sheet` is the sheet of a workbook, empty for the first with any cells. Lines are physical
    and count from 1. Without a header, `header_line` is None and the columns are called `column_1`,
    `column_2`, … Lines beginning with one of `skip_prefixes` are no rows.

    The cells of `time_columns` are joined by one blank and must match one of `time_formats` (see
    `times`); the first match counts. `tz` is an IANA name or a fixed offset such as `+01:00`; it applies
    to times without an offset of their own. The order of rows decides the pass of a repeated local time,
    or it is always the first or second (`doubled_hour`). A skipped local time is rejected, or converted
    with the offset before the change (`missing_hour`). With `time_marks` "end" a time is the end of an
    interval, and `interval` (seconds) is subtracted from it.

    `na_values` are compared as exact text after stripping blanks; an empty cell is always NA. `affixes`
    are units and currencies allowed before or after a number. Keys of a long file without an entry in
    `values` become metrics (`new_keys` "import"), or are left out ("ignore"). Keys in `ignored_keys`
    (cells joined by one blank) are always left out. In a long file a new key's unit and kind are those of
    its first row in `unit_column` and `kind_column`. `line_column` holds the line or record of the original
    file, where the rows were made from one.
    """

    time_columns: tuple[str, ...]
    time_formats: tuple[str, ...]
    values: tuple[ValueColumn, ...]
    layout: Literal["wide", "long", "across"] = "wide"
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
    kind_column: str = ""
    line_column: str = ""
    new_keys: Literal["import", "ignore"] = "import"
    ignored_keys: tuple[str, ...] = ()
    hour_columns: tuple[HourColumn, ...] = ()
    name: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the profile as a JSON object for `from_json`."""
        return profile_to_json(self)

    @classmethod
    def from_json(cls, stored: object) -> ImportProfile:
        """Return the profile of a JSON object from `as_json`, in this version or an earlier one.

        Raises `UnusableProfile` with the name of a wrong entry.
        """
        entries = profile_from_json(stored, cls)
        values = tuple(ValueColumn(**entry) for entry in entries.pop("values"))
        hours = tuple(HourColumn(**entry) for entry in entries.pop("hour_columns", ()))
        profile = cls(values=values, hour_columns=hours, **entries)
        profile.check_repeats()
        return profile

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file that the profile names, each once."""
        hours = tuple(hour.column for hour in self.hour_columns)
        values = () if hours else tuple(value.column for value in self.values)
        units = (self.unit_column, *(value.unit_column for value in self.values))
        names = (
            *self.time_columns,
            *self.key_columns,
            *hours,
            *values,
            *units,
            self.kind_column,
            self.line_column,
        )
        return tuple(dict.fromkeys(filter(None, names)))

    def check_repeats(self) -> None:
        """Raise `UnusableProfile` if a column is named too many times.

        Each time costs the conversion of a whole column, even in a small file.
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
