"""Each refusal and each question of a file names a remedy, and the remedy works by every door.

The cases below are literal: a file with what was given, and what the message says to give in its place.
"""

from __future__ import annotations

import ast
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import pytest
import typer.main
from django.http import QueryDict

import joulebook.telemetry.files
from joulebook.cli.imports.report import option_words
from joulebook.cli.main import app
from joulebook.telemetry.files.errors import FileError, Message
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.preview import count_head
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.settings import SETTING_OF, SETTINGS, Given, setting_texts
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.imports.api.parameters import parameter_words, read_import
from joulebook.web.imports.pages.entry import DraftEntry
from joulebook.web.imports.pages.words import on_page

from ...recorder_of_home_assistant import Recorder

NOW = 1_800_000_000 * MICROSECONDS
Texts = Mapping[str, Sequence[str]]


def by_option(texts: Texts) -> Given:
    """Return what the command makes of the texts as options."""
    words = ["file.csv", "--device", "x"]
    for name, given in texts.items():
        for text in given:
            words += ["--" + name.replace("_", "-"), text]
    command = typer.main.get_command(app).commands["import"]  # type: ignore[attr-defined]
    got = command.make_context("import", words).params
    found = {each.name: got[each.name] for each in SETTINGS if got[each.name] is not None}
    return Given.read(
        {name: list(v) if isinstance(v, list | tuple) else [str(v)] for name, v in found.items()}
    )


def by_parameter(texts: Texts) -> Given:
    """Return what the API makes of the texts as parameters."""
    return read_import(QueryDict(urlencode({"device": "x", **texts}, doseq=True))).given


def by_field(texts: Texts) -> Given:
    """Return what the page makes of the texts in its fields."""
    form = {}
    for setting in SETTINGS:
        given = list(texts.get(setting.name, ()))
        assert len(given) <= setting.inputs or setting.is_lines or len(given) < 2
        choices = setting.choices
        given = ["none" if text == "" and "none" in choices else text for text in given]
        assert not choices or set(given) <= set(choices), "the page has no such choice"
        form[f"s-{setting.field}"] = ["\n".join(given)] if setting.is_lines else given
    return DraftEntry.of_form(QueryDict(urlencode(form, doseq=True))).given()


DOORS = (by_option, by_parameter, by_field)


@dataclass(frozen=True)
class Refusal:
    """A file with settings that is refused, and the remedy: settings in their place, as texts by name."""

    name: str
    file: str | bytes
    remedy: Texts
    given: Texts = field(default_factory=dict)
    profile: ImportProfile | None = None


def day(*lines: str, header: str = "", hours: int = 24) -> str:
    """Return a day of rows made from templates with {h}."""
    return header + "".join(line.replace("{h}", f"{h:02d}") for h in range(hours) for line in lines)


def database(script: str) -> bytes:
    """Return a database of Home Assistant with one reading, changed by a script."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "home-assistant_v2.db")
        Recorder(path).state("sensor.power", (1_700_000_000, "5"), unit_of_measurement="W")
        with closing(sqlite3.connect(path)) as conn:
            conn.executescript(script)
        return path.read_bytes()


PLAIN = day("2024-01-13 {h}:00,{h}.5,{h}7\n", header="time,power,flow\n")
LONG = day(
    "2024-01-13 {h}:00,import,{h}\n", "2024-01-13 {h}:00,export,{h}5\n", header="time,register,value\n"
)
WIDE = ImportProfile(
    time_columns=("time",), time_formats=("%Y-%m-%d %H:%M",), values=(ValueColumn("power", "power"),)
)
OWN = "line,time,metric,unit,kind,value"
CONVERTED = ",".join(f'"{name}"' for name in OWN.split(",")) + "\n1,2024-01-13T00:00:00Z,power,W,gauge,5\n"


def recorder_file(script: str) -> bytes:
    """Return a database of Home Assistant with one state, after a script."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "home-assistant_v2.db"
        Recorder(path).state("sensor.power", (1_700_000_000.0, "1"), unit_of_measurement="W")
        with closing(sqlite3.connect(path)) as conn:
            conn.executescript(script)
        return path.read_bytes()


ODD = {
    "delimiter": "xy",
    "encoding": "morse",
    "header_line": "two",
    "layout": "round",
    "decimal": ";",
    "thousands": "x",
    "tz": "Mars",
    "time_marks": "middle",
    "doubled_hour": "third",
    "missing_hour": "wait",
    "amounts": "perhaps",
}
REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "the statistics of an old database",
        database("DROP TABLE statistics; CREATE TABLE statistics (id, statistic_id, start)"),
        {"sheet": ["states"]},
    ),
    Refusal("a database without statistics", database(""), {}, {"sheet": ["statistics"]}),
    Refusal("lines without a known delimiter", day("2024-01-13T{h}:00§{h}.5\n"), {"delimiter": ["/§/"]}),
    Refusal(
        "no column of dates",
        day("2024_M01_D13_H{h};{h}\n", header="when;power\n"),
        {"time_column": ["when"], "time_format": ["%Y_M%m_D%d_H%H"]},
    ),
    Refusal(
        "days of a year without their year",
        day("13,{h},{h}.5\n", header="doy,hour,power\n"),
        {"time_column": ["doy", "hour"], "time_format": ["%Y=2024 %j %H"]},
    ),
    Refusal(
        "no column in the given format",
        PLAIN,
        {"time_column": ["time"], "time_format": ["%Y-%m-%d %H:%M"]},
        {"time_format": ["%d/%m/%Y"]},
    ),
    Refusal(
        "a time that is not known",
        day("2024_M01_D13_H{h};{h}\n", header="time;power\n"),
        {"time_format": ["%Y_M%m_D%d_H%H"]},
        {"time_column": ["time"]},
    ),
    Refusal(
        "a clock without its date",
        day("13/01/2024;{h}:00;{h}\n", header="day;clock;power\n"),
        {"time_column": ["day", "clock"]},
        {"time_column": ["clock"]},
    ),
    Refusal(
        "days of a year without the year",
        day("60;{h};{h}.5\n", header="doy;hour;power\n"),
        {"time_column": ["doy", "hour"], "time_format": ["%Y=2024 %j %H"]},
    ),
    Refusal("no such column", PLAIN, {"time_column": ["time"]}, {"time_column": ["when"]}),
    Refusal("no such header", PLAIN, {"header_line": ["1"]}, {"header_line": ["900"]}),
    Refusal(
        "no numbers",
        day("2024-01-13 {h}:00,on {h}\n", header="time,state\n", hours=20) + "2024-01-13 23:00,7\n",
        {"map": ["state=state"]},
    ),
    Refusal(
        "no columns of hours",
        "day,power\n2024-01-13,1\n2024-01-14,2\n2024-01-15,3\n",
        {"layout": ["wide"]},
        {"layout": ["across"]},
    ),
    Refusal(
        "no length of intervals",
        "time,power\n2024-01-13 24:00,5\n",
        {"time_marks": ["start"]},
        {"time_marks": ["end"]},
    ),
    Refusal("a column of the time mapped", PLAIN, {"time_column": ["time"]}, {"map": ["time=clock"]}),
    Refusal("no such key", LONG, {"map": ["import=grid"]}, {"map": ["reactive=grid"]}),
    Refusal(
        "a document with two lists",
        json.dumps(
            {
                name: [{"time": f"2024-01-13T{h:02d}:00:00Z", "power": h} for h in range(20)]
                for name in ("house", "garage")
            }
        ),
        {"sheet": ["garage"]},
    ),
    Refusal("two columns of a metric", PLAIN, {"map": ["flow=water"]}, {"map": ["power=x", "flow=x"]}),
    Refusal("sheets of a table", PLAIN, {}, {"sheet": ["One"]}),
    Refusal("a text that is no encoding here", PLAIN, {"encoding": ["utf-8"]}, {"encoding": ["utf-16"]}),
    Refusal(
        "a thousands mark that is the decimal mark",
        PLAIN,
        {"thousands": ["."], "decimal": [","]},
        {"thousands": [","], "decimal": [","]},
    ),
    Refusal("a format of no date", PLAIN, {"time_format": ["%Y-%m-%d %H:%M"]}, {"time_format": ["%H:%M"]}),
    Refusal("a pattern of nothing", PLAIN, {"delimiter": [","]}, {"delimiter": ["/x*/"]}),
    Refusal("a readings file with settings", CONVERTED, {"map": ["power=p"]}, {"tz": ["UTC"]}),
    Refusal("a readings file without the metric", CONVERTED, {"map": ["power=p"]}, {"map": ["flow=p"]}),
    Refusal("a word that is no mapping", PLAIN, {"map": ["power=p"]}, {"map": ["power"]}),
    Refusal("a setting beside a profile", PLAIN, {}, {"delimiter": [","]}, WIDE),
    Refusal(
        "ends of intervals by a profile", PLAIN, {"time_marks": ["start"]}, {"time_marks": ["end"]}, WIDE
    ),
    Refusal("a decimal mark of a profile", PLAIN, {"decimal": ["."]}, {}, replace(WIDE, decimal=";")),
    Refusal(
        "a comma that is decimal mark and delimiter",
        day("2024-01-13 {h}:00,{h},5\n", header="time,power\n"),
        {"header_line": ["0"]},
    ),
    Refusal("a mapping beside a profile", PLAIN, {"map": ["power=p"]}, {"map": ["flow=p"]}, WIDE),
    Refusal("a part of a database without numbers", recorder_file(""), {}, {"sheet": ["statistics"]}),
    Refusal(
        "statistics of an old database",
        recorder_file("DROP TABLE statistics; CREATE TABLE statistics (id, statistic_id, start)"),
        {"sheet": ["states"]},
    ),
    *(Refusal(f"an odd {name}", PLAIN, {}, {name: [text]}) for name, text in ODD.items()),
)
QUESTIONS: dict[str, str | dict[str, str]] = {
    "time_formats": day("03/04/2024 {h}:00,{h}.5\n", header="time,power\n", hours=10),
    "time_formats: hours of a day": day("14.03.2024;{h};5\n", header="Date;Hour;Power\n").replace(
        ";00;", ";24;"
    ),
    "time_formats: several files": {
        "a.csv": day("03/04/2024 {h}:00;{h}.5\n", header="time;power\n", hours=10),
        "b.csv": day("05.06.2024 {h}:00;{h}.5\n", header="time;power\n", hours=10),
        "c.csv": day("07-08-2024 {h}:00;{h}.5\n", header="time;power\n", hours=10),
    },
    "decimal": day("2024-01-13 {h}:00;1,234\n", header="time;power\n"),
    "na_values": day("2024-01-13 {h}:00,{h}.5\n", header="time,power\n") + "2024-01-14 00:00,-9999\n" * 3,
    "key_columns": "time,phase,value\n"
    + "".join(
        f"2024-01-13 {h:02d}:{minute},{word},{h}.5\n"
        for word, minute in (("x", "00"), ("y", "07"), ("z", "13"))
        for h in range(12)
    ),
    "tz": PLAIN,
    "tz: a name of a zone": day("2024-07-13 {h}:00,{h}.5\n", header="time (CET),power\n"),
    "time_marks": day("2024-01-13 {h}:00,{h}.5\n", header="time,power\n") + "2024-01-13 24:00,3\n",
    "mapping": day("2024-01-13 {h}:00,{h}.5,on{h}\n", header="time,power,state\n"),
    "amounts": "time;Import [kWh]\n"
    + "".join(
        f"2024-01-13 {at // 4:02d}:{at % 4 * 15:02d};{value}\n"
        for at, value in enumerate(6 * [0.0, 0.0, 0.1, 0.4, 0.2, 0.5, 0.0, 0.3])
    ),
    "mapping: cells beyond the names": day("2024-01-13 {h}:00;{h}.5;{h}7.5\n", header="time;power\n"),
    "mapping: a value without a name": day("2024-01-13 {h}:00,{h}.5\n", header="time,value\n"),
    "time_columns": day("2024-01-13 {h}:00;{h}.5;2023-02-03 {h}:00;{h}\n", header="time;power;time;flow\n"),
    "key_columns: records": day("A;2024-01-13 {h}:00;{h}.5\n", "B;2024-01-13 {h}:00;{h}.5;7\n"),
    "key_columns: a word that tells repeats apart": day(
        "2024-01-13 {h}:00;a;{h}.5\n", header="time;how;power\n"
    ).replace("2024-01-13 06", "2024-01-13 05:00;b;7\n2024-01-13 06"),
    "repeats": "time,power\n" + "".join(f"2024-01-13 05:00,{at}.5\n" for at in range(20)),
    "repeats: times that begin anew": "time,power,note\n"
    + "".join(
        f"2024-01-13 {at // 60:02d}:{at % 60:02d}:{second},{at}.5,{'x' * 4000}\n"
        for second in ("00", "30")
        for at in range(1200)
    ),
    "header_line": day("2024-01-13 {h}:00,{h}.5\n", header="time,power\n")
    + "\n"
    + day("2024-01-13 {h}:00,{h}.5\n", header="time,flow\n"),
}
"""A file that leaves a setting open, by the setting and perhaps the reason."""


@pytest.fixture
def read(tmp_path: Path):
    def read_with(
        file: str | bytes | Mapping[str, str], given: Given, profile: ImportProfile | None = None
    ) -> FileLayout:
        path = tmp_path / "kitchen.csv"
        if isinstance(file, Mapping):
            path = tmp_path / "kitchens"
            path.mkdir(exist_ok=True)
            for name, text in file.items():
                (path / name).write_text(text)
        else:
            path.write_bytes(file.encode() if isinstance(file, str) else file)
        source = FileSource(path)
        layout = choose_layout(source, given, profile=profile, device_tz="Europe/Berlin")
        if not layout.members:
            report = count_head(source.head(1 << 20), layout.profile, layout.columns, is_whole=True, now=NOW)
            assert report.readable
        assert not any(member.problem for member in layout.members)
        return layout

    return read_with


def refused(case: Refusal, read) -> FileError:
    with pytest.raises(FileError) as caught:
        read(case.file, Given.read(case.given), case.profile)
    return caught.value


def named(message: FileError | Question) -> dict[str, list[str]]:
    """Return the values that a message names for settings, by the name of the setting."""
    found: dict[str, list[str]] = {}

    def name(field: str, value: str) -> str:
        found.setdefault(SETTING_OF[field].name, []).append(value)
        return value

    message.said(name)
    return found


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_a_refusal_names_settings_that_make_the_file_readable(case: Refusal, read) -> None:
    refusal = refused(case, read)
    assert set(case.remedy) <= set(named(refusal)), refusal
    for words in (refusal.said(option_words), refusal.said(parameter_words), on_page(refusal)):
        assert "{" not in words
    wanted = Given.read(case.remedy)
    for door in DOORS:
        assert door(case.remedy) == wanted
    read(case.file, wanted, case.profile)


@pytest.mark.parametrize("asked", QUESTIONS)
def test_each_answer_to_a_question_can_be_given_by_every_door_and_settles_it(asked: str, read) -> None:
    file, setting = QUESTIONS[asked], asked.partition(":")[0]
    layout = read(file, Given())
    question = next(each for each in layout.questions if each.setting == setting)
    assert set(named(question)) <= {each.name for each in SETTINGS}
    for answer in question.answers:
        texts = setting_texts(answer.given)
        for door in DOORS:
            assert door(texts) == answer.applied_to(Given())
        after = read(file, answer.applied_to(Given()))
        assert question.about not in {each.about for each in after.questions}


@contextmanager
def watched_messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, int]]]:
    """Yield the places in the source that have made messages, as file and line."""
    made: set[tuple[str, int]] = set()
    original = Message.__init__

    def init(self: Message, template: str, *arguments: object) -> None:
        caller = sys._getframe(1)
        made.add((caller.f_code.co_filename, caller.f_lineno))
        original(self, template, *arguments)

    monkeypatch.setattr(Message, "__init__", init)
    yield made


def message_places() -> Iterator[tuple[str, range]]:
    """Yield each place in the source that makes a message: its file, and its lines."""
    (folder,) = joulebook.telemetry.files.__path__
    for path in Path(folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message":
                yield str(path), range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_a_key_with_a_character_that_cannot_be_shown_is_a_metric_without_it(read) -> None:
    layout = read(LONG.replace("import", "im\x07port"), Given())
    assert [value.metric for value in layout.profile.values] == ["im port", "export"]


def test_no_message_that_names_a_setting_is_left_out(read, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched_messages(monkeypatch) as made:
        for case in REFUSALS:
            refused(case, read)
        for file in QUESTIONS.values():
            read(file, Given())
    left = [
        f"{Path(path).name}:{lines.start}"
        for path, lines in message_places()
        if not any(file == path and line in lines for file, line in made)
    ]
    assert left == [], " ".join(left)
