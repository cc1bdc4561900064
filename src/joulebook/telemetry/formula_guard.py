"""Keeps names from being taken for formulas by the spreadsheet that opens a CSV file, and takes it back."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_GUARD = "'"


def guarded(name: str) -> str:
    """Return the name with an apostrophe before it where a spreadsheet would compute it, or take it off."""
    return _GUARD + name if name.startswith((*_FORMULA, _GUARD)) else name


def unguarded(name: str) -> str:
    """Return the name that `guarded` was given."""
    if name.startswith(_GUARD) and name[1:].startswith((*_FORMULA, _GUARD)):
        return name[1:]
    return name
