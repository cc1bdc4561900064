"""Settles how the numbers of a file are written: marks, units beside them, and what stands for none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from joulebook.telemetry.files.guess.numbers import guess_marks
from joulebook.telemetry.files.guess.oddities import guess_affixes, guess_sentinels
from joulebook.telemetry.files.guess.questions import Account, Answer, Question
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES, Given


@dataclass(frozen=True)
class FoundNumbers:
    """How numbers are written; `affixes` are the units beside them, by the name of the column of cells."""

    format: NumberFormat
    decimal: str
    thousands: str
    na_values: tuple[str, ...]
    affixes: dict[str, str]


def guess_numbers(
    cells: pl.DataFrame, time_positions: Sequence[int], given: Given, account: Account, *, delimiter: str
) -> FoundNumbers:
    """Return how the numbers of a file are written; what is open goes to the account as a question."""
    times = {f"c{position}" for position in time_positions}
    columns = [column for column in cells.get_columns() if column.name not in times]
    decimal, thousands, reason = guess_marks(
        columns, decimal=given.decimal, thousands=given.thousands, delimiter=delimiter, account=account
    )
    account.note("decimal mark", decimal, reason, is_given=given.decimal is not None)
    account.note(
        "thousands mark", thousands or "none", "as the numbers stand", is_given=given.thousands is not None
    )
    na_values = DEFAULT_NA_VALUES if given.na_values is None else given.na_values
    plain = NumberFormat(decimal=decimal, thousands=thousands, na_values=na_values)
    affixes = guess_affixes(columns, plain)
    found = NumberFormat(
        decimal=decimal, thousands=thousands, na_values=na_values, affixes=sorted(set(affixes.values()))
    )
    if affixes:
        account.note("units beside numbers", " ".join(sorted(set(affixes.values()))), "most cells have them")
    if given.na_values is None:
        na_values = _with_sentinels(columns, found, na_values, account)
    account.note(
        "missing values",
        " ".join(("(empty)", *na_values)),
        "the usual ones",
        is_given=given.na_values is not None,
    )
    found = NumberFormat(
        decimal=decimal, thousands=thousands, na_values=na_values, affixes=sorted(set(affixes.values()))
    )
    return FoundNumbers(found, decimal, thousands, na_values, affixes)


def _with_sentinels(
    columns: Sequence[pl.Series], numbers: NumberFormat, na_values: tuple[str, ...], account: Account
) -> tuple[str, ...]:
    """Ask about numbers that look like marks for a missing value; return the NA values with them."""
    sentinels = guess_sentinels(columns, numbers)
    if not sentinels:
        return na_values
    extended = (*na_values, *sorted(sentinels))
    used = [mark for parsed in numbers.parse(columns) for mark in parsed.na if mark]
    marks = [*sorted(sentinels), *dict.fromkeys(used)]
    options = " ".join(f"--na {mark!r}" if mark in "?" else f"--na {mark}" for mark in marks)
    kept = " ".join(f"--na {mark!r}" for mark in dict.fromkeys(used)) or "--na '?'"
    shown = ", ".join(f"{text} ({count:,} cells)" for text, count in sorted(sentinels.items()))
    account.ask(
        Question(
            "na_values",
            f"the file holds {shown}, far from all other values: does it stand for a missing value?",
            f" say so with {options}, or keep it as a reading with {kept}",
            (
                Answer(f"missing: {', '.join(sorted(sentinels))}", {"na_values": extended}),
                Answer("a reading like any other", {"na_values": na_values}),
            ),
        )
    )
    return extended
