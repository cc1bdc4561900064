"""Tables on standard output, and tokens as a table: how each begins, and when it was last used."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from joulebook.web.tokens import Token

_WIDEST = 10_000


def print_tokens(tokens: Iterable[tuple[Token, str]]) -> None:
    """Print tokens, each with whose it is; instants in UTC to the minute."""
    table = Table("Token", "Of", "Made", "Last used", "State", box=None, pad_edge=False)
    for token, whose in tokens:
        used = minute(token.last_used_at) or "never"
        state = "in force" if token.revoked_at is None else f"revoked {minute(token.revoked_at)}"
        table.add_row(f"{token.prefix}_…", whose, minute(token.created_at), used, state)
    print_table(table)


def token_json(token: Token) -> dict[str, Any]:
    """Return what is known of a token as JSON; `prefix` is how it begins."""
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
    """Write an instant in UTC to the minute, or nothing for none."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%MZ}"
