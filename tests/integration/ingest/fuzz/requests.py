"""Strategies for requests that clients should not send, and for some that they may."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field

import zstandard
from hypothesis import strategies as st

from ..conformance.odd_lines import odd_bodies

NOON = 1_772_366_400
"""2026-03-01T12:00:00Z in seconds."""


@dataclass(frozen=True)
class Request:
    """One request; `kind` says over what it is sent: http, chunked, raw (as it is, over a socket), websocket."""

    kind: str
    target: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 10**400, 0, -1])
    | st.floats()
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(["power", "battery.voltage", "Zähler", "", "device_id", "timestamp", "x" * 201, "a\u0000", "=1+1", "\ud800"])  # fmt: skip
stamps = st.one_of(
    st.integers(NOON, NOON + 100_000).map(lambda second: second),
    st.sampled_from(["2026-03-01T12:00:00Z", "2026-03-01T12:00:00+01:00", "2026-03-01", "now", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00Z", ""]),
    st.floats(),
    st.integers(),
    st.none(),
)  # fmt: skip
numbers = st.integers(-1000, 1000) | st.floats() | st.booleans()
fields = st.dictionaries(names | st.text(min_size=1, max_size=3), numbers | anything, max_size=4)
packets = st.builds(lambda inside, stamp: inside | {"timestamp": stamp}, fields, stamps) | fields
json_bodies = st.one_of(packets, st.lists(packets | anything, max_size=6), anything).map(json.dumps)
ndjson_bodies = st.lists(packets.map(json.dumps) | st.sampled_from(["", "{", "nul"]), max_size=6).map(
    "\n".join
)
line_bodies = st.integers(0, 1 << 30).map(lambda seed: next(odd_bodies(seed, 8)).text.decode())
nested = st.builds(
    lambda opening, depth: opening * depth,
    st.sampled_from(["[", '{"a":', "[{}", "\\"]),
    st.integers(1, 20_000),
)
good_packets = st.builds(
    lambda second, values: {"timestamp": NOON + second, **values},
    st.integers(0, 1_000_000),
    st.dictionaries(
        st.sampled_from(["power", "voltage", "energy.in", "Zähler"]),
        st.integers(-1000, 1000) | st.booleans(),
        min_size=1,
    ),
)
good_bodies = st.lists(good_packets, min_size=1, max_size=30).map(json.dumps)
good_lines = st.lists(
    st.builds(
        lambda second, value: f"meter,room=hall power={value!r} {NOON + second}",
        st.integers(0, 1_000_000),
        st.floats(-1e9, 1e9),
    ),
    min_size=1,
    max_size=30,
).map("\n".join)
texts = (
    good_bodies
    | good_lines
    | json_bodies
    | ndjson_bodies
    | line_bodies
    | line_bodies
    | nested
    | st.text(max_size=50)
).map(lambda text: text.encode("utf-8", "surrogatepass"))


def damage(draw: st.DrawFn, body: bytes) -> bytes:
    """Cut a body, or put other bytes in the place of some of its own."""
    start = draw(st.integers(0, len(body)))
    return body[:start] + draw(st.binary(max_size=6)) + body[start + draw(st.integers(0, 20)) :]


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """Bodies that were damaged on their way."""
    return damage(draw, draw(bodies))


plain_bodies = texts | texts | damaged(texts) | st.binary(max_size=100)
repeated = st.builds(
    lambda unit, times: unit * times, st.binary(min_size=1, max_size=4), st.integers(1, 3_000_000)
)
bombs = repeated.map(gzip.compress) | repeated.map(zstandard.compress)


@st.composite
def contents(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """A body with its Content-Encoding, which need not be true."""
    body = draw(plain_bodies)
    kind = draw(st.integers(0, 9))
    if kind < 5:
        return body, {}
    if kind == 5:
        body, encoding = draw(bombs), draw(st.sampled_from(["gzip", "zstd"]))
    else:
        encoding = draw(
            st.sampled_from(
                ["gzip", "zstd", "gzip", "zstd", "br", "identity", "deflate", "gzip, gzip", "\xff"]
            )
        )
        if encoding == "gzip":
            body = gzip.compress(body) + (gzip.compress(b"\n") if kind == 6 else b"")
        elif encoding == "zstd":
            body = zstandard.compress(body)
        if kind == 9:
            body = damage(draw, body)
    return body, {"Content-Encoding": encoding}


queries = st.lists(
    st.sampled_from(
        [
            "precision=s", "precision=s", "precision=ms", "precision=us", "precision=ns", "precision=n", "precision=h", "precision=",
            "atomic=1", "atomic=2", "on_conflict=replace", "on_conflict=x", "db=x", "bucket=b&org=o", "p=secret", "%00=%ff", "a=%zz",
            "q=SHOW%20DATABASES", "q=CREATE%20DATABASE%20%22x", "precision=s&precision=ms", "=", "&&", "ticket=x.y",
        ]
    ),
    max_size=2,
).map(lambda odd: "&".join([*odd, "precision=s"] if len(odd) != 1 else odd))  # fmt: skip
paths = st.sampled_from(
    ["/api/readings"] * 14 + ["/write"] * 9 + ["/api/v2/write"] * 9
    + ["/query", "/ping", "/health", "/live/x", "/readyz", "/metrics", "/", "/api/readings/", "/%2e%2e/%00", "/docs/assets/../x", "/ws/device/x"]
)  # fmt: skip


@st.composite
def authorizations(draw: st.DrawFn, token: str) -> dict[str, str]:
    """Mostly the valid token, in one of its forms."""
    basic = base64.b64encode(f"any:{token}".encode()).decode()
    good = [f"Bearer {token}"] * 6 + [f"Token {token}", f"Basic {basic}"]
    bad = [
        "",
        "Bearer",
        "Bearer x",
        f"Bearer {token[:-1]}",
        "Basic %%%",
        "Basic YQ",
        "Token a:b:c",
        "\xe9" * 3,
    ]
    value = draw(st.sampled_from(good * 10 + bad))
    return {"Authorization": value} if value else {}


@st.composite
def http_requests(draw: st.DrawFn, token: str) -> Request:
    """A request that a client's library would let through."""
    body, headers = draw(contents())
    headers |= draw(authorizations(token))
    if draw(st.booleans()):
        headers["Content-Type"] = draw(
            st.sampled_from(
                [
                    "application/json",
                    "application/x-ndjson",
                    "text/plain; charset=latin-1",
                    "multipart/form-data",
                    "x",
                ]
            )
        )
    return Request(
        kind=draw(st.sampled_from(["http", "http", "http", "chunked"])),
        target=f"{draw(paths)}?{draw(queries)}",
        content=body,
        headers=headers,
        method=draw(st.sampled_from(["POST"] * 40 + ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])),
    )


@st.composite
def raw_requests(draw: st.DrawFn, token: str) -> Request:
    """Bytes that are hardly HTTP."""
    body = draw(plain_bodies)
    lines = [
        f"POST {draw(paths)} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        *draw(
            st.lists(
                st.sampled_from(
                    [
                        f"Content-Length: {len(body)}", f"Content-Length: {len(body)}", "Content-Length: -1", "Content-Length: 99999999999999999999",
                        "Content-Length: 5, 6", "Transfer-Encoding: chunked", "Transfer-Encoding: x", "Expect: 100-continue", "Upgrade: websocket",
                        "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x", ": empty", "no colon", "X: " + "y" * 70_000,
                    ]
                ),
                max_size=4,
            )
        ),
    ]  # fmt: skip
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    kind = draw(st.integers(0, 2))
    content = damage(draw, raw) if kind == 1 else raw if kind == 0 else draw(st.binary(max_size=60))
    return Request(kind="raw", target="", content=content)


@st.composite
def websocket_requests(draw: st.DrawFn, token: str, device_id: str) -> Request:
    """A connection that sends one message."""
    query = draw(st.sampled_from(["", "?precision=s", "?atomic=1", "?on_conflict=replace", "?precision=x"]))
    return Request(
        kind="websocket",
        target=f"/ws/device/{device_id}{query}",
        content=draw(plain_bodies),
        headers={"Authorization": f"Bearer {token}"},
        method=draw(st.sampled_from(["text", "binary"])),
    )


def requests(token: str, device_id: str) -> st.SearchStrategy[Request]:
    """Requests of every kind, with and without this device's token."""
    http = http_requests(token)
    return st.integers(0, 19).flatmap(
        lambda kind: (
            raw_requests(token) if kind == 0 else websocket_requests(token, device_id) if kind == 1 else http
        )
    )
