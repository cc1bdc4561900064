"""What rollups must hold, told from the raw readings one at a time, with no help from SQL or NumPy."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from statistics import median

import psycopg

from joulebook.telemetry.readings import to_microseconds

SECOND = 1_000_000
TABLES = {"readings_1m": 60 * SECOND, "readings_5m": 300 * SECOND, "readings_1h": 3600 * SECOND}
COLUMNS = (
    "count", "sum", "min", "max", "first", "last", "first_at", "last_at", "increase", "first_peak", "last_peak",
    "resets", "rises", "integral", "longest_gap", "integral_in", "known", "known_integral", "known_in", "first_usual",
    "last_usual", "pending",
)  # fmt: skip
ROUNDED = {"sum", "increase", "rises", "integral", "integral_in", "known_integral", "known_in"}
SLOTS = 10

Row = dict[str, float]


def summary_of(readings: list[tuple[int, float]]) -> Row:
    """Return what (time, value) pairs in their order come to."""
    values = [value for _, value in readings]
    runs = [[values[0]]]
    for before, value in pairwise(values):
        if before > 0 and value < before and before - value >= 0.1 * before:
            runs.append([])
        runs[-1].append(value)
    rises = [max(run) for run in runs]
    return {
        "count": len(values),
        "sum": math.fsum(values),
        "min": min(values),
        "max": max(values),
        "first": values[0],
        "last": values[-1],
        "first_at": readings[0][0],
        "last_at": readings[-1][0],
        "increase": rises[0] - values[0] + math.fsum(max(rise, 0) for rise in rises[1:]),
        "first_peak": rises[0],
        "last_peak": rises[-1],
        "resets": len(runs) - 1,
        "rises": math.fsum(max(after - before, 0) for before, after in pairwise(values)),
        "integral": math.fsum(
            value * (later - at) / SECOND for (at, value), (later, _) in pairwise(readings)
        ),
        "longest_gap": max((later - at for (at, _), (later, _) in pairwise(readings)), default=0),
        **known_of(readings),
    }


def known_gaps(times: list[int], *, limit: int | None = None) -> list[bool]:
    """Return for each pair of neighbours whether the time between them is known; `limit` is the owner's."""
    distances = [later - at for at, later in pairwise(times)]
    found = []
    for place, distance in enumerate(distances):
        sides = [distances[max(place - 5, 0) : place], distances[place + 1 : place + 6]]
        medians = [median(side) for side in sides if side]
        by_rule = not medians or distance <= 3 * max(medians)
        found.append(by_rule if limit is None else distance <= limit)
    return found


def known_of(readings: list[tuple[int, float]]) -> Row:
    """Return what a row says of the time between its readings: what is known wherever it lies, and what is pending."""
    distances = [later - at for (at, _), (later, _) in pairwise(readings)]
    held = [value * distance / SECOND for (_, value), distance in zip(readings, distances, strict=False)]
    usual = (
        (median(distances[:5]), median(distances[-5:]))
        if len(distances) > SLOTS
        else 2 * (min(distances, default=0),)
    )
    decided = []
    for place, distance in enumerate(distances):
        sides = [distances[max(place - 5, 0) : place], distances[place + 1 : place + 6]]
        decided.append(
            len(distances) > SLOTS and any(len(side) == 5 and distance <= 3 * median(side) for side in sides)
        )
    number = len(distances)
    slots = range(number) if number <= SLOTS else (*range(5), *range(number - 5, number))
    return {
        "integral_in": math.fsum(each for each in held if each > 0),
        "known": sum(each for each, is_known in zip(distances, decided, strict=True) if is_known),
        "known_integral": math.fsum(each for each, is_known in zip(held, decided, strict=True) if is_known),
        "known_in": math.fsum(
            each for each, is_known in zip(held, decided, strict=True) if is_known and each > 0
        ),
        "first_usual": usual[0],
        "last_usual": usual[1],
        "pending": sum(1 << slot for slot, place in enumerate(slots) if not decided[place]),
    }


def expected_rows(conn: psycopg.Connection, width: int, until: int) -> dict[tuple[int, int], Row]:
    """Return the summary of each series and bucket of `width` that ends by `until`."""
    groups: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    rows = conn.execute(
        "SELECT series_id, time, value FROM readings WHERE value <> 'NaN' ORDER BY series_id, time"
    )
    for series_id, time, value in rows:
        instant = to_microseconds(time)
        if instant // width * width + width <= until:
            groups[series_id, instant // width * width].append((instant, value))
    return {key: summary_of(readings) for key, readings in groups.items()}


def stored_rows(conn: psycopg.Connection, table: str) -> dict[tuple[int, int], Row]:
    """Return the stored summaries by series and bucket."""
    rows = conn.execute(f"SELECT series_id, bucket, {', '.join(COLUMNS)} FROM {table}").fetchall()
    return {
        (row[0], to_microseconds(row[1])): {
            name: to_microseconds(value) if name in {"first_at", "last_at"} else value
            for name, value in zip(COLUMNS, row[2:], strict=True)
        }
        for row in rows
    }


def is_same(stored: Row, expected: Row) -> bool:
    """Tell whether a summary is right: to the last bit, sums within float rounding."""
    scale = stored["count"] * max(abs(expected["min"]), abs(expected["max"]), 1.0)
    return all(
        math.isclose(stored[name], expected[name], rel_tol=1e-12, abs_tol=1e-12 * scale)
        if name in ROUNDED
        else stored[name] == expected[name]
        for name in COLUMNS
    )


def differing_buckets(conn: psycopg.Connection) -> list[object]:
    """Return (table, series, bucket, stored, expected) of every bucket that is wrong, missing or too many."""
    row = conn.execute("SELECT closed_until FROM rollup_state").fetchone()
    assert row
    until = to_microseconds(row[0])
    wrong: list[object] = []
    for table, width in TABLES.items():
        expected, stored = expected_rows(conn, width, until), stored_rows(conn, table)
        wrong += [
            (table, *key, stored.get(key), expected.get(key))
            for key in sorted(expected.keys() | stored.keys())
            if key not in expected or key not in stored or not is_same(stored[key], expected[key])
        ]
    return wrong
