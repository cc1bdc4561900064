"""How a file is read: the import profile, and the part of it that a person has given."""

from __future__ import annotations

import dataclasses
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.readings import metric_name_problem

VERSION = 1
_LONGEST_TEXT = 1000
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
"""How long each list of a profile may be: what is done for each row grows with most of them."""


def profile_to_json(profile: Any) -> dict[str, Any]:
    """Return a profile (a data class) as a JSON object; nested entries leave out what has its default."""
    described: dict[str, Any] = {"version": VERSION}
    for entry in dataclasses.fields(profile):
        value = getattr(profile, entry.name)
        if isinstance(value, tuple):
            value = [_short(item) if dataclasses.is_dataclass(item) else item for item in value]
        described[entry.name] = value
    return described


def profile_from_json(stored: object, profile_type: type) -> dict[str, Any]:
    """Return the entries of a profile by name; raises `UnusableProfile` that names what cannot be used."""
    if not isinstance(stored, Mapping):
        raise UnusableProfile("an import profile is a JSON object, as Joulebook saves it")
    version = stored.get("version", VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
        raise UnusableProfile(
            f"the profile has version {version!r}; this Joulebook reads versions 1 to {VERSION}, "
            "so use the Joulebook that wrote it, or a newer one"
        )
    return _entries({name: value for name, value in stored.items() if name != "version"}, profile_type, "")


def _short(item: Any) -> dict[str, Any]:
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
    """Return the types of a data class's fields: to find them takes longer than to read an entry."""
    return get_type_hints(kind)


def _checked(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type of a field wants it; raises `UnusableProfile` where it is of another."""
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
    return _plain(value, hint, where)


def _plain(value: Any, hint: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or isinstance(value, bool):
        raise _unfit(value, {str: "text", int: "a whole number", float: "a number"}[hint], where)
    # A database of accounts may not take a NUL, and no line of a file has one.
    if hint is str and (len(value) > _LONGEST_TEXT or "\0" in value):
        raise _unfit(value, f"text of at most {_LONGEST_TEXT} characters without NUL", where)
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


MOST_UNIT_CHARACTERS = 32


def mapping_from(words: Iterable[str]) -> dict[str, Target | None]:
    """Return the targets by column of words `COLUMN=METRIC[:UNIT]`; None for `COLUMN=`, which leaves it out.

    The last `=` ends the column's name and the last `:` begins the unit, so `a=b:c:` is the metric `b:c`.
    Raises `UnusableProfile` that shows the word and how it is written.
    """
    mapping: dict[str, Target | None] = {}
    for word in words:
        shown = word[:200]
        column, equals, target = word.rpartition("=")
        if not equals or not column.strip():
            raise _unusable(" must be COLUMN=METRIC, COLUMN=METRIC:UNIT, or COLUMN=", shown)
        if column in mapping:
            raise _unusable(": the column {1!r} is mapped twice", shown, column[:200])
        mapping[column] = _target(shown, target.strip()) if target.strip() else None
    return mapping


def mapping_word(column: str, target: Target | None) -> str:
    """Return the word that `mapping_from` takes for this; a factor and a device have none."""
    if target is None:
        return f"{column}="
    unit = f":{target.unit}" if target.unit or ":" in target.metric else ""
    return f"{column}={target.metric}{unit}"


def _target(shown: str, text: str) -> Target:
    metric, colon, unit = text.rpartition(":")
    if not colon:
        metric, unit = text, ""
    metric, unit = metric.strip(), unit.strip()
    if problem := metric_name_problem(metric):
        raise _unusable(": {1}", shown, problem)
    if len(unit) > MOST_UNIT_CHARACTERS or not unit.isprintable():
        raise _unusable(": a unit has at most {1} printable characters", shown, MOST_UNIT_CHARACTERS)
    return Target(metric, unit)


def _unusable(problem: str, *arguments: object) -> UnusableProfile:
    return UnusableProfile(Message("{mapping:{0!r}}" + problem, *arguments), setting="mapping")
