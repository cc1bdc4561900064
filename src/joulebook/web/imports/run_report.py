"""What the pages of an import tell of its run: how far it is, and the account of what became of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db import OperationalError
from django.urls import reverse

from joulebook.telemetry.errors import DatabaseAway
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.imports.progress import Progress, read_progress
from joulebook.web.devices.models import Device
from joulebook.web.history.queries import telemetry_connection
from joulebook.web.imports.leases import LEASE_TIME
from joulebook.web.imports.models import Import

PATIENCE = timedelta(seconds=15)
"""After waiting for so long, a page asks whether there is a worker."""

LISTED = 20
"""Problems that a report shows; the list that can be fetched has all of them."""

State = Import.State
_HELD = (State.RUNNING, State.UNDOING)


@dataclass(frozen=True)
class RunProgress:
    """How far an import is: `percent` of the file's bytes, and counts until now.

    `doubt` says what may be wrong where nothing happens.
    """

    percent: int
    bytes_read: int
    rows: int = 0
    stored: int = 0
    problems: int = 0
    removed: int = 0
    doubt: str = ""


@dataclass(frozen=True)
class ReportColumn:
    """What became of one column: its counts, and where its chart is."""

    counts: Mapping[str, Any]
    device: Device | None
    chart: str


@dataclass(frozen=True)
class RunReport:
    """The account of a run, as `ImportReport.as_json` gives it, and what a page adds."""

    whole: Mapping[str, Any]
    columns: Sequence[ReportColumn]
    problems: Sequence[Mapping[str, Any]]
    first: datetime | None
    last: datetime | None


def run_progress(import_: Import, *, now: datetime) -> RunProgress:
    """Return how far an import is. A database that is away tells nothing new, and is in `doubt`."""
    try:
        with telemetry_connection() as conn:
            found = read_progress(conn, import_.pk)
    except (DatabaseAway, OperationalError):
        return RunProgress(
            0, 0, doubt="The database of the readings does not answer; it goes on when it does."
        )
    doubt = _doubt(import_, now)
    if found is None:
        return RunProgress(0, 0, doubt=doubt)
    counts = _counts(found)
    size = import_.file_size
    return RunProgress(
        percent=min(100, 100 * found.bytes_read // size) if size else 0,
        bytes_read=found.bytes_read,
        removed=int((found.undo or {}).get("removed", 0)),
        doubt=doubt,
        **counts,
    )


def run_report(import_: Import) -> RunReport | None:
    """Return the account of an import; None where it was not begun."""
    whole = import_.report
    if whole is None:
        with telemetry_connection() as conn:
            found = read_progress(conn, import_.pk)
        if found is None or found.report is None:
            return None
        whole = ImportReport.from_state(found.report).as_json()
    first, last = (_instant(whole.get(name)) for name in ("first_time", "last_time"))
    return RunReport(whole, _columns(import_, whole, first, last), whole["problems"][:LISTED], first, last)


def _counts(found: Progress) -> dict[str, int]:
    if found.report is None:
        return {}
    report = ImportReport.from_state(found.report)
    return {
        "rows": report.rows_read,
        "stored": report.stored + report.replaced,
        "problems": report.problem_count,
    }


def _doubt(import_: Import, now: datetime) -> str:
    if import_.state == State.RUNNING or import_.leased_by:
        heard = import_.heartbeat_at
        if heard is not None and now - heard > LEASE_TIME:
            return (
                "Its worker has not been heard of for more than a minute; another one takes over where it "
                "stopped. Is a worker running?"
            )
        return ""
    others = Import.objects.filter(
        heartbeat_at__gt=now - LEASE_TIME, state__in=[State.RUNNING, State.UNDOING]
    )
    since = import_.queued_at or import_.created_at
    if import_.state == State.QUEUED and now - since > PATIENCE:
        if others.exclude(pk=import_.pk).exists():
            return "Other files are imported first."
        return "No worker has taken it yet. Is the worker running? Start it with: joulebook up"
    return ""


def _columns(
    import_: Import, whole: Mapping[str, Any], first: datetime | None, last: datetime | None
) -> list[ReportColumn]:
    """Return the columns with their devices; those of keys that came up on the way belong to the import's."""
    devices = {device.device_id: device for device in import_.devices.all()}
    values = import_.profile.get("values", [])
    columns = []
    for position, counts in enumerate(whole["columns"]):
        named = values[position].get("device", "") if position < len(values) else ""
        device = devices.get(named) if named else import_.device
        columns.append(ReportColumn(counts, device, _chart(device, counts["metric"], first, last)))
    return columns


def _chart(device: Device | None, metric: str, first: datetime | None, last: datetime | None) -> str:
    """Return where the readings of the file are seen: the range of its times, and a little more."""
    if device is None or first is None or last is None:
        return ""
    margin = max(timedelta(minutes=1), (last - first) / 100)
    query = {
        "start": (first - margin).isoformat(),
        "end": (last + margin).isoformat(),
        "metric": metric,
        "tz": device.time_zone,
    }
    return f"{reverse('device', args=[device.device_id])}?{urlencode(query)}"


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
