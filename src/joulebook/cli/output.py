"""What a command says and how it fails: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from joulebook.config import ConfigError
from joulebook.embedded import EmbeddedError
from joulebook.page_assets import AssetsMissing
from joulebook.telemetry.errors import TelemetryError

AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]
"""The option of every command that lists or shows; its keys are documented, and stay."""


def say(message: str) -> None:
    """Tell the person something, on standard error, as it is."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def result(text: str) -> None:
    """Print what was asked for, alone on standard output."""
    sys.stdout.write(text + "\n")


def json_result(found: Any) -> None:
    """Print what was asked for as JSON, alone on standard output; instants in UTC (RFC 3339)."""
    result(json.dumps(found, indent=2, ensure_ascii=False, default=_instant))


def _instant(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


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
