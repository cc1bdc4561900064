"""VictoriaMetrics: series by its query API, samples by its export.

https://docs.victoriametrics.com/#how-to-export-data-in-json-line-format
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from joulebook.cli.moves.server import Http, Listed, UnableToMove
from joulebook.telemetry.files.formats.named_series import SeriesNames
from joulebook.telemetry.files.formats.prometheus import find_series
from joulebook.telemetry.imports.totals import SeriesTotals

EVERYTHING = '{__name__!=""}'
_ROWS_A_LINE = 10_000
_DAY = 86_400


class VictoriaServer:
    """A VictoriaMetrics server, and the series that a selector chooses."""

    def __init__(self, http: Http, *, match: str) -> None:
        self._http = http
        self._match = match or EVERYTHING
        self.identity = json.dumps([http.url, self._match])

    def list_series(self, until: int) -> list[Listed]:
        """Return the series with their counts and ranges."""
        counts, firsts, lasts = (
            self._by_labels(function, until)
            for function in ("count_over_time", "tfirst_over_time", "tlast_over_time")
        )
        names = SeriesNames()
        found = []
        for labels, count in counts.items():
            named = find_series(names, dict(labels).get("__name__", ""), _without_name(labels))
            first, last = (round(times.get(labels, 0.0) * 1_000) * 1_000 for times in (firsts, lasts))
            found.append(Listed(named, SeriesTotals(int(count), first, last)))
        return found

    def parts(self, until: int) -> dict[str, int]:
        """Return the names of metrics with their numbers of samples."""
        counts = self._by_labels("count_over_time", until)
        found: dict[str, int] = {}
        for labels, count in counts.items():
            name = dict(labels).get("__name__", "")
            found[name] = found.get(name, 0) + int(count)
        return dict(sorted(found.items()))

    def download(self, part: str, until: int) -> Iterator[bytes]:
        """Yield the samples of all series with a name, as JSON lines."""
        name, brace, rest = self._match.partition("{")
        conditions = [f"__name__={json.dumps(part)}", rest.strip().removesuffix("}")]
        match = f"{name}{{{','.join(filter(None, conditions))}}}" if brace else part
        parameters = {"match[]": match, "start": _DAY, "end": until, "max_rows_per_line": _ROWS_A_LINE}
        lines = self._http.lines("/api/v1/export", **parameters)
        for line in lines:
            if line.strip():
                yield line + b"\n"

    def _by_labels(self, function: str, until: int) -> dict[tuple[tuple[str, str], ...], float]:
        """Return what a function gives for the samples of each series from 1970-01-02 on."""
        query = f"{function}({self._match}[{until - _DAY}s]) keep_metric_names"
        answer: Any = self._http.get("/api/v1/query", query=query, time=until, nocache=1)
        try:
            rows = answer["data"]["result"]
            return {tuple(sorted(row["metric"].items())): float(row["value"][1]) for row in rows}
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise UnableToMove(f"{self._http.url} does not answer as VictoriaMetrics does") from exc


def _without_name(labels: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return {key: text for key, text in labels if key != "__name__"}
