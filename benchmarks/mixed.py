"""Devices write at half of what is possible while people look: does either wait for the other?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bodies import METRICS, Sweep, packets
from benchmarks.load import Load, Plan, send_all, start_sending
from benchmarks.pages import PEOPLE, RESTLESS, open_streams, plan_pages, plan_restless
from benchmarks.table import Promise, Row
from benchmarks.wires import Http, post
from benchmarks.writing import CONNECTIONS, Writing, accepted

SECONDS = 10
FLEET = tuple(f"fleet_{number}" for number in range(2_560))
"""So many devices that none has more to say than a device has: at most two or three readings a second."""

_KEEPS_UP = 0.95
_SOON_ENOUGH = 500.0
"""Milliseconds that a page, or an acknowledgement, may take at the 95th percentile."""


@dataclass(frozen=True)
class _Kind:
    """One kind of writing: how many moments of how many metrics a request carries."""

    what: str
    per_request: int
    metrics: tuple[str, ...]
    blocks: int
    """How many requests of each device show what is possible."""


_KINDS = (
    _Kind("1 reading a request", 1, METRICS[:1], 20),
    _Kind("1,000 readings a request", 100, METRICS, 1),
)


def measure_mixed(writing: Writing) -> tuple[list[Row], list[Promise]]:
    """Measure writes alone, beside open pages, and beside sessions that never pause; and these alone.

    The archive must be stored.
    """
    _prepare_fleet(writing)
    pages, restless = _pages_alone(writing)
    rows = [
        _pages_row("pages alone", pages, pages),
        _restless_row("sessions that never pause, alone", restless, restless),
    ]
    promises = []
    for kind in _KINDS:
        # Just before, as the same devices: what a machine can do changes with what else it does.
        rate = send_all(_writes(writing, kind)).rate / 2
        alone = send_all(_writes(writing, kind, rate=rate))
        with open_streams(writing.stack, FLEET):
            beside_pages, seen = _both(writing, kind, rate, lambda: plan_pages(writing.stack, FLEET, SECONDS))
        beside_restless, taken = _both(writing, kind, rate, lambda: plan_restless(writing.stack, SECONDS))
        rows += [
            _write_row(f"writes alone, {kind.what}", rate, alone, alone),
            _write_row("the same beside pages", rate, beside_pages, alone),
            _pages_row("pages beside these writes", seen, pages),
            _write_row("the same beside sessions that never pause", rate, beside_restless, alone),
            _restless_row("sessions beside these writes", taken, restless),
        ]
        promises += [
            _kept(f"writes of {kind.what} beside pages", beside_pages.rate / rate),
            _soon(f"writes of {kind.what} beside pages", beside_pages),
            _soon("pages beside them", seen),
            _kept("the same writes beside sessions that never pause", beside_restless.rate / rate),
        ]
    return rows, promises


def _prepare_fleet(writing: Writing) -> None:
    """Let each device of the fleet have a token, and a reading of each metric."""
    stack = writing.stack
    if FLEET[0] not in stack.device_tokens:
        stack.add_devices(FLEET)
    send_all(_plan(writing, Sweep(writing.moments.take(1), 1, METRICS, FLEET)))


def _pages_alone(writing: Writing) -> tuple[Load, Load]:
    stack = writing.stack
    send_all(plan_restless(stack, 1))  # connects, and loads what Django loads at first
    with open_streams(stack, FLEET):
        pages = send_all(plan_pages(stack, FLEET, SECONDS))
    return pages, send_all(plan_restless(stack, SECONDS))


def _both(writing: Writing, kind: _Kind, rate: float, reads: Callable[[], Plan]) -> tuple[Load, Load]:
    """Return what became of the writes and of the reads beside them."""
    plan = _writes(writing, kind, rate=rate)
    writes = start_sending(plan)
    seen = send_all(reads())
    return writes(), seen


def _writes(writing: Writing, kind: _Kind, *, rate: float | None = None) -> Plan:
    """Plan `SECONDS` of writes at this many requests a second; without `rate`, as many as are possible."""
    blocks = math.ceil(rate * SECONDS / len(FLEET)) if rate else kind.blocks
    # As much time for the readings as passes meanwhile, so that pages find as many as there would be.
    step = SECONDS * 1_000_000 // (blocks * kind.per_request)
    moments = writing.moments.take(blocks * kind.per_request, step=step)
    return _plan(writing, Sweep(moments, kind.per_request, kind.metrics, FLEET), rate=rate)


def _plan(writing: Writing, sweep: Sweep, *, rate: float | None = None) -> Plan:
    tokens = writing.stack.device_tokens
    messages = [post("/api/readings", body, token=tokens[device]) for device, body in sweep.bodies(packets)]
    # No longer than people look, who are beside them.
    messages = messages[: round(rate * SECONDS)] if rate else messages
    return Plan(writing.stack.ingest.port, Http(200, accepted(sweep)), messages, CONNECTIONS, rate=rate)


def _write_row(what: str, rate: float, load: Load, alone: Load) -> Row:
    asked = f"p50 {load.percentile(50):.1f} ms; {load.rate:,.0f} of {rate:,.0f} requests/s, half the most"
    late = load.percentile(95)
    return Row(what, f"{late:,.1f} ms p95", f"{late / alone.percentile(95):.1f}", asked)


def _pages_row(what: str, load: Load, alone: Load) -> Row:
    late = load.percentile(95)
    asked = f"p50 {load.percentile(50):.1f} ms; {PEOPLE} open pages, {load.rate:,.1f} requests/s of theirs"
    return Row(what, f"{late:,.1f} ms p95", f"{late / alone.percentile(95):.1f}", asked)


def _restless_row(what: str, load: Load, alone: Load) -> Row:
    late = load.percentile(95)
    asked = f"p50 {load.percentile(50):.1f} ms; {RESTLESS} sessions, {load.rate:,.1f} views/s"
    return Row(what, f"{late:,.1f} ms p95", f"{late / alone.percentile(95):.1f}", asked)


def _kept(what: str, share: float) -> Promise:
    return Promise(f"{what}, of the rate asked", f"{share:.2f}", f"at least {_KEEPS_UP}", share >= _KEEPS_UP)


def _soon(what: str, load: Load) -> Promise:
    late = load.percentile(95)
    return Promise(f"{what}, p95", f"{late:,.0f} ms", f"at most {_SOON_ENOUGH:.0f} ms", late <= _SOON_ENOUGH)
