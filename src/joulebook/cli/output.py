"""What a command says and how it fails: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console

from joulebook.config import ConfigError
from joulebook.embedded import EmbeddedError
from joulebook.page_assets import AssetsMissing
from joulebook.telemetry.errors import TelemetryError


def say(message: str) -> None:
    """Tell the person something, on standard error, as it is."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def result(text: str) -> None:
    """Print what was asked for, alone on standard output."""
    sys.stdout.write(text + "\n")


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Say what is wrong and end the command."""
    say(message)
    raise typer.Exit(code)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what a person can mend into a message and exit code 1, without a traceback."""
    try:
        yield
    except (AssetsMissing, ConfigError, EmbeddedError, TelemetryError) as exc:
        fail(str(exc))
