"""How fast readings are stored: over every wire, by bare COPY, by InfluxDB, and by Django's bulk_create."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx

from benchmarks import nothing
from benchmarks.bodies import DEVICES, METRICS, Moments, Sweep, lines, packets, wide_lines
from benchmarks.influxd import Influxd
from benchmarks.load import Load, Plan, send_all
from benchmarks.ports import free_port
from benchmarks.stack import Stack
from benchmarks.table import Promise, Row
from benchmarks.turns import Measured, in_turns
from benchmarks.wires import Http, WebSockets, frame, post
from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series

CONNECTIONS = 64
MOMENTS = 1_000
SINGLES = 250
MANY = tuple(f"many_{number}" for number in range(256))
"""More devices, each with a connection of its own: what a second ingest process is for."""
COPY_ROWS = 10_000

_COPY = "COPY readings (time, value, series_id, import_id) FROM STDIN (FORMAT BINARY)"
_LINES_PATH = "/api/v2/write?org=bench&bucket=bench"
_Way = Callable[[], float | tuple[float, Load]]


class Writing:
    """The ways of writing that are measured, all with the same readings over the same connections."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.moments = Moments()
        if DEVICES[0] not in stack.device_tokens:
            stack.add_devices(DEVICES + MANY)
        keys = [(device, metric) for device in DEVICES for metric in METRICS]
        with connect(stack.writer_url) as conn:
            self.series = ensure_series(conn, keys)

    def sweep(self, *, single: bool) -> Sweep:
        """Return readings that nobody has stored yet."""
        if single:
            return Sweep(self.moments.take(SINGLES), 1, METRICS[:1])
        return Sweep(self.moments.take(MOMENTS), 100)

    def bare_copy(self) -> float:
        """COPY without a service; return readings a second."""
        batch = self.sweep(single=False).batch(self.series)
        parts = [batch.take(slice(first, first + COPY_ROWS)) for first in range(0, len(batch), COPY_ROWS)]
        with connect(self.stack.writer_url) as conn:
            begin = time.perf_counter()
            for part in parts:
                with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                    copy.write(part.copy_bytes(import_id=0))
            return len(batch) / (time.perf_counter() - begin)

    def json(self, *service: str, single: bool = False) -> tuple[float, Load]:
        """Send packets as JSON to a service; return readings a second."""
        return self._json(service, self.sweep(single=single))

    def many(self, *service: str) -> tuple[float, Load]:
        """Send packets of one reading from many devices at once; return readings a second."""
        return self._json(service, Sweep(self.moments.take(SINGLES), 1, METRICS[:1], MANY))

    def _json(self, service: tuple[str, ...], sweep: Sweep) -> tuple[float, Load]:
        tokens = self.stack.device_tokens
        messages = [
            post("/api/readings", body, token=tokens[device]) for device, body in sweep.bodies(packets)
        ]
        wire = Http(200, accepted(sweep))
        return _sent(Plan(self.stack.service(*service).port, wire, messages, len(sweep.devices)), sweep)

    def lines(self, *, single: bool = False, wide: bool = False) -> tuple[float, Load]:
        """Send line protocol; return readings a second."""
        sweep = self.sweep(single=single)
        tokens = self.stack.device_tokens
        bodies = sweep.bodies(wide_lines if wide else lines)
        messages = [post(_LINES_PATH, body, token=tokens[device]) for device, body in bodies]
        return _sent(Plan(self.stack.ingest.port, Http(204), messages, CONNECTIONS), sweep)

    def websocket(self, *, single: bool = False) -> tuple[float, Load]:
        """Send packets over WebSockets, one a device; return readings a second."""
        sweep = self.sweep(single=single)
        tokens = self.stack.device_tokens
        devices = [(f"/ws/device/{device}", tokens[device]) for device in DEVICES]
        # Dealt to the connections in turn, each message reaches the connection of its own device.
        messages = [frame(body) for _, body in sweep.bodies(packets)]
        wire = WebSockets(devices, accepted(sweep).rstrip())
        return _sent(Plan(self.stack.ingest.port, wire, messages, CONNECTIONS), sweep)

    def influx(self, influxd: Influxd, *, single: bool = False, wide: bool = False) -> tuple[float, Load]:
        """Send the same line protocol to InfluxDB; return readings a second."""
        sweep = self.sweep(single=single)
        messages = [post(influxd.write_path, body) for _, body in sweep.bodies(wide_lines if wide else lines)]
        return _sent(Plan(influxd.port, Http(204), messages, CONNECTIONS), sweep)

    def bulk_create(self) -> float:
        """Store 100 moments as a Django developer first would; return readings a second."""
        from django.db import connections

        from joulebook.web.readings.models import Reading

        batch = self.sweep(single=False).batch(self.series).take(slice(0, 50_000))
        columns = (batch.time.tolist(), batch.value.tolist(), batch.series_id.tolist())
        rows = [
            Reading(time=datetime.fromtimestamp(at / 1e6, UTC), value=value, series_id=series_id, import_id=0)
            for at, value, series_id in zip(*columns, strict=True)
        ]
        begin = time.perf_counter()
        Reading.objects.using("telemetry_writer").bulk_create(rows, batch_size=1000)
        rate = len(rows) / (time.perf_counter() - begin)
        connections["telemetry_writer"].close()
        return rate


def measure_writing(
    writing: Writing, influxd: Influxd | None, *, turns: int
) -> tuple[list[Row], list[Promise]]:
    """Measure every way of writing in turns; return the rows, and what was promised of them."""
    with _running_nothing() as port:
        ways = _ways(writing, influxd, port)
        for name in ("json 1000", "json 1", "workers 1", "many 1", "many workers 1"):
            ways[name]()  # connects, learns the tokens, and creates the chunk
        measured = in_turns(ways, turns)
    return _rows(measured, influxd), _promises(measured, influxd)


_ONE = ("ingest",)
_TWO = ("ingest", "--workers", "2")


def _ways(writing: Writing, influxd: Influxd | None, nothing_port: int) -> dict[str, _Way]:
    ways: dict[str, _Way] = {
        "copy": writing.bare_copy,
        "json 1000": lambda: writing.json(*_ONE),
        "workers 1000": lambda: writing.json(*_TWO),
        "socket 1000": writing.websocket,
        "lines 1000": writing.lines,
        "wide 1000": lambda: writing.lines(wide=True),
        "json 1": lambda: writing.json(*_ONE, single=True),
        "workers 1": lambda: writing.json(*_TWO, single=True),
        "many 1": lambda: writing.many(*_ONE),
        "many workers 1": lambda: writing.many(*_TWO),
        "socket 1": lambda: writing.websocket(single=True),
        "lines 1": lambda: writing.lines(single=True),
        "nothing 1": lambda: _nothing(nothing_port),
        "bulk": writing.bulk_create,
    }
    if influxd is not None:
        ways |= {
            "influx 1000": lambda: writing.influx(influxd),
            "influx wide": lambda: writing.influx(influxd, wide=True),
            "influx 1": lambda: writing.influx(influxd, single=True),
        }
    return ways


def _rows(measured: Measured, influxd: Influxd | None) -> list[Row]:
    absent = Row("InfluxDB", "not installed", "", "Debian's package `influxdb`")
    beside = f"InfluxDB {influxd.version}" if influxd else "InfluxDB"

    def thousand(what: str, way: str, remark: str) -> Row:
        return Row(
            what, f"{measured.rate(way):,.0f} readings/s", f"{measured.ratio(way, 'copy'):.2f}", remark
        )

    def single(what: str, way: str, remark: str) -> Row:
        late = f"p95 {measured.percentile(way, 95):.0f} ms"
        ratio = f"{measured.ratio(way, 'influx 1'):.2f}" if influxd else ""
        return Row(what, f"{measured.rate(way):,.0f} requests/s", ratio, f"{late}; {remark}".rstrip("; "))

    rows = [
        thousand("bare binary COPY", "copy", f"the reference; batches of {COPY_ROWS:,}, one connection"),
        thousand("JSON, 1,000 readings a request", "json 1000", "100 packets of 10 metrics"),
        thousand("the same, two ingest processes", "workers 1000", "`--workers 2`"),
        thousand("WebSocket, 1,000 readings a message", "socket 1000", "the same packets"),
        thousand("line protocol, 1,000 lines a request", "lines 1000", "one field a line"),
        thousand("line protocol, 100 lines of 10 fields", "wide 1000", ""),
    ]
    if influxd:
        rows += [
            thousand(f"{beside}, 1,000 lines a request", "influx 1000", "the same bodies as line protocol"),
            thousand(f"{beside}, 100 lines of 10 fields", "influx wide", "the same bodies"),
        ]
    rows += [
        thousand("Django bulk_create(1000)", "bulk", "the naive way"),
        single("JSON, 1 reading a request", "json 1", "ratio: of InfluxDB" if influxd else ""),
        single("the same, two ingest processes", "workers 1", "`--workers 2`"),
        single("JSON, 1 reading a request, 256 devices", "many 1", "one connection a device, as above"),
        single("the same, two ingest processes", "many workers 1", "`--workers 2`"),
        single("WebSocket, 1 reading a message", "socket 1", "one message in flight a device"),
        single("line protocol, 1 line a request", "lines 1", ""),
    ]
    rows.append(single(f"{beside}, 1 line a request", "influx 1", "the same bodies") if influxd else absent)
    rows.append(
        single("a service that stores nothing", "nothing 1", "the load generator's own limit is higher")
    )
    return rows


def _promises(measured: Measured, influxd: Influxd | None) -> list[Promise]:
    copy = measured.ratio("json 1000", "copy")
    rate = measured.rate("json 1")
    found = [
        Promise("1,000 readings a request, of bare COPY", f"{copy:.2f}", "at least 0.8", copy >= 0.8),
        Promise("1 reading a request", f"{rate:,.0f}/s", "at least 8,000/s", rate >= 8_000),
    ]
    for what, one, two in (
        ("1,000 a request", "json 1000", "workers 1000"),
        ("1 a request of 64 devices", "json 1", "workers 1"),
        ("1 a request of 256 devices", "many 1", "many workers 1"),
    ):
        more = measured.ratio(two, one)
        found.append(Promise(f"two ingest processes, {what}, of one", f"{more:.2f}", "over 1", more > 1))
    if influxd:
        ahead, lone = measured.ratio("json 1000", "influx 1000"), measured.ratio("json 1", "influx 1")
        found += [
            Promise("1,000 readings a request, of InfluxDB", f"{ahead:.2f}", "over 1", ahead > 1),
            Promise("1 reading a request, of InfluxDB", f"{lone:.2f}", "at least 0.4", lone >= 0.4),
        ]
    return found


def _sent(plan: Plan, sweep: Sweep) -> tuple[float, Load]:
    load = send_all(plan)
    return load.rate * sweep.readings_a_request, load


def accepted(sweep: Sweep) -> bytes:
    """Return the end of the answer that says that all of a request's readings are stored."""
    return b'"accepted":%d,"duplicate":0,"rejected":[],"ignored":[]}\n' % sweep.readings_a_request


def _nothing(port: int) -> tuple[float, Load]:
    body = b'{"timestamp":"2026-01-01T00:00:00.000Z","metric_0":500.25}'
    messages = [post("/api/readings", body, token="x" * 40)] * 30_000
    load = send_all(Plan(port, Http(200, nothing.ANSWER), messages, CONNECTIONS))
    return load.rate, load


@contextmanager
def _running_nothing() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.nothing", str(port)]
    process = subprocess.Popen(command, env=dict(os.environ))
    try:
        for _ in range(200):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)
