"""The query of `GET /api/export/<device>`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from joulebook.telemetry.export.formats import FORMATS, FormatName
from joulebook.telemetry.export.frames import LAYOUTS, Layout
from joulebook.telemetry.export.reading import CORRECTED, NO_END, Corrected
from joulebook.telemetry.history.points import ALL
from joulebook.telemetry.readings import OLDEST, to_microseconds
from joulebook.web.api.parameters import BadParameter
from joulebook.web.history.parameters import RangeName, RangeQuery, Zone, one_of


class ExportQuery(RangeQuery):
    """Metrics, a range, and the kind of file. A bad value raises `BadParameter`."""

    range: RangeName = Field(ALL, description="instead of start and end, ending now")
    format: Annotated[FormatName, one_of(FORMATS)] = Field("csv", description="of the file")
    layout: Annotated[Layout, one_of(LAYOUTS)] = Field(
        "wide", description="wide: a column a metric; long: a row a reading"
    )
    tz: Zone = Field(None, description="IANA time zone of a CSV file's times; default: UTC")
    gzip: Annotated[Literal["0", "1"], one_of(("0", "1"))] = Field(
        "0", description="1: a compressed CSV file"
    )

    corrected: Annotated[Corrected, one_of(CORRECTED)] = Field(
        "with", description="with: readings as corrected; without: leave those out; original: all as sent"
    )

    @model_validator(mode="after")
    def _check_format(self) -> ExportQuery:
        label = FORMATS[self.format].label
        if self.format != "csv" and self.is_compressed:
            raise BadParameter("gzip", f"gzip is for format=csv; {label} need not be packed")
        if self.format != "csv" and self.tz is not None:
            raise BadParameter("tz", f"tz is for format=csv; {label} holds instants in UTC")
        return self

    @property
    def is_compressed(self) -> bool:
        """Whether the file itself is compressed."""
        return self.gzip == "1"

    def bounds(self, *, now: datetime) -> tuple[int, int, str]:
        """Return [begin, end) in microseconds since 1970 UTC, and a word for the file's name.

        All readings include those from a clock ahead of ours.
        """
        start, end = self.window(now=now)
        if start is None:
            return OLDEST, NO_END, ALL
        word = f"{start.astimezone(UTC):%Y%m%dT%H%M%SZ}-{end.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        return to_microseconds(start), to_microseconds(end), word

    def file_name(self, device_id: str, word: str) -> str:
        """Return a name for the file, safe on every system."""
        # An id has ASCII letters, digits and `. _ : -`; some systems refuse the colon.
        suffix = FORMATS[self.format].suffix + (".gz" if self.is_compressed else "")
        return f"{device_id.replace(':', '_')}_{word}{suffix}"
