"""The pages of a queued or ended import: its progress, its report, and its undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.imports.progress import read_progress
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import UnableToImport, cancel_import, undo_import
from joulebook.web.imports.pages.draft import draft_page, get_import_or_404, part_login_required
from joulebook.web.imports.rejected import rejected_csv
from joulebook.web.leases import LEASE_TIME
from joulebook.web.telemetry import telemetry_connection

PATIENCE = timedelta(seconds=15)
"""Time in the queue after which the page asks for a worker."""

LISTED = 20
"""Problems shown in a report; rejected.csv has all."""

State = Import.State
_HELD = (State.RUNNING, State.UNDOING)


@dataclass(frozen=True)
class RunProgress:
    """The progress of an import: `percent` of the file's bytes, and counts so far.

    `doubt` is the likely reason if nothing happens.
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
    """The counts of one column, and the address of its chart."""

    counts: Mapping[str, Any]
    device: Device | None
    chart: str


@dataclass(frozen=True)
class RunReport:
    """The report of a run in the form of `ImportReport.as_json`, with additions for the page."""

    whole: Mapping[str, Any]
    columns: Sequence[ReportColumn]
    problems: Sequence[Mapping[str, Any]]
    first: datetime | None
    last: datetime | None


def run_progress(import_: Import, *, now: datetime) -> RunProgress:
    """Return the progress of an import; `doubt` is set if the database is unavailable."""
    try:
        with telemetry_connection() as conn:
            found = read_progress(conn, import_.pk)
    except (DatabaseUnavailable, OperationalError):
        return RunProgress(
            0, 0, doubt="The database of the readings does not answer; the import continues when it does."
        )
    doubt = _doubt(import_, now)
    if found is None:
        return RunProgress(0, 0, doubt=doubt)
    report = None if found.report is None else ImportReport.from_state(found.report)
    size = import_.file_size
    return RunProgress(
        percent=min(100, 100 * found.bytes_read // size) if size else 0,
        bytes_read=found.bytes_read,
        removed=int((found.undo or {}).get("removed", 0)),
        doubt=doubt,
        rows=report.rows_read if report else 0,
        stored=report.stored + report.replaced if report else 0,
        problems=report.problem_count if report else 0,
    )


def run_report(import_: Import) -> RunReport | None:
    """Return the report of an import; None if it was never begun."""
    whole = import_.report
    if whole is None:
        with telemetry_connection() as conn:
            found = read_progress(conn, import_.pk)
        if found is None or found.report is None:
            return None
        whole = ImportReport.from_state(found.report).as_json()
    times = (whole.get(name) for name in ("first_time", "last_time"))
    first, last = (None if text is None else datetime.fromisoformat(text) for text in times)
    devices = {device.device_id: device for device in import_.devices.all()}
    values = import_.profile.get("values", [])
    columns = []
    for position, counts in enumerate(whole["columns"]):
        # Keys not in the profile belong to the import's device.
        named = values[position].get("device", "") if position < len(values) else ""
        device = devices.get(named) if named else import_.device
        columns.append(ReportColumn(counts, device, _chart(device, counts["metric"], first, last)))
    return RunReport(whole, columns, whole["problems"][:LISTED], first, last)


def _doubt(import_: Import, now: datetime) -> str:
    if import_.state == State.RUNNING or import_.leased_by:
        last_seen = import_.heartbeat_at
        if last_seen is not None and now - last_seen > LEASE_TIME:
            return (
                "Its worker was last seen more than a minute ago; another one continues from the point "
                "it reached. Is a worker running?"
            )
        return ""
    others = Import.objects.filter(
        heartbeat_at__gt=now - LEASE_TIME, state__in=[State.RUNNING, State.UNDOING]
    )
    since = import_.queued_at or import_.created_at
    if import_.state == State.QUEUED and now - since > PATIENCE:
        if others.exclude(pk=import_.pk).exists():
            return "Other files are imported first."
        return "No worker has begun it yet. Is the worker running? Start it with: joulebook up"
    return ""


def _chart(device: Device | None, metric: str, first: datetime | None, last: datetime | None) -> str:
    """Return the address of a chart over the file's time range, with a margin."""
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


ACTIVE = frozenset({Import.State.QUEUED, Import.State.RUNNING, Import.State.UNDOING})
CAN_BE_UNDONE = frozenset({Import.State.DONE, Import.State.FAILED, Import.State.CANCELLED})


@login_required
@require_safe
@never_cache
def import_page(request: SignedInRequest, number: int) -> HttpResponse:
    """Show an import by its state: a draft, its progress, or its report."""
    import_ = get_import_or_404(request, number)
    if import_.state == Import.State.DRAFT:
        return draft_page(request, import_)
    if import_.state in ACTIVE:
        return render(request, "imports/running.html", _progress_context(import_))
    return render(request, "imports/report.html", _report_context(request, import_))


@part_login_required
@require_safe
@never_cache
def progress(request: SignedInRequest, number: int) -> HttpResponse:
    """Show the progress of an import; once it has ended, reload the whole page."""
    import_ = get_import_or_404(request, number)
    if import_.state not in ACTIVE:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "imports/_progress.html", _progress_context(import_))


@login_required
@require_POST
def cancel(request: SignedInRequest, number: int) -> HttpResponse:
    """Stop an import; stored readings stay until it is undone."""
    import_ = get_import_or_404(request, number)
    try:
        cancel_import(import_)
    except UnableToImport as exc:
        messages.error(request, f"It cannot be stopped: {exc}.")
    return redirect("import", number)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def undo(request: SignedInRequest, number: int) -> HttpResponse:
    """Ask for confirmation of an undo; by POST request the undo."""
    import_ = get_import_or_404(request, number)
    if import_.state not in CAN_BE_UNDONE:
        return redirect("import", number)
    if request.method != "POST":
        return render(request, "imports/undo.html", _report_context(request, import_))
    try:
        undo_import(import_, by=request.user)
    except UnableToImport as exc:
        messages.error(request, f"It cannot be undone: {exc}.")
    return redirect("import", number)


@login_required
@require_safe
@never_cache
def rejected(request: SignedInRequest, number: int) -> HttpResponseBase:
    """Send every row and cell not stored, as CSV."""
    return rejected_csv(get_import_or_404(request, number), person=request.user.pk)


def _progress_context(import_: Import) -> dict[str, object]:
    return {"import": import_, "progress": run_progress(import_, now=timezone.now())}


def _report_context(request: SignedInRequest, import_: Import) -> dict[str, object]:
    return {
        "import": import_,
        "report": run_report(import_),
        "can_be_undone": import_.state in CAN_BE_UNDONE,
        "tz": import_.device.time_zone if import_.device else profile_of(request.user).time_zone,
        "now": timezone.now(),
    }
