"""How fast history answers: views over HTTP, through Django and its gate, and InfluxDB beside it."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, LiteralString

import httpx

from benchmarks.archive import DEVICE, END, MEASUREMENT, Archive
from benchmarks.influxd import DATABASE, Influxd
from benchmarks.stack import Stack
from benchmarks.table import Promise, Row
from joulebook.telemetry.connection import Connection, connect

VIEWS = {
    "10 minutes": timedelta(minutes=10),
    "1 hour": timedelta(hours=1),
    "24 hours": timedelta(hours=24),
    "30 days": timedelta(days=30),
}
"""What a device's page offers."""

WEEK = {"7 days": timedelta(days=7)}
YEAR = {"1 year": timedelta(days=365)}

_TURNS = 20
_SLOW_TURNS = 3
"""For what may take seconds: InfluxDB's long ranges, and `time_bucket` over raw readings."""
_RAW = """
SELECT time_bucket('1 hour', time) AS bucket, avg(value), min(value), max(value), count(*)
FROM readings
WHERE series_id = (SELECT id FROM series WHERE device_id = %s AND metric = 'power')
  AND time >= %s AND time < %s
GROUP BY bucket ORDER BY bucket
"""

_HOURS = """
SELECT bucket, sum / count, min, max, count FROM readings_1h
WHERE series_id = (SELECT id FROM series WHERE device_id = %s AND metric = 'power')
  AND bucket >= %s AND bucket < %s
ORDER BY bucket
"""


def measure_reading(
    stack: Stack, influxd: Influxd | None, archive: Archive
) -> tuple[list[Row], list[Promise]]:
    """Ask for each view twenty times, in turns; the archive is stored where it is not yet."""
    rolled = archive.store(stack)
    views = VIEWS | WEEK | (YEAR if archive.days >= YEAR["1 year"].days else {})
    views = dict(sorted(views.items(), key=lambda view: view[1]))
    asker = _Asker(stack, views, archive)
    took: dict[str, list[float]] = defaultdict(list)
    if influxd is not None:
        archive.store_in(influxd)
    ours = {"Authorization": f"Bearer {stack.user_token}"}
    with httpx.Client(headers=ours, timeout=60) as client, httpx.Client(timeout=600) as beside:
        for name in views:
            asker.ask(client, name)
        for turn in range(_TURNS):
            for name in views:
                took[name].append(_seconds(partial(asker.ask, client, name)))
                if influxd is not None and turn < _SLOW_TURNS:
                    took[f"influx {name}"].append(_seconds(partial(asker.ask_influx, beside, influxd, name)))
    with connect(stack.reader_url) as conn:
        took["raw"] = [_seconds(partial(asker.ask_sql, conn, _RAW)) for _ in range(_SLOW_TURNS)]
        took["hours"] = [_seconds(partial(asker.ask_sql, conn, _HOURS)) for _ in range(_TURNS)]
    p50 = {name: statistics.median(seconds) for name, seconds in took.items()}
    least = {name: min(seconds) for name, seconds in took.items()}
    rows = _rows(p50, least, asker, influxd)
    if rolled is not None:
        rows.append(Row("rolling all of it up", f"{rolled:.1f} s", "", _contents(archive)))
    return rows, _promises(p50, views)


class _Asker:
    """Asks for the views in three ways."""

    def __init__(self, stack: Stack, views: dict[str, timedelta], archive: Archive) -> None:
        self._url = f"{stack.web.url}/api/history/{DEVICE}"
        self._views = views
        self.archive = archive
        self.answers: dict[str, dict[str, Any]] = {}

    def ask(self, client: httpx.Client, name: str) -> None:
        """Ask our web for a view; keep its answer."""
        query = {"metric": "power", "start": self._begin(name), "end": END.isoformat()}
        answer = client.get(self._url, params=query)
        answer.raise_for_status()
        self.answers[name] = answer.json()

    def ask_influx(self, client: httpx.Client, influxd: Influxd, name: str) -> None:
        """Ask InfluxDB for the same points as our last answer holds."""
        resolution = self.answers[name]["resolution"]
        what, group = "mean(value), min(value), max(value), count(value)", f" GROUP BY time({resolution})"
        if resolution == "raw":
            what, group = "value", ""
        where = f"time >= '{self._begin(name, influx=True)}' AND time < '{END:%Y-%m-%dT%H:%M:%SZ}'"
        statement = f"SELECT {what} FROM {MEASUREMENT} WHERE {where}{group}"  # noqa: S608 - words of ours
        query = {"db": DATABASE, "epoch": "s", "q": statement}
        answer = client.get(f"{influxd.url}/query", params=query)
        answer.raise_for_status()
        if "series" not in answer.json()["results"][0]:
            raise RuntimeError(answer.text[:500])

    def ask_sql(self, conn: Connection, statement: LiteralString) -> None:
        """Let the database alone give the hours of 30 days."""
        conn.execute(statement, (DEVICE, END - timedelta(days=30), END), prepare=False).fetchall()

    def _begin(self, name: str, *, influx: bool = False) -> str:
        begin = END - self._views[name]
        return f"{begin:%Y-%m-%dT%H:%M:%SZ}" if influx else begin.isoformat()


def _rows(
    p50: dict[str, float], least: dict[str, float], asker: _Asker, influxd: Influxd | None
) -> list[Row]:
    rows = []
    for name, answer in asker.answers.items():
        ratio = f"{p50[name] / p50['10 minutes']:.1f}"
        beside = f"; InfluxDB {influxd.version}: {p50[f'influx {name}'] * 1000:,.1f} ms" if influxd else ""
        remark = (
            f"at least {least[name] * 1000:.1f} ms; {answer['points']} points from {answer['source']}{beside}"
        )
        rows.append(Row(f"history, {name}", f"{p50[name] * 1000:,.1f} ms p50", ratio, remark))
    for what, name in (
        ("`time_bucket` over raw, 30 days", "raw"),
        ("the same hours of `readings_1h`", "hours"),
    ):
        ratio = f"{p50[name] / p50['10 minutes']:.1f}"
        remark = f"at least {least[name] * 1000:,.1f} ms; SQL alone"
        rows.append(Row(what, f"{p50[name] * 1000:,.1f} ms p50", ratio, remark))
    return rows


def _promises(p50: dict[str, float], views: dict[str, timedelta]) -> list[Promise]:
    found = []
    for name in [name for name in views if name in {"30 days", *YEAR}]:
        ratio = p50[name] / p50["10 minutes"]
        what = f"view of {name}, of that of 10 minutes"
        found.append(Promise(what, f"{ratio:.1f}", "at most 2", ratio <= 2))
    for what, name in (("the 30-day view", "30 days"), ("its hours in SQL alone", "hours")):
        faster = p50["raw"] / p50[name]
        what = f"`time_bucket` over raw, of {what}"
        found.append(Promise(what, f"{faster:.0f}", "at least 100", faster >= 100))
    return found


def _contents(archive: Archive) -> str:
    readings = archive.days * (86_400 + 288 * archive.neighbours)
    return f"{readings:,} readings of {archive.days} days, {1 + archive.neighbours} series"


def _seconds(ask: Callable[[], None]) -> float:
    begin = time.perf_counter()
    ask()
    return time.perf_counter() - begin
