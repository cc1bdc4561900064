"""The form of Joulebook's own CSV files: the header's line, and names protected from spreadsheets.

The names of text columns are always quoted in the header, other names only where CSV requires quotes.
Other programs ignore the difference; an import recognizes an exported file by it and guesses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

_NEEDS_QUOTES = frozenset('",\r\n')
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_GUARD = "'"


def header(names: Sequence[str], text_columns: Sequence[bool]) -> str:
    """Return the header's line without its end; `text_columns` are the columns with quotes in any case."""
    return ",".join(
        '"' + name.replace('"', '""') + '"' if is_text or _NEEDS_QUOTES & set(name) else name
        for name, is_text in zip(names, text_columns, strict=True)
    )


def guarded(name: str) -> str:
    """Return the name, with an apostrophe before it where a spreadsheet would compute or drop its start."""
    return _GUARD + name if name.startswith((*_FORMULA, _GUARD)) else name


def unguarded(name: str) -> str:
    """Return the name passed to `guarded`."""
    if name.startswith(_GUARD) and name[1:].startswith((*_FORMULA, _GUARD)):
        return name[1:]
    return name
