"""All rejected rows and cells of an import, stored beside the readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.files.table import Problem

_COPY = 'COPY import_problems (import_id, line, column_name, code, text, "row") FROM STDIN'
_DROP = "DELETE FROM import_problems WHERE import_id = %(import_id)s"
# A page begins with the last line of the page before, behind the problems already read of that line.
_PAGE = """
SELECT line, column_name, code, text, "row" FROM import_problems
WHERE import_id = %(import_id)s AND line >= %(line)s
ORDER BY line, column_name NULLS FIRST, code, text OFFSET %(passed)s LIMIT %(limit)s
"""
_PAGE_ROWS = 2000


def store_problems(conn: Connection, import_id: int, problems: Sequence[Problem]) -> None:
    """Store problems of an import, in the transaction of the readings of the same rows."""
    if not problems:
        return
    with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        for each in problems:
            column = None if each.column is None else _storable(each.column)
            copy.write_row(
                (import_id, each.line, column, each.code, _storable(each.text), _storable(each.row))
            )


def drop_problems(conn: Connection, import_id: int) -> None:
    """Drop all problems of an import, before it begins with its first line."""
    conn.execute(_DROP, {"import_id": import_id})


def read_problems(conn: Connection, import_id: int, *, limit: int | None = None) -> Iterator[Problem]:
    """Yield the problems of an import in the order of lines, at most `limit`. Raises `DatabaseUnavailable`.

    They are read page by page: neither memory nor a transaction holds all of them.
    """
    line, passed, left = 0, 0, limit
    while left is None or left > 0:
        size = _PAGE_ROWS if left is None else min(_PAGE_ROWS, left)
        asked = {"import_id": import_id, "line": line, "passed": passed, "limit": size}
        with translated_errors():
            page = [
                Problem(*row)
                for row in cast(
                    "list[tuple[int, str | None, str, str, str]]", conn.execute(_PAGE, asked).fetchall()
                )
            ]
        yield from page
        if len(page) < size:
            return
        left = None if left is None else left - size
        on_last_line = sum(each.line == page[-1].line for each in page)
        passed = on_last_line + (passed if page[-1].line == line else 0)
        line = page[-1].line


def _storable(text: str) -> str:
    """Return a text without U+0000 and lone surrogates: PostgreSQL's text cannot hold them."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
