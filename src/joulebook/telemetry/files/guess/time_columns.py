"""Finds the columns that hold the time, and with them the rows that are data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from joulebook.telemetry.files.errors import UnclearFile
from joulebook.telemetry.files.guess.sample import SampleRow
from joulebook.telemetry.files.guess.times import Kind, time_shape
from joulebook.telemetry.files.times import TimeFormat, parse_times

_MOSTLY = 0.8


def guess_time_positions(rows: Sequence[SampleRow], formats: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the time column, or of the date's and the time of day's, counted from 0.

    `formats` are those that a person has given, if any. Raises `UnclearFile` where no column fits.
    """
    kinds: dict[int, Counter[Kind]] = {}
    for row in rows:
        for position, cell in enumerate(row.cells):
            if (shape := time_shape(cell)) is not None:
                kinds.setdefault(position, Counter())[shape.kind] += 1
    guess = _by_shape(rows, kinds)
    if formats:
        return _by_formats(rows, formats, guess)
    if not guess:
        raise UnclearFile(
            "no column of the file looks like a date; name the time's column with --time-column "
            "and how it is written with --time-format"
        )
    return guess


def data_flags(rows: Sequence[SampleRow], positions: Sequence[int], formats: Sequence[str]) -> list[bool]:
    """Return for each row whether a time stands in the time columns."""
    texts = [time_text(row.cells, positions) for row in rows]
    if formats:
        parsed = parse_times(pl.Series(texts, dtype=pl.String), tuple(TimeFormat(text) for text in formats))
        return [bool(fits) for fits in parsed.fits]
    return [
        time_shape(row.cells[positions[0]]) is not None if positions[0] < len(row.cells) else False
        for row in rows
    ]


def time_text(cells: Sequence[str], positions: Sequence[int]) -> str:
    """Return the time cells of a row, joined by one blank."""
    return " ".join(cells[position] if position < len(cells) else "" for position in positions).strip()


def _by_shape(rows: Sequence[SampleRow], kinds: dict[int, Counter[Kind]]) -> tuple[int, ...]:
    dated = {position: count[Kind.INSTANT] + count[Kind.DATE] for position, count in kinds.items()}
    if not any(dated.values()):
        return ()
    date = max(sorted(dated), key=lambda position: dated[position])
    if kinds[date][Kind.INSTANT] >= kinds[date][Kind.DATE]:
        return (date,)
    rows_with_date = [row for row in rows if date < len(row.cells) and time_shape(row.cells[date])]
    clocks = [
        position
        for position in sorted(kinds)
        if _clocks(rows_with_date, position) >= _MOSTLY * kinds[date][Kind.DATE]
    ]
    clock = next((position for position in clocks if position > date), clocks[0] if clocks else None)
    if clock is None:
        return (date,)
    return (date, clock, clock + 1) if clock + 1 in _halves_of_day(rows) else (date, clock)


def _clocks(rows: Sequence[SampleRow], position: int) -> int:
    """Return in how many rows a column holds a time of day."""
    shapes = (time_shape(row.cells[position]) for row in rows if position < len(row.cells))
    return sum(shape is not None and shape.kind is Kind.CLOCK for shape in shapes)


def _halves_of_day(rows: Sequence[SampleRow]) -> set[int]:
    """Return the columns that say AM or PM and nothing else, where blanks have parted them from the time."""
    counts = Counter(
        position for row in rows for position, cell in enumerate(row.cells) if cell.upper() in {"AM", "PM"}
    )
    return {position for position, count in counts.items() if count >= _MOSTLY * len(rows)}


def _by_formats(rows: Sequence[SampleRow], formats: Sequence[str], guess: tuple[int, ...]) -> tuple[int, ...]:
    width = max((len(row.cells) for row in rows), default=0)
    candidates = ([guess] if guess else []) + [(position,) for position in range(width)]
    fitting = {positions: sum(data_flags(rows, positions, formats)) for positions in candidates}
    best = max(candidates, key=lambda positions: fitting[positions], default=())
    if not best or not fitting[best]:
        listed = " or ".join(repr(text) for text in formats)
        raise UnclearFile(
            f"no column of the file holds times in the format {listed}; name it with --time-column"
        )
    return best
