"""1,000 odd lines store the same numbers here as in Debian's InfluxDB, but for differences that are named."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest

from ....conftest import Service, free_port
from .influxd import PROGRAM, InfluxDB
from .metric_names import metric_of
from .odd_lines import FIRST, odd_bodies

LINES = 1_000
SEED = 20_261_121
T = FIRST
ANY_TIME = "time > '1900-01-01' AND time < '2200-01-01'"
Numbers = dict[tuple[str, int | None], float]
"""Values by metric and time in microseconds since 1970 UTC; None stands for the time of arrival."""

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="influxd is not installed; on Debian: apt-get install influxdb"
)


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory):
    server = InfluxDB(tmp_path_factory.mktemp("influxdb"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def roomy(telemetry):
    """An ingest service that takes any number of metrics, and times back to 1970."""
    settings = {"JOULEBOOK_DEVICE_METRICS": "100000", "JOULEBOOK_INGEST_OLDEST": "1970-01-01"}
    service = Service("ingest", free_port(), settings)
    service.start(path="/readyz")
    yield service
    service.stop()


def without_arrival(rows: Iterable[tuple[str, int, float]]) -> Numbers:
    """Make a dictionary of rows, with None for times of the last hour: InfluxDB's clock ticks in `precision`."""
    now = time.time_ns() // 1_000
    arrival = range(now - 3_700_000_000, now + 60_000_000)
    return {(metric, None if instant in arrival else instant): value for metric, instant, value in rows}


@pytest.fixture
def theirs(influxdb):
    """Read what InfluxDB has for lines whose measurement holds one of these markers."""

    def read(markers: Iterable[str]) -> Numbers:
        rows = []
        for marker in markers:  # a query each: InfluxDB gives a field one type a query
            for series in influxdb.query(f"SELECT * FROM /{marker}/ WHERE {ANY_TIME} GROUP BY *"):
                tags = {key: value for key, value in (series.get("tags") or {}).items() if value}
                for instant, *values in series["values"]:
                    rows += [
                        (metric_of(series["name"], field, tags), instant // 1_000, float(value))
                        for field, value in zip(series["columns"][1:], values, strict=True)
                        if isinstance(value, int | float)
                    ]
        return without_arrival(rows)

    return read


@pytest.fixture
def ours(telemetry, device_id):
    """Read what is stored here for the device."""

    def read() -> Numbers:
        with psycopg.connect(telemetry["reader"]) as conn:
            return without_arrival(
                conn.execute(
                    "SELECT metric, (extract(epoch FROM time) * 1000000)::int8, value FROM readings "
                    "JOIN series ON series.id = series_id WHERE device_id = %s",
                    [device_id],
                )
            )

    return read


@pytest.fixture
def write(roomy, device_token):
    """Write a body here as a v1 client does; return the answer."""
    with httpx.Client(headers={"Authorization": f"Token {device_token}"}) as http:
        yield lambda body, precision: http.post(
            f"{roomy.url}/write?db=odd&precision={precision}", content=body
        )


def test_a_thousand_odd_lines_store_the_same_numbers(influxdb, write, theirs, ours):
    lines = stored = refused = 0
    differing = []
    for body in odd_bodies(SEED, LINES):
        statuses = influxdb.write(body.text, precision=body.precision), write(body.text, body.precision)
        if statuses[0] != statuses[1].status_code:
            differing.append((body, statuses[0], statuses[1].text))
        lines += len(body.numbers)
        refused += statuses[0] == 400
    expected, found = theirs(f"n{number}_" for number in range(LINES)), ours()
    differing += [
        (key, expected.get(key), found.get(key))
        for key in {*expected, *found}
        if expected.get(key) != found.get(key)
    ]
    assert differing == []
    stored = len({re.search(r"n(\d+)_", metric)[1] for metric, _ in found})
    print(  # noqa: T201 - the suite's figure
        f"\n{lines} odd lines: {stored} stored with {len(found)} numbers, equal in both"
    )
    assert lines == LINES
    # Else the lines would be too odd to say much, or not odd enough.
    assert LINES // 2 < stored < LINES - 100
    assert refused > 50


@dataclass(frozen=True)
class Difference:
    """Lines that InfluxDB and ingest take differently, why, and what each stores at `instant`.

    M stands for a measurement of the test's own.
    """

    why: str
    text: str
    in_influxdb: dict[str, float] = field(default_factory=dict)
    here: dict[str, float] = field(default_factory=dict)
    instant: int | None = T // 1_000


DIFFERENCES = [
    Difference(
        "a line may end as on Windows: InfluxDB 1 refuses it, or takes the end for part of the last text",
        f'M v=1 {T}\r\nM w=2,t="a" {T}\r\n',
        here={"M.v": 1, "M.w": 2},
    ),
    Difference(
        "a carriage return before a line is a blank, and no part of a name",
        f"\rM v=1 {T}",
        in_influxdb={"\rM.v": 1},
        here={"M.v": 1},
    ),
    Difference("a tab after the time is a blank", f"M v=1 {T}\t", here={"M.v": 1}),
    Difference(
        "numbers without sign are numbers: InfluxDB 1 takes them only if it was built so",
        f"M v=7u {T}",
        here={"M.v": 7},
    ),
    Difference(
        "no device measures before 1970: such a time is a mistake in `precision`, or a clock that was never set",
        f"M v=1 -{T}",
        in_influxdb={"M.v": 1},
        instant=-T // 1_000,
    ),
    Difference(
        "nor does one measure next year",
        f"M v=1 {T + 31_536_000 * 10**9}",
        in_influxdb={"M.v": 1},
        instant=T // 1_000 + 31_536_000 * 10**6,
    ),
    Difference(
        "control characters have no place on a page", f"M a\tb=1,c=2 {T}", {"M.a\tb": 1, "M.c": 2}, {"M.c": 2}
    ),
    Difference(
        "a name neither begins nor ends with a blank", f"M a\\ =1,c=2 {T}", {"M.a ": 1, "M.c": 2}, {"M.c": 2}
    ),
    Difference(
        "a metric's name has at most 200 characters",
        f"M {'x' * 200}=1,c=2 {T}",
        {"M." + "x" * 200: 1, "M.c": 2},
        {"M.c": 2},
    ),
    Difference("sums of readings stay finite", f"M v=1e101,w=1e99 {T}", {"M.v": 1e101, "M.w": 1e99}, {}),
    Difference(
        "text after a closing quotation mark is a mistake; InfluxDB throws away what follows, the time too",
        f'M v=1,t="a"b {T}',
        {"M.v": 1},
    ),
    Difference(
        "the same, with a tab for a blank: InfluxDB stores it at the time of arrival",
        f'M v=1,t="a"\t{T}',
        {"M.v": 1},
        instant=None,
    ),
    Difference(
        "a quotation mark that is never closed costs its own line; InfluxDB loses all that follow",
        f'M a=1 {T}\nM t="x {T}\nM v=1 {T}\nM w=2 {T}',
        {"M.a": 1},
        {"M.a": 1, "M.v": 1, "M.w": 2},
    ),
    Difference(
        "so does one inside of a number",
        f'M a=1 {T}\nM v=1" {T}\nM w=2 {T}',
        {"M.a": 1},
        {"M.a": 1, "M.w": 2},
    ),
    Difference(
        "one in a name is part of it; InfluxDB is misled behind blanks before the line and a tag that begins with =",
        f' M,a==b c"=1 {T}\nM w=2 {T}',
        here={'M.c"{a=\\=b}': 1, "M.w": 2},
    ),
    Difference(
        "two backslashes before a separator are one in a field's name; InfluxDB contradicts itself, and refuses",
        f"M a\\\\=1 {T}",
        here={"M.a\\": 1},
    ),
    Difference(
        "the same; here InfluxDB makes one name of two fields, without a word",
        f"M a\\\\=1,b=2 {T}",
        {"M.a\\=1,b": 2},
        {"M.a\\": 1, "M.b": 2},
    ),
    Difference(
        "a series holds numbers of every kind; InfluxDB refuses a field that was of another type",
        f"M v=5 {T}\nM v=2i {T}\nM v=t {T}",
        {"M.v": 5},
        {"M.v": 1},
    ),
    Difference(
        "a line that breaks before its text ends where it ends; InfluxDB looks for the end of the text",
        f'M a="x\nM v=1 {T}\n"= 7',
        {},
        {"M.v": 1},
    ),
]


@pytest.mark.parametrize("number", range(len(DIFFERENCES)), ids=[one.why[:60] for one in DIFFERENCES])
def test_what_is_taken_differently_is_known_and_has_a_reason(influxdb, write, theirs, ours, number):
    named = DIFFERENCES[number]
    body = named.text.replace("M", f"m{number}_").encode()
    influxdb.write(body, precision="n")
    write(body, "n")
    found = [
        {metric: value for (metric, instant), value in numbers.items() if instant == named.instant}
        for numbers in (theirs([f"m{number}_"]), ours())
    ]
    assert found == [
        {metric.replace("M", f"m{number}_"): value for metric, value in expected.items()}
        for expected in (named.in_influxdb, named.here)
    ]
