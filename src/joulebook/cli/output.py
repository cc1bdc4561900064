"""The output of commands: results and tables on standard output, all else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from joulebook.config import ConfigError
from joulebook.embedded import EmbeddedError
from joulebook.page_assets import AssetsMissing
from joulebook.telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from joulebook.web.tokens import Token
AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]
"""The option of every listing command; its keys are documented, and stay."""


def say(message: str) -> None:
    """Print a message for the user on standard error, unchanged."""
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


def result(text: str) -> None:
    """Print a result, alone on standard output."""
    sys.stdout.write(text + "\n")


def json_result(found: Any) -> None:
    """Print a result as JSON, alone on standard output; instants in UTC (RFC 3339)."""
    result(json.dumps(found, indent=2, ensure_ascii=False, default=_instant))


def _instant(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def fail(message: str, *, code: int = 1) -> NoReturn:
    """Print an error and end the command."""
    say(message)
    raise typer.Exit(code)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors with a remedy into a message and exit code 1, without a traceback."""
    try:
        yield
    except (AssetsMissing, ConfigError, EmbeddedError, TelemetryError) as exc:
        fail(str(exc))


_WIDEST = 10_000


def print_tokens(tokens: Iterable[tuple[Token, str]]) -> None:
    """Print tokens, each with its device, gateway or user; instants in UTC to the minute."""
    table = Table("Token", "Of", "Made", "Last used", "State", box=None, pad_edge=False)
    for token, whose in tokens:
        used = minute(token.last_used_at) or "never"
        state = "in force" if token.revoked_at is None else f"revoked {minute(token.revoked_at)}"
        table.add_row(f"{token.prefix}_…", whose, minute(token.created_at), used, state)
    print_table(table)


def token_json(token: Token) -> dict[str, Any]:
    """Return a token as JSON; `prefix` is its beginning."""
    return {
        "prefix": token.prefix,
        "created_at": token.created_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }


def print_table(table: Table) -> None:
    """Print a table; a pipe gets whole values, however long."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDEST
    console.print(table)


def minute(at: datetime | None) -> str:
    """Return an instant in UTC to the minute; an empty text for None."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%MZ}"
