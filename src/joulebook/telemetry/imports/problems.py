"""All rejected rows and cells of an import, stored beside the readings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.files.table import Problem

_COPY = 'COPY import_problems (import_id, line, column_name, code, text, "row", file_name) FROM STDIN'
_DROP = "DELETE FROM import_problems WHERE import_id = %(import_id)s"
# A page begins with the last line of the page before, behind the problems already read of that line.
_PAGE = """
SELECT line, column_name, code, text, "row", file_name FROM import_problems
WHERE import_id = %(import_id)s AND (file_name, line) >= (%(file)s, %(line)s)
ORDER BY file_name, line, column_name NULLS FIRST, code, text OFFSET %(passed)s LIMIT %(limit)s
"""
_PAGE_ROWS = 2000


def store_problems(conn: Connection, import_id: int, problems: Sequence[Problem]) -> None:
    """Store problems of an import, in the transaction of the readings of the same rows."""
    if not problems:
        return
    with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        for each in problems:
            column = None if each.column is None else _storable(each.column)
            texts = (_storable(each.text), _storable(each.row), _storable(each.file))
            copy.write_row((import_id, each.line, column, each.code, *texts))


def drop_problems(conn: Connection, import_id: int) -> None:
    """Drop all problems of an import, before it begins with its first line."""
    conn.execute(_DROP, {"import_id": import_id})


def read_problems(conn: Connection, import_id: int, *, limit: int | None = None) -> Iterator[Problem]:
    """Yield the problems of an import in the order of files and lines, at most `limit`.

    They are read page by page: neither memory nor a transaction holds all of them. Raises
    `DatabaseUnavailable`.
    """
    file, line, passed, left = "", 0, 0, limit
    while left is None or left > 0:
        size = _PAGE_ROWS if left is None else min(_PAGE_ROWS, left)
        asked = {"import_id": import_id, "file": file, "line": line, "passed": passed, "limit": size}
        with translated_errors():
            page = [
                Problem(*row)
                for row in cast(
                    "list[tuple[int, str | None, str, str, str, str]]", conn.execute(_PAGE, asked).fetchall()
                )
            ]
        yield from page
        if len(page) < size:
            return
        left = None if left is None else left - size
        last = (page[-1].file, page[-1].line)
        on_last_line = sum((each.file, each.line) == last for each in page)
        passed = on_last_line + (passed if last == (file, line) else 0)
        file, line = last


def _storable(text: str) -> str:
    """Return a text without U+0000 and lone surrogates: PostgreSQL's text cannot hold them."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
