"""What tests of the worker's imports share: files, queued imports, and what was stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device
    from joulebook.web.imports.models import Import

COLUMNS = ("t", "P", "E")
START = datetime(2024, 3, 1)


def rows(count: int, *, first: int = 0, note: str = "") -> str:
    """Return a file of `count` rows, one each second, whose values are the row's number and half of it."""
    begin = START + timedelta(seconds=first)
    tail = f",{note}\n" if note else "\n"
    lines = [
        f"{begin + timedelta(seconds=row):%Y-%m-%d %H:%M:%S},{first + row},{(first + row) / 2}{tail}"
        for row in range(count)
    ]
    return ("t,P,E,note\n" if note else "t,P,E\n") + "".join(lines)


def queue_file(
    user: User, device: Device, content: str | bytes, *, name: str = "meter.csv", **order: Any
) -> Import:
    """Upload a file and queue it, as the pages do; `order` are further fields of the `ImportOrder`."""
    from joulebook.web.imports.uploads.files import upload_writer

    with upload_writer() as writing:
        writing.write(content.encode() if isinstance(content, str) else content)
        upload = writing.finish()
    return queue_upload(user, device, upload, name=name, **order)


def queue_upload(user: User, device: Device, upload: Any, *, name: str, **order: Any) -> Import:
    """Queue an upload that was received whole."""
    from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
    from joulebook.web.imports.operations import ImportOrder, create_draft, queue_import

    profile = order.pop("profile", None) or ImportProfile(
        time_columns=("t",),
        time_formats=("%Y-%m-%d %H:%M:%S",),
        values=(ValueColumn("P", "power", "W"), ValueColumn("E", "energy", "kWh")),
        tz="UTC",
    )
    columns = order.pop("columns", COLUMNS)
    import_ = create_draft(user, upload, name=name)
    queue_import(import_, ImportOrder(profile, columns, device, **order))
    return import_


def stored(url: str, device_id: str) -> dict[str, tuple[int, int, float]]:
    """Return by metric how many readings there are, how many different times, and their sum."""
    with psycopg.connect(url) as conn:
        found = conn.execute(
            "SELECT metric, count(*), count(DISTINCT time), sum(value) FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = %s GROUP BY metric",
            [device_id],
        ).fetchall()
    return {metric: (count, times, total) for metric, count, times, total in found}


def expected(count: int) -> dict[str, tuple[int, int, float]]:
    """Return what `stored` tells of a file of `rows(count)`."""
    total = count * (count - 1) / 2
    return {"power": (count, count, total), "energy": (count, count, total / 2)}


def wait_for(true: Callable[[], object], *, seconds: float, what: str, log: Path | None = None) -> None:
    """Return when something has come true."""
    deadline = time.monotonic() + seconds
    while not true():
        told = "" if log is None else log.read_text()[-3000:]
        assert time.monotonic() < deadline, f"{what}\n{told}"
        time.sleep(0.05)


def wait_for_state(import_: Import, *states: str, seconds: float = 90, log: Path | None = None) -> None:
    """Return when an import has come to one of these states."""

    def reached() -> bool:
        import_.refresh_from_db()
        return import_.state in states

    try:
        wait_for(reached, seconds=seconds, what=f"not {states}", log=log)
    except AssertionError as exc:
        raise AssertionError(f"import {import_.pk} is {import_.state}: {import_.problem}\n{exc}") from None


def lines_stored(url: str, import_: Import) -> int:
    """Return up to which line an import is stored, as it is kept beside the readings."""
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT coalesce((checkpoint ->> 'line')::bigint - 1, 0) FROM import_progress WHERE import_id = %s",
            [import_.pk],
        ).fetchone()
    return 0 if row is None else int(row[0])


@contextmanager
def held_up(url: str, import_: Import) -> Iterator[None]:
    """Hold an import up once its first block is stored: it commits the next one when the block has ended.

    `url` is an address with the right to lock what the worker writes.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        wait_for(lambda: lines_stored(url, import_), seconds=60, what="it does not begin")
        with conn.transaction():
            conn.execute("SELECT 1 FROM import_progress WHERE import_id = %s FOR UPDATE", [import_.pk])
            yield
