"""The names of a file's columns, distinct and without control characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.files.profile import MOST_COLUMNS
from joulebook.telemetry.files.table import BLANKS

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+|\s{2,}")


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Return distinct names: as in the header, `column_3` for none, `Power_2` for a second `Power`.

    Raises `UnusableProfile` for more columns than any file has.
    """
    if len(header) > MOST_COLUMNS:
        raise UnusableProfile(
            f"the header has {len(header)} columns, at most {MOST_COLUMNS} are read; is the delimiter right?"
        )
    names: dict[str, None] = {}
    taken = {_cleaned(cell) for cell in header}
    copies: dict[str, int] = {}
    for position, cell in enumerate(header, start=1):
        wanted = _cleaned(cell) or f"column_{position}"
        # Counted on from the last copy: otherwise equal names take the square of their number.
        name, copy = wanted, copies.get(wanted, 1)
        while name in names or (copy > 1 and name in taken):
            copy += 1
            name = f"{wanted}_{copy}"
        copies[wanted] = copy
        names[name] = None
    return tuple(names)


def find_column(asked: str, columns: Sequence[str], *, setting: str) -> str:
    """Return the column named in `setting`, a field of `Given`; upper and lower case may differ.

    Raises `UnusableProfile` with a list of all columns.
    """
    name = _cleaned(asked)
    if name in columns:
        return name
    alike = [column for column in columns if column.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    listed = ", ".join(repr(column) for column in columns[:30]) + (", …" if len(columns) > 30 else "")
    raise UnusableProfile(
        Message(f"{{{setting}:{{0!r}}}}: the file has no such column; it has {{1}}", asked, listed),
        setting=setting,
    )


def _cleaned(cell: str) -> str:
    return _CONTROL.sub(" ", cell).strip(BLANKS)
