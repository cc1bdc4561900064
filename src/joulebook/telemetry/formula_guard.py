"""Guards names in CSV files against being read as formulas by a spreadsheet, and removes the guard."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_GUARD = "'"


def guarded(name: str) -> str:
    """Return the name, with an apostrophe before it if a spreadsheet would compute or strip its beginning."""
    return _GUARD + name if name.startswith((*_FORMULA, _GUARD)) else name


def unguarded(name: str) -> str:
    """Return the name before `guarded`."""
    if name.startswith(_GUARD) and name[1:].startswith((*_FORMULA, _GUARD)):
        return name[1:]
    return name
