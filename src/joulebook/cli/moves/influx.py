"""InfluxDB 1, and 2 with its interface of version 1: series and points by the query API.

https://docs.influxdata.com/influxdb/v1/tools/api/#query-http-endpoint
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from joulebook.cli.moves.server import Http, Listed, UnableToMove
from joulebook.telemetry.files.formats.named_series import Origin, SeriesNames
from joulebook.telemetry.imports.totals import SeriesTotals

_NUMBERS = frozenset({"float", "integer", "unsigned", "boolean"})
_CHUNK_POINTS = 10_000
_SPECIAL = re.compile(r"[,= ]")
_SPECIAL_IN_FIELD = re.compile(r"[,= \\]")
_HEADER = b"# INFLUXDB EXPORT\n# DML\n"


class InfluxServer:
    """A database of an InfluxDB server."""

    def __init__(self, http: Http, *, database: str, policy: str, measurements: Sequence[str]) -> None:
        """Find the database, unless one is named. Raises `UnableToMove`."""
        self._http = http
        self._database = database or self._only_database()
        self._policy = policy
        self._chosen = tuple(measurements)
        self.identity = json.dumps([http.url, self._database, policy, sorted(measurements)])

    def list_series(self, until: int) -> list[Listed]:
        """Return the series of numbers, each with its count, and the range of its measurement and tags."""
        names = SeriesNames()
        found: list[Listed] = []
        for measurement, fields in self._fields().items():
            counts = ", ".join(f"count({_quoted(field)}) AS {_quoted(field)}" for field in fields)
            source = self._source(measurement, until)
            firsts, lasts = (
                {
                    _tags(series): series["values"][0][0] // 1_000
                    for series in self._series(
                        f"SELECT {_columns(fields)} {source} ORDER BY time {order} LIMIT 1"
                    )
                }
                for order in ("ASC", "DESC")
            )
            for series in self._series(f"SELECT {counts} {source}"):
                tags = _tags(series)
                for field, count in zip(series["columns"][1:], series["values"][0][1:], strict=True):
                    if count:
                        named = names.find(Origin(measurement, tags, field))
                        totals = SeriesTotals(int(count), firsts.get(tags, 0), lasts.get(tags, 0))
                        found.append(Listed(named, totals))
        return found

    def parts(self, until: int) -> dict[str, int]:
        """Return the measurements with their numbers of values."""
        counts = {}
        for measurement, fields in self._fields().items():
            columns = ", ".join(f"count({_quoted(field)})" for field in fields)
            rows = self._series(f"SELECT {columns} {self._source(measurement, until, by_tags=False)}")
            counts[measurement] = sum(sum(filter(None, row["values"][0][1:])) for row in rows)
        return counts

    def download(self, part: str, until: int) -> Iterator[bytes]:
        """Yield the points of a measurement as line protocol."""
        yield _HEADER
        fields = self._fields()[part]
        query = f"SELECT {_columns(fields)} {self._source(part, until)}"
        lines = self._http.lines(
            "/query", db=self._database, q=query, epoch="ns", chunked="true", chunk_size=_CHUNK_POINTS
        )
        for line in lines:
            if line.strip():
                try:
                    answer = json.loads(line)
                except ValueError as exc:
                    raise UnableToMove(f"{self._http.url} answers a damaged line") from exc
                for series in _results(answer):
                    yield points_as_lines(part, series)

    def _only_database(self) -> str:
        answer = self._http.get("/query", q="SHOW DATABASES")
        names = [row[0] for series in _results(answer) for row in series.get("values", ())]
        names = [name for name in names if name != "_internal"]
        if len(names) != 1:
            raise UnableToMove(
                f"choose with --database NAME; there is {', '.join(map(repr, names)) or 'none'}"
            )
        return str(names[0])

    def _fields(self) -> dict[str, list[str]]:
        """Return the fields with numbers by measurement."""
        on = f" ON {_quoted(self._database)}"
        found = {
            series["name"]: [name for name, kind in series["values"] if kind in _NUMBERS]
            for series in self._series(f"SHOW FIELD KEYS{on}")
        }
        if missing := [name for name in self._chosen if name not in found]:
            raise UnableToMove(
                f"database {self._database!r} has no measurement {missing[0]!r}; it has "
                f"{', '.join(map(repr, list(found)[:20])) or 'none'}"
            )
        chosen = self._chosen or sorted(found)
        return {name: list(dict.fromkeys(found[name])) for name in chosen if found[name]}

    def _source(self, measurement: str, until: int, *, by_tags: bool = True) -> str:
        policy = f"{_quoted(self._policy)}." if self._policy else ""
        grouped = " GROUP BY *" if by_tags else ""
        return f"FROM {policy}{_quoted(measurement)} WHERE time <= {until * 10**9}{grouped}"

    def _series(self, query: str) -> list[dict[str, Any]]:
        return list(_results(self._http.get("/query", db=self._database, q=query, epoch="ns")))


def _results(answer: Any) -> Iterator[dict[str, Any]]:
    """Yield the series of an answer. Raises `UnableToMove` for an error in it."""
    for result in [answer, *answer.get("results", ())]:
        if error := result.get("error"):
            raise UnableToMove(f"InfluxDB refuses: {error}")
        yield from result.get("series", ())


def _tags(series: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, text) for key, text in series.get("tags", {}).items() if text))


def _quoted(name: str) -> str:
    """Return a name as an identifier of InfluxQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _columns(fields: Sequence[str]) -> str:
    return ", ".join(map(_quoted, fields))


def _escaped(name: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", name)


def points_as_lines(measurement: str, series: dict[str, Any]) -> bytes:
    """Return the points of a series, as the query API has them, as line protocol."""
    head = ",".join(
        [_escaped(measurement), *(f"{_escaped(key)}={_escaped(text)}" for key, text in _tags(series))]
    )
    keys = [_SPECIAL_IN_FIELD.sub(r"\\\g<0>", field) for field in series["columns"][1:]]
    lines = []
    for time, *values in series["values"]:
        fields = [
            f"{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in zip(keys, values, strict=True)
            if value is not None
        ]
        if fields:
            lines.append(f"{head} {','.join(fields)} {time}\n")
    return "".join(lines).encode()
