"""How fast a logger's file is imported, against a bare binary COPY, and against a loop over its lines."""

from __future__ import annotations

import csv
import gzip
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np

from benchmarks.stack import Stack
from benchmarks.table import Promise, Row
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import HEAD_BYTES
from joulebook.telemetry.files.preview import preview
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.series import ensure_series

SHARED = Path(__file__).parents[2] / "shared" / "data" / "big" / "dtu_solar_station_2015-2017_1min.csv.gz"
ROWS = 200_000
COLUMNS = 12
BATCH = 50_000
SMALL_BYTES, LARGE_BYTES = 1 << 20, 100 << 20
LOOKS = 5
NOW = 1_900_000_000_000_000
LOOP_LINES = 8_000
"""Lines of the file that the loop reads; it would take a quarter of an hour for all of them."""

_COPY = "COPY readings (time, value, series_id, import_id) FROM STDIN (FORMAT BINARY)"


def measure_import(stack: Stack) -> tuple[list[Row], list[Promise]]:
    """Import a wide file by command, then COPY what it stored, into another device, bare."""
    path = SHARED if SHARED.is_file() else _made_up(stack.home)
    stack.add_devices(["file_device"])
    command = [
        sys.executable,
        "-m",
        "joulebook",
        "import",
        str(path),
        "--device",
        "file_device",
        "--tz",
        "UTC",
        "--json",
    ]
    before = _line_by_line(stack, path, "loop_before")
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    imported = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(done.stderr)
    stored = json.loads(done.stdout)["cells"]["stored"]
    bare = _bare_copy(stack, stored)
    # What a machine can do changes with what else it does: the loop's is the mean of before and after.
    loop = (before + _line_by_line(stack, path, "loop_after")) / 2
    rate = stored / imported
    rows = [
        Row(
            "bare binary COPY of a file's readings",
            f"{bare:,.0f} readings/s",
            "1.00",
            "the reference, batches of 50,000",
        ),
        Row(
            f"import of {path.name}",
            f"{rate:,.0f} readings/s",
            f"{rate / bare:.2f}",
            f"{stored:,} readings in {imported:.1f} s, start of the command included",
        ),
        Row(
            "the same, line by line with bulk_create(1000)",
            f"{loop:,.0f} readings/s",
            f"{loop / bare:.2f}",
            "csv and strptime",
        ),
    ]
    looked = _look(stack.home, path)
    ratio = looked[LARGE_BYTES] / looked[SMALL_BYTES]
    rows += [
        Row(
            "preview of its first MB as a file", f"{1000 * looked[SMALL_BYTES]:,.0f} ms", "1.00", "plain text"
        ),
        Row(
            "preview of its first 100 MB as a file",
            f"{1000 * looked[LARGE_BYTES]:,.0f} ms",
            f"{ratio:.2f}",
            "",
        ),
    ]
    return rows, [
        Promise("preview of 100 MB, of that of 1 MB", f"{ratio:.2f}", "at most 1.3", ratio <= 1.3),
        Promise("import of a file, of bare COPY", f"{rate / bare:.2f}", "at least 0.85", rate >= 0.85 * bare),
        Promise(
            "import of a file, of a loop over its lines",
            f"{rate / loop:.1f}",
            "at least 15",
            rate >= 15 * loop,
        ),
    ]


def _look(home: Path, packed: Path) -> dict[int, float]:
    """Return by size the seconds until a person sees the first rows of a file, the best of some turns."""
    files = {size: home / f"{size}.csv" for size in (SMALL_BYTES, LARGE_BYTES)}
    with gzip.open(packed, "rb") as file:
        lines = file.read(LARGE_BYTES)
    while len(lines) < LARGE_BYTES:
        lines += lines[lines.index(b"\n") + 1 :]
    for size, path in files.items():
        path.write_bytes(lines[:size])
    seconds = dict.fromkeys(files, math.inf)
    for _ in range(LOOKS):
        for size, path in files.items():
            begin = time.perf_counter()
            source = FileSource(path)
            layout = choose_layout(source, Given(), profile=None, device_tz="UTC")
            head = source.head(HEAD_BYTES)
            is_whole = len(head) < HEAD_BYTES
            preview(head, layout.profile, layout.columns, is_whole=is_whole, now=NOW)
            seconds[size] = min(seconds[size], time.perf_counter() - begin)
    return seconds


def _bare_copy(stack: Stack, stored: int) -> float:
    """COPY the stored readings again under other series; return readings a second.

    Batches follow each other in time and are sorted by series, which is the index's order.
    """
    with connect(stack.writer_url) as conn:
        rows = conn.execute(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint, value, metric FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = 'file_device' ORDER BY time"
        )
        time_column = np.empty(stored, np.int64)
        value = np.empty(stored, np.float64)
        metric: list[str] = []
        for place, (instant, number, name) in enumerate(rows):
            time_column[place], value[place] = cast("int", instant), cast("float", number)
            metric.append(str(name))
        series = ensure_series(conn, [("bare_device", name) for name in dict.fromkeys(metric)])
        ids = {name: number for (_, name), number in series.items()}
        batch = Batch(np.array([ids[name] for name in metric], np.int32), time_column, value)
        parts = [batch.take(slice(first, first + BATCH)) for first in range(0, stored, BATCH)]
        parts = [part.take(np.lexsort((part.time, part.series_id))) for part in parts]
        begin = time.perf_counter()
        # As an import, it waits for the disk in the end only.
        conn.execute("SET synchronous_commit = off")
        for part in parts:
            if part is parts[-1]:
                conn.execute("SET synchronous_commit = on")
            with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(part.copy_bytes(import_id=0))
        return stored / (time.perf_counter() - begin)


def _line_by_line(stack: Stack, path: Path, device_id: str) -> float:
    """Store the first lines as a Django developer first would; return readings a second."""
    from joulebook.web.readings.models import Reading

    with gzip.open(path, "rt", newline="") as file:
        names = next(csv.reader(file))
        with connect(stack.writer_url) as conn:
            series = ensure_series(conn, [(device_id, name) for name in names[1:]])
        ids = [series[device_id, name] for name in names[1:]]

        def readings() -> Iterator[Reading]:
            for number, (time_text, *cells) in enumerate(csv.reader(file)):
                if number == LOOP_LINES:
                    return
                instant = datetime.strptime(time_text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                for series_id, cell in zip(ids, cells, strict=True):
                    if cell:
                        yield Reading(time=instant, value=float(cell), series_id=series_id, import_id=0)

        begin = time.perf_counter()
        stored = Reading.objects.using("telemetry_writer").bulk_create(readings(), batch_size=1000)
        return len(stored) / (time.perf_counter() - begin)


def _made_up(home: Path) -> Path:
    """Write a wide file of the solar station's shape, for machines that do not have it."""
    path = home / "made_up.csv.gz"
    value = np.random.default_rng(4).normal(300, 100, (ROWS, COLUMNS)).round(3)
    start = datetime(2015, 5, 1, tzinfo=UTC)
    with gzip.open(path, "wt", compresslevel=3) as file:
        file.write("Time(utc)," + ",".join(f"column_{number}" for number in range(COLUMNS)) + "\n")
        for number, row in enumerate(value.tolist()):
            instant = start + timedelta(minutes=number)
            file.write(f"{instant:%Y-%m-%d %H:%M:%S}," + ",".join(map(str, row)) + "\n")
    return path
