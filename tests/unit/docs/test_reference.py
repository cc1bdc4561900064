"""The reference says what the code does: settings, commands, codes, parameters and resolutions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import joulebook.ingest
from joulebook.config import VARIABLES
from joulebook.embedded.provision import remedies
from joulebook.telemetry.files.settings import SETTINGS
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.telemetry.history.resolutions import LADDER
from joulebook.web.history.parameters import DEFAULT_MAX_POINTS, DEFAULT_RANGE, FEWEST_POINTS, MOST_POINTS

from ...docs_pages import REPOSITORY, blocks, rows
from .test_pages import commands, options

REFERENCE = REPOSITORY / "docs" / "reference"
CODES = re.compile(r"[a-z]+(_[a-z]+)*")


def test_the_table_of_settings_equals_the_configuration() -> None:
    documented = rows((REFERENCE / "settings.md").read_text(), "Settings")
    expected = [[v.name, v.default or "empty", v.meaning] for v in VARIABLES]
    assert documented == expected


def sections(page: str) -> dict[tuple[str, ...], str]:
    """Return the text below each heading of a command, by the command's words."""
    parts = re.split(r"^#+ (.+)$", page, flags=re.MULTILINE)
    found = {}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        if heading.startswith("`joulebook "):
            words = heading.strip("`").split()[1:]
            found[tuple(word for word in words if not word.isupper())] = text
    return found


def test_the_page_of_commands_has_every_command_and_no_other() -> None:
    assert set(sections((REFERENCE / "commands.md").read_text())) == set(commands())


@pytest.mark.parametrize("words", sorted(commands()), ids=" ".join)
def test_the_page_of_commands_has_every_option_and_no_other(words: tuple[str, ...]) -> None:
    text = sections((REFERENCE / "commands.md").read_text())[words]
    documented = set(re.findall(r"--[a-z][a-z-]*", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))))
    elsewhere = {setting.option for setting in SETTINGS} if words == ("import",) else set()
    assert documented | elsewhere == options(commands()[words])


@pytest.mark.parametrize("words", sorted(commands()), ids=" ".join)
def test_the_page_of_commands_states_the_defaults_of_numbers(words: tuple[str, ...]) -> None:
    text = sections((REFERENCE / "commands.md").read_text())[words]
    table = {
        cells[0].strip("` ").split("`")[0]: cells[1].strip()
        for cells in (line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `--"))
    }
    for parameter in commands()[words].params:
        if isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool):
            assert float(table[parameter.opts[0]]) == parameter.default, parameter.opts[0]


def source_codes() -> tuple[set[str], set[str]]:
    """Return the codes that ingest's source gives to rejected readings, and to requests as a whole."""
    rejected: set[str] = set()
    refused: set[str] = set()
    for file in Path(joulebook.ingest.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                function = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                given = [*node.args, *(word.value for word in node.keywords if word.arg == "code")]
                texts = {a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)}
                if function in {"reject", "Rejected", "BadTime", "_Refused"}:
                    rejected |= {text for text in texts if CODES.fullmatch(text)}
                if function == "Refusal":
                    refused |= {text for text in texts if CODES.fullmatch(text)}
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if (
                        isinstance(key, ast.Constant)
                        and key.value == "code"
                        and isinstance(value, ast.Constant)
                    ):
                        refused.add(str(value.value))
    return rejected, refused


def test_the_codes_of_answers_are_those_of_the_source() -> None:
    page = (REFERENCE / "ingest.md").read_text()
    rejected, refused = source_codes()
    assert len(rejected) > 5
    assert {row[0] for row in rows(page, "Codes in `rejected`")} == rejected
    assert {row[0] for row in rows(page, "Codes of a whole request")} == refused


def test_the_parameters_of_history_are_those_of_the_source() -> None:
    table = {row[0]: row for row in rows((REFERENCE / "history.md").read_text(), "Parameters")}
    assert re.findall(r"`(\w+)`", table["range"][2]) == [*RANGES, ALL]
    assert table["range"][1] == DEFAULT_RANGE
    assert table["max_points"][1] == str(DEFAULT_MAX_POINTS)
    assert f"{FEWEST_POINTS} to {MOST_POINTS}" in table["max_points"][2]


def test_the_ladder_of_resolutions_is_that_of_the_source() -> None:
    page = (REFERENCE / "history.md").read_text()
    assert ", ".join(resolution.name for resolution in LADDER) in page


def test_the_way_to_a_server_of_your_own_is_that_of_the_error_message() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "use-your-own-timescaledb.md").read_text()
    said = " ".join(remedies().split())
    for block in blocks(page.partition("### What the reader cannot do")[0]):
        if block.language in {"sql", "yaml"}:
            assert " ".join(block.text.split()) in said, block.text
