"""Finds the unit of each column: beside its numbers, in a column or a row of units, or in its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from joulebook.telemetry.files.guess.sample import Sample, SampleRow, sample_rows
from joulebook.telemetry.files.numbers import decimal_shift
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.table import BLANKS
from joulebook.telemetry.kinds.units import is_known_unit, usual_spelling
from joulebook.telemetry.kinds.written_units import name_words, written_unit

_UNIT_NAMES = frozenset(
    ("unit", "units", "uom", "einheit", "einheiten", "unité", "unidad", "unità", "eenheid", "enhet", "enhed")
)
_CELL = re.compile(r"[\[(]?(?:in )?(?P<unit>[^\[\]()]*?)[\])]?")
_MOST_UNITS = 20
_MOST_LISTED = 5
# A row of these is no row of units: columns of a spreadsheet, phases.
_LETTERS_IN_ORDER = "ABCDEFGH"


@dataclass(frozen=True)
class FoundUnit:
    """The unit of a column's metric, the reason for it, and what the numbers are converted by."""

    unit: str = ""
    reason: str = ""
    cell_unit: str = ""
    unit_column: str = ""


def is_unit(text: str) -> bool:
    """Return whether a text is a unit or a currency sign."""
    return is_known_unit(text) or (len(text) == 1 and unicodedata.category(text) == "Sc")


def smallest_unit(units: Collection[str]) -> str | None:
    """Return the unit that powers of ten lead to from all the others, the smallest one; None for none."""
    for wanted in units:
        shifts = [decimal_shift(unit, wanted) for unit in units]
        if all(shift is not None and shift >= 0 for shift in shifts):
            return wanted
    return None


def unit_positions(sample: Sample, among: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """Return the columns of units among these positions, each with the units in the file's order."""
    found = {}
    for position in among:
        words = sample.cells[f"c{position}"].str.strip_chars(BLANKS).unique(maintain_order=True)
        units = words.filter(words != "").head(_MOST_UNITS + 1).to_list()
        if not 0 < len(units) <= _MOST_UNITS or not all(map(is_unit, units)):
            continue
        # S and W may be summer and winter.
        is_named = _UNIT_NAMES & {word.lower() for word in name_words(sample.columns[position])}
        if is_named or max(map(len, units)) > 1 or not units[0].isalpha():
            found[position] = tuple(units)
    return found


def find_units(
    sample: Sample, positions: Sequence[int], units: Mapping[int, Sequence[str]]
) -> dict[int, FoundUnit]:
    """Return the unit of each column with values at `positions`; `units` are the columns of units, if wide.

    A column of units belongs to the nearest column before it, or else behind it, whose name has none.
    """
    found = {position: _of_name(sample, position) for position in positions}
    for position, (unit, line) in _units_in_rows(sample).items():
        if position in found:
            found[position] = FoundUnit(usual_spelling(unit), f"in line {line}")
    for at, words in units.items():
        free = [position for position in positions if not found[position].unit]
        if not free:
            break
        position = min(free, key=lambda each: (each > at, abs(each - at)))
        unit = smallest_unit(words) or words[0]
        column = sample.columns[at]
        found[position] = FoundUnit(usual_spelling(unit), f"in the column {column!r}", unit, column)
    for position in positions:
        if unit := sample.affixes.get(f"c{position}", ""):
            found[position] = FoundUnit(unit, "beside the numbers", unit)
    return found


def note_units(sample: Sample, found: Iterable[tuple[ValueColumn, FoundUnit]]) -> None:
    """Add a setting for each reason that metrics have their units for, as their pages will show them."""
    units = ((value, unit.reason if value.unit == unit.unit else "given") for value, unit in found)
    note_by_reason(
        sample,
        "units",
        (
            (f"{value.metric}: {value.shown_unit}", reason if value.unit else "usual for the name")
            for value, reason in units
            if value.shown_unit
        ),
    )


def note_by_reason(sample: Sample, name: str, found: Iterable[tuple[str, str]]) -> None:
    """Add a setting for each reason of (text, reason), with the first texts."""
    by_reason: dict[str, list[str]] = {}
    for text, reason in found:
        by_reason.setdefault(reason, []).append(text)
    for reason, texts in by_reason.items():
        more = f", and {len(texts) - _MOST_LISTED} more" if len(texts) > _MOST_LISTED else ""
        sample.note(name, ", ".join(texts[:_MOST_LISTED]) + more, reason, is_given=reason == "given")


def _of_name(sample: Sample, position: int) -> FoundUnit:
    name = sample.columns[position]
    unit = written_unit(name)
    if unit == "" and (letter := re.search(r"\S{3,} ?\((\w)\)$", name)) and _has_bracketed_units(sample):
        # Other names of the file have units in brackets.
        unit = letter[1] if is_unit(letter[1]) else ""
    return FoundUnit(usual_spelling(unit), "in the name") if unit else FoundUnit()


def _has_bracketed_units(sample: Sample) -> bool:
    words = (re.search(r"\(([^()]{2,})\)$", name) for name in sample.columns)
    return any(word and is_unit(word[1]) for word in words)


def _units_in_rows(sample: Sample) -> dict[int, tuple[str, int]]:
    """Return the units by position from a row between header and data, or else above the header."""
    if sample.header_line is None:
        return {}
    rows = sample_rows(sample.lines[: sample.first_data_line - 1], sample.splitter)
    header = next((row for row in rows if row.line == sample.header_line), None)
    below = [row for row in rows if row.line > sample.header_line]
    above = [row for row in rows if row.line < sample.header_line][-1:]
    for row in (*below, *above):
        # Where blanks part date and time of day, the names are shifted, and so are the units.
        is_short = header is not None and len(row.cells) == len(header.cells)
        shift = max(0, sample.named_width - len(row.cells)) if is_short else 0
        units = _units_of_row(row, [position - shift for position in sample.time_positions])
        is_above = row.line < sample.header_line
        if units and not (is_above and 2 * len(units) < len(sample.columns) - len(sample.time_positions)):
            return {position + shift: (unit, row.line) for position, unit in units.items()}
    return {}


def _units_of_row(row: SampleRow, times: Sequence[int]) -> dict[int, str]:
    cells = {position: cell for position, cell in enumerate(row.cells) if cell and position not in times}
    units = {}
    for position, cell in cells.items():
        match = _CELL.fullmatch(cell)
        if match and is_unit(match["unit"].strip()):
            units[position] = match["unit"].strip()
    letters = "".join(sorted(set(cells.values())))
    if 2 * len(units) < len(cells) or (len(letters) > 1 and _LETTERS_IN_ORDER.startswith(letters)):
        return {}
    return units
