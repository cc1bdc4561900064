"""Devices write at half of what is possible while dashboards read: does either wait for the other?"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from benchmarks.archive import DEVICE, END
from benchmarks.bodies import DEVICES, METRICS, Sweep, packets
from benchmarks.load import Load, Plan, send_all, start_sending
from benchmarks.reading import VIEWS
from benchmarks.stack import Stack
from benchmarks.table import Promise, Row
from benchmarks.wires import AnyBody, Http, get, post
from benchmarks.writing import CONNECTIONS, Writing, accepted

SECONDS = 8
SESSIONS = 8
PAGES_A_SECOND = 2
"""Each opening of a device's page asks for every view once."""

_KEEPS_UP = 0.95


@dataclass(frozen=True)
class _Kind:
    """One kind of writing: how many moments of how many metrics a request carries."""

    what: str
    per_request: int
    metrics: tuple[str, ...]
    largest: float

    @property
    def rate(self) -> float:
        """Requests a second: half of what is possible."""
        return self.largest / 2


def measure_mixed(writing: Writing, *, singles: float, thousands: float) -> tuple[list[Row], list[Promise]]:
    """Measure reads alone, and each kind of writing alone and beside the reads.

    `singles` and `thousands` are the most requests of 1 and of 1,000 readings a second that were measured.
    The archive must be stored.
    """
    read_alone = send_all(_reads(writing.stack, SECONDS))
    rows = [_read_row("dashboards alone", read_alone, read_alone)]
    promises = []
    for kind in (
        _Kind("1 reading a request", 1, METRICS[:1], singles),
        _Kind("1,000 readings a request", 100, METRICS, thousands),
    ):
        write_alone = send_all(_writes(writing, kind))
        plan = _writes(writing, kind)
        writes = start_sending(plan)
        read_beside = send_all(_reads(writing.stack, SECONDS))
        write_beside = writes()
        rows += [
            _write_row(f"writes alone, {kind.what}", kind, write_alone, write_alone),
            _write_row("the same beside dashboards", kind, write_beside, write_alone),
            _read_row("dashboards beside these writes", read_beside, read_alone),
        ]
        promises += [
            _kept(f"writes of {kind.what} beside dashboards", write_beside.rate / kind.rate),
            _kept("dashboards beside them", read_beside.rate / (PAGES_A_SECOND * len(VIEWS))),
        ]
    return rows, promises


def _reads(stack: Stack, seconds: int) -> Plan:
    """Plan the views of the device's page, each with an end of its own, so that no answer is one kept."""
    messages = []
    for number, (_, length) in zip(
        range(seconds * PAGES_A_SECOND * len(VIEWS)), itertools.cycle(VIEWS.items()), strict=False
    ):
        end = END - timedelta(seconds=number)
        query = urlencode({"start": (end - length).isoformat(), "end": end.isoformat()})
        messages.append(get(f"/api/history/{DEVICE}?{query}", token=stack.user_token))
    return Plan(stack.web.port, AnyBody(), messages, SESSIONS, rate=PAGES_A_SECOND * len(VIEWS))


def _writes(writing: Writing, kind: _Kind) -> Plan:
    blocks = round(kind.rate * SECONDS / len(DEVICES))
    sweep = Sweep(writing.moments.take(blocks * kind.per_request), kind.per_request, kind.metrics)
    tokens = writing.stack.device_tokens
    messages = [post("/api/readings", body, token=tokens[device]) for device, body in sweep.bodies(packets)]
    wire = Http(200, accepted(sweep))
    return Plan(writing.stack.ingest.port, wire, messages, CONNECTIONS, rate=kind.rate)


def _write_row(what: str, kind: _Kind, load: Load, alone: Load) -> Row:
    asked = (
        f"p50 {load.percentile(50):.1f} ms; {load.rate:,.0f} of {kind.rate:,.0f} requests/s, half the most"
    )
    late = load.percentile(95)
    return Row(what, f"{late:,.1f} ms p95", f"{late / alone.percentile(95):.1f}", asked)


def _read_row(what: str, load: Load, alone: Load) -> Row:
    late, pages = load.percentile(95), f"{PAGES_A_SECOND} pages of {len(VIEWS)} views a second"
    asked = f"p50 {load.percentile(50):.1f} ms; {SESSIONS} sessions, {pages}"
    return Row(what, f"{late:,.1f} ms p95", f"{late / alone.percentile(95):.1f}", asked)


def _kept(what: str, share: float) -> Promise:
    return Promise(f"{what}, of the rate asked", f"{share:.2f}", f"at least {_KEEPS_UP}", share >= _KEEPS_UP)
