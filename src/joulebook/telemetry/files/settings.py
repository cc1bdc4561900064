"""The settings of an import, each declared once: commands, API, pages and docs follow from this.

To add one, add a field to `Given`, use it in a step of reading, and add its row to the docs' table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.readings import metric_name_problem

LONGEST_TEXT = 1000
"""Most characters of one text of a setting."""


KindWord = Literal["", "gauge", "counter", "amount", "state"]


@dataclass(frozen=True)
class Target:
    """The target of a column or key: a metric, and its unit, kind and a factor if they were named."""

    metric: str
    unit: str = ""
    factor: float = 1.0
    device: str = ""
    kind: KindWord = ""


MAPPING_FORM = "COLUMN=METRIC[:UNIT[:KIND]]"

_SWITCH = {"0": "no", "1": "yes"}

NONE = "none"
"""The word for an empty value of a setting that may be empty."""

_LARGEST_NUMBER = 10**6


@dataclass(frozen=True)
class Setting:
    """One setting, declared once: options, parameters, fields of the page, and docs follow from this.

    `field` is its field of `Given`, `name` its name as a parameter and an option, `label` its name on the
    page, and `help` one sentence for all. `group` is the part of the page with its field, "" for none.
    `choices` are values with words for people: all values of a word, else proposals. `most` is the largest
    number of values. `inputs` is the number of fields for a list on the page; 0 is one field of lines.
    `reason_name` is the setting's name in a layout. A setting `is_fixed` if a saved profile decides it.
    """

    label: str
    help: str
    group: str = ""
    name: str = ""
    field: str = ""
    kind: Literal["text", "word", "number", "list", "mapping", "flag"] = "text"
    hint: str = ""
    metavar: str = ""
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    proposals: Sequence[str] = ()
    most: int = 1
    inputs: int = 0
    reason_name: str = ""
    is_fixed: bool = False
    may_be_empty: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether there are no other values than the choices."""
        return self.kind in ("word", "flag")

    @property
    def is_lines(self) -> bool:
        """Whether one field of the page takes several texts, one a line."""
        return self.kind in ("list", "mapping") and not self.inputs

    @property
    def option(self) -> str:
        """The command's option."""
        return "--" + self.name.replace("_", "-")

    def read(self, texts: Sequence[str]) -> Any:
        """Return the value for `Given` of the texts given by a person; raises `UnusableProfile`."""
        if len(texts) > self.most:
            times = "once" if self.most == 1 else f"{self.most:,} times at most"
            raise self._unusable(" is given {0:,} times; give it {1}", len(texts), times)
        if self.kind == "mapping":
            return mapping_from(texts)
        for text in texts:
            if len(text) > LONGEST_TEXT or "\0" in text:
                raise self._unusable(" has at most {0:,} characters, and no NUL", LONGEST_TEXT)
        if self.kind == "list":
            return tuple(texts)
        (text,) = texts
        if self.is_closed and text not in self.choices:
            raise self._unusable(" {0!r} is not one of {1}", text[:40], ", ".join(self.choices))
        if self.kind == "flag":
            return text == "1"
        if self.kind == "number":
            if not (text.strip().isascii() and text.strip().isdigit() and int(text) < _LARGEST_NUMBER):
                raise self._unusable(" {0!r} is not a whole number below {1:,}", text[:40], _LARGEST_NUMBER)
            return int(text)
        return "" if self.may_be_empty and text == NONE else text

    def words(self, value: Any) -> list[str]:
        """Return the texts of a value, for `read`."""
        if self.kind == "mapping":
            return [mapping_word(column, target) for column, target in value.items()]
        return [str(each) for each in value] if self.kind == "list" else [str(value)]

    def _unusable(self, problem: str, *arguments: object) -> UnusableProfile:
        return UnusableProfile(Message("{" + self.field + "}" + problem, *arguments), setting=self.field)


def _setting(label: str, help: str, *, default: Any = None, **more: Any) -> Any:  # noqa: A002 - the word of all doors
    """Return a field of `Given` with its declaration."""
    return dataclasses.field(default=default, metadata={"setting": Setting(label, help, **more)})


@dataclass(frozen=True)
class Given:
    """The settings given by a person; None (or empty) for settings to be guessed from the file.

    `delimiter` is a character, a word such as `tab`, `blanks` or `/REGULAR EXPRESSION/`, or the widths of
    fixed columns (`10,8,8`). `header_line` 0 means no header. `mapping` renames a column, or in a long
    file the key of a series (`Target`), or leaves it out (None). `key_columns` ("",) means none. `amounts`
    says whether columns of energy and the like whose values rise and fall are amounts per interval; else
    they are registers. `repeats` "first" accepts that instants repeat with another value.
    """

    sheet: str | None = _setting(
        "Sheet", "sheet of a workbook, or list or table of another format; default: the first with rows",
        metavar="NAME",
    )  # fmt: skip
    encoding: str | None = _setting(
        "Encoding", "such as utf-8, cp1252, latin-1, utf-16", group="Text",
        proposals=("utf-8", "cp1252", "latin-1", "utf-16", "cp1250", "cp1251", "cp850", "mac-roman"),
    )  # fmt: skip
    delimiter: str | None = _setting(
        "Delimiter", "character between cells, or a word: tab, blanks; /PATTERN/; widths: 10,8,8",
        group="Text", proposals=(",", ";", "tab", "|", "blanks"), is_fixed=True,
        hint="Also tab, blanks, a /regular expression/, or widths such as 10,8,8.",
    )  # fmt: skip
    header_line: int | None = _setting(
        "Header line", "line with the column names; 0: no header", kind="number", group="Text",
        metavar="LINE", hint="0: no header.", reason_name="header", is_fixed=True,
    )  # fmt: skip
    layout: Literal["wide", "long", "across"] | None = _setting(
        "Layout", "wide (a column per metric), long (a key in each row) or across (a column per hour)",
        kind="word", group="Text", is_fixed=True,
        choices={
            "wide": "a time, then a value a column",
            "long": "a time, the metric, a value",
            "across": "a day, then its hours a column",
        },
    )  # fmt: skip
    key_columns: tuple[str, ...] = _setting(
        "Columns of the key", "column naming the metric of a row; repeatable; empty: none", default=(),
        kind="list", group="Text", name="key_column", metavar="COLUMN", most=16, inputs=2, may_be_empty=True,
        hint="They name the metric of a row.", reason_name="key", is_fixed=True,
    )  # fmt: skip
    time_columns: tuple[str, ...] = _setting(
        "Columns of the time", "column of the time; repeatable", default=(), kind="list", group="Time",
        name="time_column", metavar="COLUMN", most=6, inputs=3, reason_name="time", is_fixed=True,
    )  # fmt: skip
    time_formats: tuple[str, ...] = _setting(
        "Time formats", "format of the times, such as %d/%m/%Y %H:%M:%S; repeatable", default=(),
        kind="list", group="Time", name="time_format", metavar="FORMAT", most=20, reason_name="time format",
        hint="One a line, such as %d.%m.%Y %H:%M:%S",
    )  # fmt: skip
    tz: str | None = _setting(
        "Time zone", "time zone of times without offset; default: the device's", group="Time",
        metavar="ZONE", reason_name="time zone", hint="A name such as Europe/Berlin, or +01:00.",
    )  # fmt: skip
    time_marks: Literal["start", "end"] | None = _setting(
        "Times mark", "times mark the start or the end of an interval; default: start", kind="word",
        group="Time",
        choices={"start": "the start of an interval, or an instant", "end": "the end of an interval"},
        reason_name="times mark",
    )  # fmt: skip
    doubled_hour: Literal["order", "first", "second"] | None = _setting(
        "Doubled hour in autumn",
        "times of the doubled hour: by row order, all first pass or all second pass", kind="word",
        group="Time",
        choices={
            "order": "by the order of rows", "first": "always the first pass",
            "second": "always the second pass",
        },
    )  # fmt: skip
    missing_hour: Literal["reject", "shift"] | None = _setting(
        "Missing hour in spring", "reject or shift times skipped by the clock change", kind="word",
        group="Time",
        choices={"reject": "refused", "shift": "moved an hour later"},
    )  # fmt: skip
    decimal: str | None = _setting(
        "Decimal mark", "decimal mark: . or ,", kind="word", group="Numbers", metavar="MARK",
        reason_name="decimal mark",
        choices={".": "point: 1.5", ",": "comma: 1,5"},
    )  # fmt: skip
    thousands: str | None = _setting(
        "Thousands mark", "thousands mark; empty: none", group="Numbers", metavar="MARK",
        reason_name="thousands mark", may_be_empty=True,
        choices={
            NONE: "none", ".": "point: 1.000", ",": "comma: 1,000", "'": "apostrophe: 1'000",
            " ": "blank: 1 000", "\u00a0": "fixed blank: 1 000",
        },
    )  # fmt: skip
    na_values: tuple[str, ...] | None = _setting(
        "Missing values", "text of a missing value, besides an empty cell; repeatable", kind="list",
        group="Numbers", name="na", metavar="TEXT", most=1000, may_be_empty=True,
        reason_name="missing values", hint="One a line. An empty cell is always one.",
    )  # fmt: skip
    amounts: Literal["yes", "no"] | None = _setting(
        "Rising and falling values",
        "whether values of energy and the like that rise and fall are amounts per interval; default: yes",
        kind="word", group="Numbers", hint="Of columns of energy and the like.", is_fixed=True,
        choices={"yes": "amounts, each of one interval", "no": "registers of meters"},
    )  # fmt: skip
    repeats: Literal["first"] | None = _setting(
        "Repeated times", "accept that times repeat with another value, and keep the first of them",
        kind="word", group="Numbers", hint="Of one series, with different values.",
        choices={"first": "keep the first value of each time"},
    )  # fmt: skip
    mapping: Mapping[str, Target | None] = dataclasses.field(
        default_factory=dict,
        metadata={
            "setting": Setting(
                "Columns and their metrics",
                "metric, unit and kind of a column; COLUMN= leaves it out; repeatable",
                name="map", kind="mapping", metavar=MAPPING_FORM, most=4096, group="Columns",
                hint="One a line: COLUMN=METRIC, COLUMN=METRIC:UNIT or COLUMN=METRIC:UNIT:KIND.",
            )
        },
    )  # fmt: skip

    @classmethod
    def read(cls, texts: Mapping[str, Sequence[str]]) -> Given:
        """Return the settings of texts by their names, no texts if one is not given.

        Raises `UnusableProfile` for a text that no setting of its kind has.
        """
        return cls(**{each.field: each.read(texts[each.name]) for each in SETTINGS if texts.get(each.name)})

    def texts(self) -> dict[str, list[str]]:
        """Return the given settings as texts by their names."""
        return setting_texts({each.field: getattr(self, each.field) for each in SETTINGS})


SETTINGS: tuple[Setting, ...] = tuple(
    dataclasses.replace(
        entry.metadata["setting"], field=entry.name, name=entry.metadata["setting"].name or entry.name
    )
    for entry in dataclasses.fields(Given)
)
"""All settings of how a file is read, in the order of `Given`."""

HANDLING: tuple[Setting, ...] = tuple(
    dataclasses.replace(each, field=each.field or each.name)
    for each in (
        Setting("Read by", "a built-in or a saved profile; default: the file is guessed", name="profile"),
        Setting(
            "Only if everything can be read", "store nothing if any row or cell cannot be read",
            name="strict", kind="flag", choices=_SWITCH,
        ),
        Setting(
            "If a reading is stored already",
            "if another value is stored: keep it, or replace it (undo restores it); default: keep",
            name="on_conflict", kind="word",
            choices={
                "keep": "Keep it, and list the file's if it differs",
                "replace": "Replace it by the file's; undoing the import restores it",
            },
        ),
        Setting(
            "Import again", "import the file even if it was imported before with the same settings",
            name="force", kind="flag", choices=_SWITCH,
        ),
        Setting(
            "Dry run", "store nothing, report only", name="dry_run", kind="flag", choices=_SWITCH
        ),
    )
)  # fmt: skip
"""The settings of what becomes of the readings."""

SETTING_OF = {setting.field: setting for setting in (*SETTINGS, *HANDLING)}
"""The settings by their field of `Given`."""


def setting_texts(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return fields of `Given` as texts by the names of their settings, without those that are not given."""
    unset = Given()
    return {
        SETTING_OF[name].name: SETTING_OF[name].words(value)
        for name, value in values.items()
        if value != getattr(unset, name)
    }


MOST_UNIT_CHARACTERS = 32


def mapping_from(words: Iterable[str]) -> dict[str, Target | None]:
    """Return the targets by column of words in `MAPPING_FORM`; `COLUMN=` leaves it out (None).

    The last `=` ends the column's name. If the word behind the last `:` is a kind, it is taken off with the
    colon; then the last `:` begins the unit: `a=b:c:` is the metric `b:c`, `a=b::counter` a register `b`.
    Raises `UnusableProfile` with the wrong word and the right form.
    """
    mapping: dict[str, Target | None] = {}
    for word in words:
        shown = word[:200]
        column, equals, target = word.rpartition("=")
        if not equals or not column.strip():
            raise _unusable(f" must be {MAPPING_FORM}, or COLUMN=", shown)
        if column in mapping:
            raise _unusable(": the column {1!r} is mapped twice", shown, column[:200])
        if not target.strip():
            mapping[column] = None
            continue
        rest, _, last = target.strip().rpartition(":")
        kind = cast("KindWord", last.strip()) if rest and last.strip() in KINDS else ""
        name, colon, unit = (rest if kind else target.strip()).rpartition(":")
        metric, unit = (name.strip(), unit.strip()) if colon else (unit.strip(), "")
        if problem := metric_name_problem(metric):
            raise _unusable(": {1}", shown, problem)
        if len(unit) > MOST_UNIT_CHARACTERS or not unit.isprintable():
            raise _unusable(": a unit has at most {1} printable characters", shown, MOST_UNIT_CHARACTERS)
        mapping[column] = Target(metric, unit, kind=kind)
    return mapping


def mapping_word(column: str, target: Target | None) -> str:
    """Return the word for `mapping_from`; it has no place for a factor and a device."""
    if target is None:
        return f"{column}="
    has_unit = target.unit or target.kind or ":" in target.metric
    unit = f":{target.unit}" if has_unit else ""
    return f"{column}={target.metric}{unit}" + (f":{target.kind}" if target.kind else "")


def _unusable(problem: str, *arguments: object) -> UnusableProfile:
    return UnusableProfile(Message("{mapping:{0!r}}" + problem, *arguments), setting="mapping")
