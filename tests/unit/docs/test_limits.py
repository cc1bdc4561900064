"""The limits and deadlines that the operations' page promises are those of the source."""

from __future__ import annotations

from pathlib import Path

from joulebook.serving import guard, http
from joulebook.serving.guard import Deadlines
from joulebook.web import server
from joulebook.web.history.export import api as export_api
from joulebook.web.imports import rejected as api_rejected
from joulebook.web.imports.uploads import reading

from ...docs_pages import unwrapped

DOCS = Path(__file__).parents[3] / "docs"
SECTION = unwrapped(
    (DOCS / "operations.md").read_text().split("## Limits and deadlines")[1].split("\n## ")[0]
)


def test_deadlines_and_shares_of_connections() -> None:
    deadlines = Deadlines()
    assert f"| {deadlines.head} seconds, {http._MOST_OVERHEAD // 1024} KB |" in SECTION
    assert f"| {deadlines.body} seconds for every {deadlines.body_bytes:,} bytes |" in SECTION
    assert f"| a connection without a request | {deadlines.idle} seconds |" in SECTION
    assert f"| an answer not read by the client | {deadlines.answer} seconds |" in SECTION
    assert guard._WAITING_SHARE == 4
    assert "| a quarter of these |" in SECTION


def test_threads_and_shares_of_the_web() -> None:
    pages, files = server._PAGE_SHARES, server._FILE_SHARES
    assert f"| pages and calls | {server.PAGE_THREADS} | {pages[0]} | {pages[1]} |" in SECTION
    assert f"dry runs | {server.FILE_THREADS} | {files[0]} | {files[1]} |" in SECTION
    assert f"exports and lists | {server.STREAM_THREADS} | | |" in SECTION
    _, (person, address) = server._ANSWERS
    assert f"Of one person {person} requests are answered at a time, and of one address {address}." in SECTION
    most, (person, address) = server._LARGE_BODIES
    assert f"uploads {person} for a person, {address} for an address and {most} in all" in SECTION
    assert f"exports {export_api.EXPORTS_OF_ONE_PERSON} and {export_api.EXPORTS_AT_ONCE};" in SECTION
    assert (
        f"lists of rejected rows {api_rejected.LISTS_OF_ONE_PERSON} and {api_rejected.LISTS_AT_ONCE};"
        in SECTION
    )
    assert f"dry runs 1 and {reading.READ_AT_ONCE}." in SECTION
