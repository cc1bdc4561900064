"""What a request for an export asks for, read from its query and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TypeVar

from django.http import QueryDict

from joulebook.telemetry.export.formats import FORMATS, FormatName
from joulebook.telemetry.export.frames import LAYOUTS, Layout
from joulebook.telemetry.export.reading import NO_END
from joulebook.telemetry.history.points import ALL
from joulebook.telemetry.readings import OLDEST, to_microseconds
from joulebook.web.api.parameters import BadParameter, check_names
from joulebook.web.history.parameters import read_window, read_zone

DEFAULT_FORMAT: FormatName = "csv"
DEFAULT_LAYOUT: Layout = "wide"
DEFAULT_EXPORT_RANGE = ALL

_KNOWN = ("metric", "start", "end", "range", "format", "layout", "tz", "gzip")
_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True)
class ExportRequest:
    """A checked request; [begin, end) in microseconds since 1970 UTC. `gzip`: the file itself is packed."""

    metrics: Sequence[str]
    begin: int
    end: int
    window: str
    file_format: FormatName
    layout: Layout
    zone: tzinfo
    gzip: bool

    def file_name(self, device_id: str) -> str:
        """Return a name for the file that is safe on every system."""
        # An id has ASCII letters, digits and `. _ : -`, of which some systems do not take the colon.
        suffix = FORMATS[self.file_format].suffix + (".gz" if self.gzip else "")
        return f"{device_id.replace(':', '_')}_{self.window}{suffix}"


def read_export(query: QueryDict, *, now: datetime) -> ExportRequest:
    """Return what the query asks for. Raises `BadParameter` that names the parameter and the remedy."""
    check_names(query, _KNOWN)
    file_format = _word(query, "format", tuple(FORMATS), DEFAULT_FORMAT)
    layout = _word(query, "layout", LAYOUTS, DEFAULT_LAYOUT)
    gzip = _word(query, "gzip", ("0", "1"), "0") == "1"
    if file_format != "csv" and gzip:
        raise BadParameter("gzip", f"gzip is for format=csv; {FORMATS[file_format].label} need not be packed")
    if file_format != "csv" and "tz" in query:
        raise BadParameter("tz", f"tz is for format=csv; {FORMATS[file_format].label} holds instants in UTC")
    begin, end, window = _range(query, now=now)
    return ExportRequest(
        metrics=list(dict.fromkeys(query.getlist("metric"))),
        begin=begin,
        end=end,
        window=window,
        file_format=file_format,
        layout=layout,
        zone=read_zone(query.get("tz", "")) if "tz" in query else UTC,
        gzip=gzip,
    )


def _range(query: QueryDict, *, now: datetime) -> tuple[int, int, str]:
    """Return the range and a word for it. All readings are also those whose clock is ahead of ours."""
    start, end = read_window(query, now=now, default=DEFAULT_EXPORT_RANGE)
    if start is None:
        return OLDEST, NO_END, ALL
    return to_microseconds(start), to_microseconds(end), f"{_compact(start)}-{_compact(end)}"


def _compact(instant: datetime) -> str:
    return f"{instant:%Y%m%dT%H%M%SZ}"


def _word(query: QueryDict, name: str, known: Sequence[_Word], default: _Word) -> _Word:
    asked = query.get(name, default)
    for word in known:
        if word == asked:
            return word
    raise BadParameter(name, f"{name} {asked[:20]!r} is not one of {', '.join(known)}")
