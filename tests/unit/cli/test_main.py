"""The list of commands holds what each command says of itself, and help needs no other."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from joulebook.cli.main import COMMANDS, app

HELP = """
import sys
from typer.testing import CliRunner
from joulebook.cli.main import app
printed = CliRunner().invoke(app, ["--help"]).output
assert "Take readings from devices until stopped." in printed, printed
print(*sorted(name for name in sys.modules if name.startswith("joulebook.cli.")))
"""


@pytest.mark.parametrize("word", COMMANDS)
def test_the_list_has_the_first_line_of_each_commands_help(word: str) -> None:
    command = typer.main.get_command(app).commands[word]  # type: ignore[attr-defined]
    assert COMMANDS[word][1] == (command.help or "").split("\n\n")[0].replace("\n", " ")


def test_help_loads_no_command() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["joulebook.cli.main"]
