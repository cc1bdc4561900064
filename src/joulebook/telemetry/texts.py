"""The texts of series: a reading of text is stored as a code, and a table has the text of each code.

A code belongs to one series, and keeps its text for ever. A list of texts, such as a device's error flags, is
one text as well: the JSON array of its distinct elements in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from joulebook.telemetry.connection import Connection, translated_errors

MOST_TEXT_BYTES = 1_000
"""Largest text of one reading, in bytes of UTF-8."""

_READ = "SELECT series_id, code, text FROM series_texts WHERE series_id = ANY(%(series)s::int[])"
_CREATE = """
INSERT INTO series_texts (series_id, code, text)
SELECT series_id, code, text
FROM (
    SELECT wanted.series_id, wanted.text,
        coalesce((SELECT max(code) FROM series_texts AS had WHERE had.series_id = wanted.series_id), 0)
            + row_number() OVER (PARTITION BY wanted.series_id ORDER BY wanted.position) AS code
    FROM unnest(%(series)s::int[], %(texts)s::text[]) WITH ORDINALITY AS wanted (series_id, text, position)
) AS numbered
WHERE code <= %(most)s
ORDER BY series_id, code
ON CONFLICT DO NOTHING
"""


def read_texts(conn: Connection, series_ids: Iterable[int]) -> dict[int, dict[int, str]]:
    """Return the texts of series by id, then by code; series without texts are left out."""
    wanted = list(series_ids)
    found: dict[int, dict[int, str]] = {}
    if wanted:
        with translated_errors():
            rows = conn.execute(_READ, {"series": wanted}).fetchall()
        for series_id, code, text in cast("list[tuple[int, int, str]]", rows):
            found.setdefault(series_id, {})[code] = text
    return found


def ensure_texts(
    conn: Connection, wanted: Mapping[int, Iterable[str]], *, most: int
) -> dict[int, dict[str, int]]:
    """Return the codes of all texts of these series, after creating the wanted ones that are missing.

    A series has `most` texts at the most: further ones are not created and not returned. Creating commits on
    its own, and other processes may create texts meanwhile.
    """
    while True:
        found = {
            series_id: {text: code for code, text in texts.items()}
            for series_id, texts in read_texts(conn, wanted).items()
        }
        missing = [
            (series_id, text)
            for series_id, texts in wanted.items()
            for text in dict.fromkeys(texts)
            if text not in (known := found.get(series_id, {})) and max(known.values(), default=0) < most
        ]
        if not missing:
            return found
        columns = {
            "series": [series_id for series_id, _ in missing],
            "texts": [text for _, text in missing],
            "most": most,
        }
        # Another process may have given a code of these away: then the next turn reads its text. Each turn
        # gives at least one code away, so there are few.
        with translated_errors():
            conn.execute(_CREATE, columns)


def flags_text(flags: Iterable[str]) -> str:
    """Return the one text of a list of texts: its elements without doubles, in order, as a JSON array."""
    return json.dumps(sorted(set(flags)), ensure_ascii=False, separators=(",", ":"))


def flags_of(text: str) -> list[str]:
    """Return the elements of a `flags_text`."""
    return cast("list[str]", json.loads(text))


class TextProblem(NamedTuple):
    """Why a text cannot be stored: it is longer than allowed, or it holds something that no text may hold."""

    message: str
    is_too_long: bool = False


def text_problem(text: str) -> TextProblem | None:
    """Return the problem with a text that cannot be stored, or None: PostgreSQL has no U+0000."""
    if "\x00" in text:
        return TextProblem("it holds U+0000")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return TextProblem("it holds a lone surrogate")
    if size > MOST_TEXT_BYTES:
        message = f"it has {size} bytes, at most {MOST_TEXT_BYTES} are stored"
        return TextProblem(message, is_too_long=True)
    return None
