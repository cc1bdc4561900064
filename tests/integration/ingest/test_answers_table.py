"""The table of answers, row by row, over real HTTP: what each wire is told, and what is stored then.

Three wires: packets (`POST /api/readings`), line protocol as v1 clients send it (`/write`) and as v2
clients do (`/api/v2/write`). `ANSWERS` mirrors the table; what needs a service in distress stands below it.
"""

from __future__ import annotations

import gzip
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
import zstandard
from django.utils import timezone

from joulebook.web.devices.operations import create_device

from ...conftest import Service, free_port
from ...docs_pages import REPOSITORY, rows
from .conftest import T0, until_stopping, until_waiting

SECOND = int(T0.timestamp())
PATHS = {
    "packets": "/api/readings?precision=s",
    "v1": "/write?db=x&precision=s",
    "v2": "/api/v2/write?precision=s",
}
Stored = dict[tuple[str, float], float]


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat()


def packet(metric: str = "power", value: object = 1, *, second: int = 0, **more: object) -> dict[str, object]:
    return {"timestamp": SECOND + second, metric: value, **more}


def line(metric: str = "power", value: object = 1, *, second: int = 0) -> str:
    return f"{metric} value={value} {SECOND + second}\n"


@dataclass(frozen=True)
class Answer:
    """One request, what it is told, and what is stored afterwards: {(metric, seconds after T0): value}."""

    row: str
    wire: str
    body: Any
    status: int
    codes: tuple[str, ...] = ()
    says: str = ""
    stored: Stored = field(default_factory=dict)
    query: str = ""
    encoding: str = ""
    before: Any = None
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.row}: {self.wire} {self.status} {' '.join(self.codes[:1])}"


ONE: Stored = {("power", 0): 1}
GOOD = {("power", 0): 1, ("power", 9): 9}
TOO_LONG = b" " * 20_000


def packets_around(bad: object) -> list[object]:
    return [packet(), bad, packet(value=9, second=9)]


def lines_around(bad: str) -> str:
    return line() + bad + "\n" + line(value=9, second=9)


def bad_packet(row: str, bad: object, code: str, **more: Any) -> Answer:
    return Answer(row, "packets", packets_around(bad), 422, (code,), stored=GOOD, **more)


def bad_line(row: str, bad: str, code: str, **more: Any) -> list[Answer]:
    told = f"line 2: {code}: "
    return [
        Answer(row, wire, lines_around(bad), 400, (code,), says=told, stored=GOOD, **more)
        for wire in ("v1", "v2")
    ]


def both(row: str, body: Any, status: tuple[int, int] | int, **more: Any) -> list[Answer]:
    v1, v2 = status if isinstance(status, tuple) else (status, status)
    return [Answer(row, "v1", body, v1, **more), Answer(row, "v2", body, v2, **more)]


def ahead(minutes: float) -> int:
    return int((datetime.now(UTC) + timedelta(minutes=minutes)).timestamp())


ANSWERS = [
    *[
        answer
        for row in ["all stored"]
        for answer in [
            Answer(row, "packets", packet(), 200, stored=ONE),
            Answer(row, "packets", json.dumps(packet()) + "\n" + json.dumps(packet("v", second=1)), 200, stored={**ONE, ("v", 1): 1}),
            Answer(row, "packets", packet(error=None, list=[{}]), 200, stored=ONE),
            Answer(row, "packets", packet(), 200, stored=ONE, encoding="gzip"),
            Answer(row, "packets", packet(), 200, stored=ONE, encoding="zstd"),
            Answer(row, "packets", [], 200),
            *both(row, line(), 204, stored=ONE),
            *both(row, line(), 204, stored=ONE, encoding="gzip"),
            *both(row, line() + f'state value="on" {SECOND}', 204, stored=ONE),
            *both(row, "\n", 204),
            *both(row, "", 204),
        ]
    ],
    Answer("identical", "packets", packet(), 200, before=packet(), stored=ONE),
    *both("identical", line(), 204, before=line(), stored=ONE),
    Answer("another value", "packets", [packet(value=2), packet(value=9, second=9)], 422, ("conflict",), before=packet(), stored=GOOD),
    Answer("another value", "packets", packet(value=2), 200, query="&on_conflict=replace", before=packet(), stored={("power", 0): 2}),
    *both("another value", line(value=2), 204, before=line(), stored={("power", 0): 2}),
    *[
        Answer("body cannot be parsed", "packets", body, 400, ("unparsable",), says=says, whole=True)
        for body, says in [
            (b"", "empty"), (b"{", "JSON"), (b'{"a": 1} x', "byte 10"), (b"\xff", "JSON"), (b'{"a":1}\n{"a":1}\n{"a"', "line 3"),
            (b"[" * 16_000, "deeply"),
        ]
    ],
    Answer("body cannot be parsed", "packets", b"no gzip", 400, ("unparsable",), encoding="as gzip", whole=True),
    Answer("body cannot be parsed", "packets", b"x", 400, ("unparsable",), encoding="as br", says="gzip or zstd", whole=True),
    *both("body cannot be parsed", b"no gzip", 400, encoding="as gzip", whole=True),
    *bad_line("body cannot be parsed", "no line", "line_invalid"),
    Answer("parameter not known", "packets", packet(), 400, ("parameter",), query="&colour=red", says="colour", whole=True),
    *both("parameter not known", line(), 400, query="&precision=d", says="precision", whole=True),
    bad_packet("some readings bad", packet("v", float("nan"), second=1), "value_not_finite"),
    Answer("all readings bad", "packets", [packet(value=float("nan"))] * 150, 422, ("value_not_finite",) * 100),
    Answer("all readings bad, atomic", "packets", packets_around(packet(value=float("nan"))), 422, ("value_not_finite",), query="&atomic=1"),
    *both("all readings bad", "bad\n" * 150, 400, codes=("line_invalid",), says="dropped=150"),
    bad_packet("unknown device", packet(device_id="no_such_device"), "device_not_allowed"),
    bad_packet("another's device", packet(device_id="BOBS"), "device_not_allowed"),
    *bad_line("unknown device", f"v,device_id=no_such_device value=1 {SECOND}", "device_not_allowed"),
    *bad_line("another's device", f"v,device_id=BOBS value=1 {SECOND}", "device_not_allowed"),
    bad_packet("time ahead", packet("v") | {"timestamp": ahead(600)}, "time_future"),
    *bad_line("time ahead", f"v value=1 {ahead(600)}", "time_future"),
    bad_packet("time before the floor", packet("v") | {"timestamp": "1999-12-31T23:59:59Z"}, "time_past"),
    *bad_line("time before the floor", "v value=1 946684799", "time_past"),
    bad_packet("no offset", packet("v") | {"timestamp": "2026-03-01T12:00:00"}, "time_ambiguous"),
    Answer("no precision", "packets", [{"timestamp": at(0), "power": 1}, {"timestamp": SECOND, "v": 1}], 422, ("time_ambiguous",), stored=ONE, query="-precision"),
    bad_packet("time not sure", {"time": 12.5, "v": 1}, "time_ambiguous"),
    bad_packet("nothing stored", packet("v", None), "nothing_stored"),
    Answer("nothing stored", "packets", packet(value=None), 422, ("nothing_stored",)),
    bad_packet("text too long", packet("v", "x" * 1001), "text_limit"),
    bad_packet("text not storable", packet("v", "a\u0000b"), "value_type"),
    bad_packet("no time", packet("v") | {"timestamp": "yesterday"}, "time_invalid"),
    *bad_line("no time", f"v value=1 {SECOND}.5", "line_invalid"),
    *[
        bad_packet("not finite", packet("v", value), "value_not_finite")
        for value in (float("nan"), float("inf"), float("-inf"), 1e101, 10**400)
    ],
    *[
        answer
        for value in ("nan", "-inf", "Infinity", "1e400", "1e101")
        for answer in bad_line("not finite", f"v value={value} {SECOND}", "value_not_finite")
    ],
    bad_packet("not a packet", 7, "value_type"),
    *bad_line("not a number", f"v value=1_0 {SECOND}", "line_invalid"),
    bad_packet("bad name", packet(""), "metric_name"),
    bad_packet("bad name", packet("x" * 201), "metric_name"),
    bad_packet("bad name", packet("a\u0000b"), "metric_name"),
    *bad_line("bad name", f"v {'x' * 201}=1 {SECOND}", "metric_name"),
    Answer("metric cap", "packets", packet(b=2, c=3, d=4, e=5), 422, ("metric_limit",), stored={**ONE, ("b", 0): 2, ("c", 0): 3, ("d", 0): 4}),
    *both("metric cap", "".join(line(name) for name in "abcde"), 400, codes=("metric_limit",), says="line 5: ", stored={(name, 0): 1 for name in "abcd"}),
    Answer("too many bytes", "packets", TOO_LONG, 413, ("too_large",), says="split", whole=True),
    Answer("too many bytes", "packets", TOO_LONG, 413, ("too_large",), says="split", encoding="gzip", whole=True),
    Answer("too many bytes", "packets", TOO_LONG, 413, ("too_large",), says="split", encoding="zstd", whole=True),
    Answer("too many readings", "packets", [packet(second=second) for second in range(201)], 413, ("too_large",), says="split", whole=True),
    *both("too many bytes", TOO_LONG, 413, says="split", whole=True),
    *both("too many bytes", TOO_LONG, 413, says="split", encoding="gzip", whole=True),
    *both("too many readings", "".join(line(second=second) for second in range(201)), 413, says="split", whole=True),
]  # fmt: skip


@pytest.fixture(scope="module")
def tight(telemetry) -> Iterator[Service]:
    """An ingest service with small limits: 16,384 bytes, 200 readings, 4 metrics a device."""
    limits = {"MAX_BYTES": "16384", "MAX_READINGS": "200"}
    service = Service(
        "ingest",
        free_port(),
        {
            "JOULEBOOK_DEVICE_METRICS": "4",
            **{f"JOULEBOOK_INGEST_{name}": value for name, value in limits.items()},
        },
    )
    service.start(path="/readyz")
    yield service
    service.stop()


def send(
    service: Service,
    token: str | None,
    wire: str,
    body: Any,
    *,
    query: str = "",
    encoding: str = "",
    **more: Any,
) -> httpx.Response:
    """Send a body over one of the wires."""
    path = PATHS[wire]
    if query == "-precision":
        path = path.partition("?")[0]
    elif query.startswith("&precision="):
        path = path.replace("&precision=s", "").replace("?precision=s", "?") + query
    else:
        path += query
    content = (
        body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    )
    headers = (
        {} if token is None else {"Authorization": f"{'Bearer' if wire == 'packets' else 'Token'} {token}"}
    )
    if encoding:
        headers["Content-Encoding"] = encoding.removeprefix("as ")
        if encoding in {"gzip", "zstd"}:
            content = gzip.compress(content) if encoding == "gzip" else zstandard.compress(content)
    return httpx.post(service.url + path, content=content, headers=headers, timeout=30, **more)


def told(answer: httpx.Response, wire: str) -> tuple[tuple[str, ...], str]:
    """Return the codes of an answer to packets, and all that it says, whatever the wire."""
    body = answer.json() if answer.content else {}
    if wire != "packets":
        return (), body.get("error" if wire == "v1" else "message", "")
    codes = tuple(one["code"] for one in body.get("rejected", [])) or tuple(filter(None, [body.get("code")]))
    return codes, body.get("message", "")


@pytest.fixture
def bobs(make_user, device_id) -> str:
    """The id of a device that is Bob's."""
    return create_device(f"{device_id}_bobs", owner=make_user("bob")).device_id


@pytest.mark.parametrize("row", ANSWERS, ids=str)
def test_each_row_is_answered_as_the_table_says(tight, device_token, bobs, stored, row: Answer):
    if row.before is not None:
        assert send(tight, device_token, row.wire, row.before).status_code in {200, 204}
    body = row.body
    if "BOBS" in str(body):
        body = json.loads(json.dumps(body).replace("BOBS", bobs))
    answer = send(tight, device_token, row.wire, body, query=row.query, encoding=row.encoding)
    assert answer.status_code == row.status, answer.text
    codes, says = told(answer, row.wire)
    if row.wire == "packets":
        assert codes == row.codes
    assert row.says in says
    assert stored() == row.stored
    assert stored(bobs) == {}
    check_form(answer, row)


def check_form(answer: httpx.Response, row: Answer) -> None:
    """Look at what all answers of a status have in common."""
    body = answer.json() if answer.content else None
    if row.status == 204:
        assert body is None
    elif row.wire == "v1":
        assert set(body) == {"error"}
    elif row.wire == "v2":
        assert set(body) == {"code", "message"}
        assert body["code"] == {400: "invalid", 413: "request too large"}[row.status]
    elif row.whole:
        assert set(body) == {"code", "message"}
    else:
        fields = {"accepted", "duplicate", "rejected", "ignored"}
        fields |= {"replaced"} if "replace" in row.query else set()
        assert set(body) == fields | ({"rejected_total"} if row.status == 422 else set())
        assert body["accepted"] + body["duplicate"] == len(row.stored) - (
            0 if row.before is None else row.status == 422
        )
    if row.status == 422:
        assert body["rejected_total"] == (150 if len(row.codes) == 100 else len(row.codes))
        assert all({"index", "metric", "code", "message"} == set(one) for one in body["rejected"])
    if row.status == 400 and row.wire != "packets" and not row.whole:
        assert "partial write: " in answer.text


@pytest.mark.parametrize("wire", PATHS)
def test_an_unknown_device_and_anothers_are_told_the_same(tight, device_token, bobs, wire):
    said = []
    for name in ("no_such_device", bobs):
        body = packet(device_id=name) if wire == "packets" else f"v,device_id={name} value=1 {SECOND}"
        said.append(send(tight, device_token, wire, body).text.replace(name, "…"))
    assert "device_not_allowed" in said[0]
    assert said[0] == said[1]


@pytest.mark.parametrize("wire", PATHS)
def test_without_a_token_in_force_the_answer_is_401(tight, device, device_token, stored, wire):
    body = packet() if wire == "packets" else line()
    for token in (None, "nonsense", "jbd00000000_" + "x" * 43, device_token + "x", device_token.upper()):
        answer = send(tight, token, wire, body)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"]
        assert "token" in answer.text
    device.tokens.get().revoke(now=timezone.now())
    assert send(tight, device_token, wire, body).status_code == 401
    assert stored() == {}


@pytest.fixture(scope="module")
def limited(telemetry) -> Iterator[Service]:
    """An ingest that takes a reading a second of each token."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_RATE": "1"})
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.mark.parametrize(("wire", "status"), [("packets", 429), ("v1", 503), ("v2", 429)])
def test_above_its_rate_a_token_is_told_when_to_come_again(limited, device_token, stored, wire, status):
    batch = (
        [packet(second=second) for second in range(12)]
        if wire == "packets"
        else "".join(line(second=second) for second in range(12))
    )
    assert send(limited, device_token, wire, batch).status_code in {200, 204}
    more = packet(second=99) if wire == "packets" else line(second=99)
    refused = send(limited, device_token, wire, more)
    assert refused.status_code == status
    assert 1 <= int(refused.headers["Retry-After"]) <= 4
    assert len(stored()) == 12
    time.sleep(int(refused.headers["Retry-After"]))
    assert send(limited, device_token, wire, more).status_code in {200, 204}
    assert len(stored()) == 13


@contextmanager
def nobody_may_write(telemetry: dict[str, str]) -> Iterator[None]:
    """Hold a lock for which every COPY waits."""
    with psycopg.connect(telemetry["superuser"]) as conn:
        conn.execute("LOCK TABLE readings IN SHARE ROW EXCLUSIVE MODE")
        yield
        conn.rollback()


def in_background(*asked: Any, **how: Any) -> tuple[threading.Thread, list[httpx.Response]]:
    """Send a request in a thread; return the thread and where the answer will be."""
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(send(*asked, **how)))
    thread.start()
    return thread, answers


def check_503(answer: httpx.Response, because: str) -> None:
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert because in answer.text
    assert "not stored, send it again" in answer.text


@pytest.fixture(scope="module")
def without_database(telemetry) -> Iterator[Service]:
    """An ingest whose database does not answer."""
    nowhere = f"postgresql://joulebook_writer@127.0.0.1:{free_port()}/joulebook?connect_timeout=2"
    service = Service("ingest", free_port(), {"JOULEBOOK_TELEMETRY_WRITER_URL": nowhere})
    service.start()
    yield service
    service.stop()


@pytest.mark.parametrize("wire", PATHS)
def test_with_the_database_down_the_answer_is_503(without_database, device_token, stored, wire):
    body = packet() if wire == "packets" else line()
    check_503(send(without_database, device_token, wire, body), "connection")
    assert stored() == {}


@pytest.fixture(scope="module")
def short_queue(telemetry) -> Iterator[Service]:
    """An ingest where one reading fills the queue."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_QUEUE_READINGS": "1"})
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.mark.parametrize("wire", PATHS)
def test_with_a_full_queue_the_answer_is_503_and_what_waited_is_stored(
    telemetry, short_queue, device_token, stored, wire
):
    bodies = [packet(second=second) if wire == "packets" else line(second=second) for second in range(4)]
    assert send(short_queue, device_token, wire, bodies[0]).status_code in {200, 204}  # now the metric exists
    with nobody_may_write(telemetry):
        waiting = []
        for number, body in enumerate(bodies[1:3], 1):  # one is being stored, the other fills the queue
            waiting.append(in_background(short_queue, device_token, wire, body))
            until_waiting(short_queue, number)
        check_503(send(short_queue, device_token, wire, bodies[3]), "wait for the database")
    for thread, answers in waiting:
        thread.join()
        assert answers[0].status_code in {200, 204}
    assert stored() == {("power", second): 1 for second in range(3)}


@pytest.mark.parametrize("wire", PATHS)
def test_while_ingest_drains_the_answer_is_503_and_what_was_begun_is_stored(
    telemetry, device_token, stored, wire
):
    service = Service("ingest", free_port())
    service.start(path="/readyz")
    bodies = [packet(second=second) if wire == "packets" else line(second=second) for second in range(3)]
    try:
        assert send(service, device_token, wire, bodies[0]).status_code in {200, 204}
        with nobody_may_write(telemetry):
            thread, answers = in_background(service, device_token, wire, bodies[1])
            until_waiting(service, 1)
            service.process.send_signal(signal.SIGTERM)
            until_stopping(service)
            check_503(send(service, device_token, wire, bodies[2]), "stopping")
        thread.join()
        assert answers[0].status_code in {200, 204}
        service.process.wait(timeout=10)
    finally:
        service.stop()
    assert stored() == {("power", 0): 1, ("power", 1): 1}


def test_every_code_of_the_reference_has_a_row_here():
    page = (REPOSITORY / "docs" / "reference" / "ingest.md").read_text()
    elsewhere = {
        "ticket": "of the live feed: test_live",
        "unauthorized": "above: 401",
        "rate": "above: 429",
        "unavailable": "above: 503",
        "internal": "nothing is known that causes it",
    }
    documented = {
        code
        for heading in ("Codes in `rejected`", "Codes of a whole request")
        for code, _ in rows(page, heading)
    }
    held = {code for row in ANSWERS for code in row.codes}
    assert documented - set(elsewhere) <= held
    assert held - documented == {"line_invalid"}
