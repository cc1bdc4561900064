"""What rollups cost while devices write: does the worker keep up, and how much of the work is it?"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.bodies import DEVICES, METRICS, Sweep, packets
from benchmarks.load import Load, Plan, start_sending
from benchmarks.memory import family
from benchmarks.table import Promise, Row
from benchmarks.wires import Http, post
from benchmarks.writing import CONNECTIONS, Writing, accepted
from joulebook.telemetry.connection import Connection, connect

READINGS_A_SECOND = 100_000
SECONDS = 100
"""Long enough for a whole minute to pass, be closed and rolled up, whenever it begins."""

_PACKETS = 100
_LATEST_CLOSING = 60 + 15 + 10
"""A minute is closed when it is over, 15 s have passed, and the worker comes round."""
_LARGEST_SHARE = 0.1
_INGEST, _WORKER = "ingest and its side of the database", "the worker and its side"

_SUMMED_UP = (
    "SELECT coalesce(sum(count), 0)::float8 FROM readings_1m WHERE bucket >= date_trunc('minute', %s)"
)
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'joulebook-writer'"
_BEHIND = """
SELECT extract(epoch FROM clock_timestamp() - closed_until)::float8,
       coalesce((SELECT extract(epoch FROM closed_until - min(begins_at)) FROM rollup_dirty), 0)::float8
FROM rollup_state
"""


@dataclass(frozen=True)
class _Processor:
    """Processes whose processor time is counted together: a service and its side of the database."""

    processes: frozenset[int]

    def seconds(self) -> float:
        """Return the processor time that they have had."""
        return sum(_processor_seconds(process) for process in self.processes)


def measure_rolling(writing: Writing) -> tuple[list[Row], list[Promise]]:
    """Write 100,000 readings a second while the worker rolls them up.

    What rollups cost is told as processor time a reading, of storing and of rolling up: on a machine whose
    cores are busy, that is the share of the throughput that they take.
    """
    stack = writing.stack
    stack.roll_up()
    stack.stop_worker()
    writing.json("ingest", single=True)  # its connection to the database is there from now on
    with connect(stack.writer_url) as conn:
        # What was written a little before is rolled up in this time too: it counts as it costs.
        since = datetime.now(UTC) - timedelta(hours=1)
        plan, sent = writing_plan(writing)
        others = _backends(conn)
        worker = stack.start_worker()
        time.sleep(4)
        rolling = _Processor(frozenset(family(worker.pid)) | _backends(conn) - others)
        own = frozenset({conn.info.backend_pid})
        storing = _Processor(frozenset(family(stack.ingest.process.pid)) | others - own)
        stack.roll_up()
        before = _summed_up(conn, since)
        begun = storing.seconds(), rolling.seconds()
        finish = start_sending(plan)
        closing, waiting = _watch(conn)
        load = finish()
        stored = storing.seconds() - begun[0]
        stack.roll_up()  # half of a minute's work would be counted without what comes of it
        rolled = rolling.seconds() - begun[1]
        each = sent * load.messages, _summed_up(conn, since) - before
    return _rows(load, closing, waiting, 1e6 * stored / each[0], 1e6 * rolled / max(1, each[1]))


def _rows(
    load: Load, closing: float, waiting: float, stored: float, rolled: float
) -> tuple[list[Row], list[Promise]]:
    share, kept = rolled / (stored + rolled), load.rate * _PACKETS * len(METRICS) / READINGS_A_SECOND
    rows = [
        Row(
            f"writes at {READINGS_A_SECOND:,} readings/s",
            f"{load.percentile(95):,.1f} ms p95",
            f"{kept:.2f}",
            f"of the rate asked, for {SECONDS} s; p50 {load.percentile(50):.1f} ms",
        ),
        Row("processor time of storing", f"{stored:.2f} µs", f"{1 - share:.2f}", f"a reading; {_INGEST}"),
        Row("processor time of rolling up", f"{rolled:.2f} µs", f"{share:.2f}", f"a reading; {_WORKER}"),
        Row("closed until, behind the clock", f"{closing:.0f} s at most", "", "a minute, 15 s, and a turn"),
        Row("closed but not rolled up", f"{waiting:.0f} s at most", "", "the oldest mark's distance"),
    ]
    latest = f"at most {_LATEST_CLOSING} s"
    return rows, [
        Promise("writes beside the worker, of the rate asked", f"{kept:.2f}", "at least 0.95", kept >= 0.95),
        Promise("rolling up, of the work", f"{share:.2f}", "at most 0.1", share <= _LARGEST_SHARE),
        Promise("closing, behind the clock", f"{closing:.0f} s", latest, closing <= _LATEST_CLOSING),
    ]


def writing_plan(writing: Writing) -> tuple[Plan, int]:
    """Return a plan to write `READINGS_A_SECOND` for a while, and the readings of each of its messages."""
    rate = READINGS_A_SECOND / (_PACKETS * len(METRICS))
    blocks = round(rate * SECONDS / len(DEVICES))
    # As much time for the readings as passes meanwhile: what comes too late is another kind of work.
    step = round(SECONDS * 1_000_000 / (blocks * _PACKETS))
    sweep = Sweep(writing.moments.take(blocks * _PACKETS, step=step), _PACKETS)
    tokens = writing.stack.device_tokens
    messages = [post("/api/readings", body, token=tokens[device]) for device, body in sweep.bodies(packets)]
    plan = Plan(writing.stack.ingest.port, Http(200, accepted(sweep)), messages, CONNECTIONS, rate=rate)
    return plan, _PACKETS * len(METRICS)


def _watch(conn: Connection) -> tuple[float, float]:
    """Look every second; return by how many seconds closing and rolling up were behind at most."""
    end = time.monotonic() + SECONDS
    closing = waiting = 0.0
    while time.monotonic() < end:
        time.sleep(1)
        ((behind, marked),) = conn.execute(_BEHIND).fetchall()
        closing, waiting = max(closing, float(str(behind))), max(waiting, float(str(marked)))
    return closing, waiting


def _summed_up(conn: Connection, since: datetime) -> float:
    """Return how many readings of a minute at or after that of `since` are rolled up."""
    ((count,),) = conn.execute(_SUMMED_UP, (since,)).fetchall()
    return float(str(count))


def _backends(conn: Connection) -> frozenset[int]:
    return frozenset(int(str(process)) for (process,) in conn.execute(_BACKENDS))


def _processor_seconds(process: int) -> float:
    """Return a process's time in user and system mode, fields 14 and 15 of proc(5)'s stat."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
