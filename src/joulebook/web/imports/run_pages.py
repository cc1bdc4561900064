"""The pages of an import that was ordered: its progress, its report, and taking it back."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from joulebook.web.accounts.operations import profile_of
from joulebook.web.imports.api_rejected import rejected_rows
from joulebook.web.imports.draft_pages import draft_page, visible_import
from joulebook.web.imports.htmx import part_login_required
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import UnableToImport, cancel_import, undo_import
from joulebook.web.imports.run_report import run_progress, run_report

ACTIVE = frozenset({Import.State.QUEUED, Import.State.RUNNING, Import.State.UNDOING})
CAN_BE_UNDONE = frozenset({Import.State.DONE, Import.State.FAILED, Import.State.CANCELLED})


@login_required
@require_safe
@never_cache
def import_page(request: HttpRequest, number: int) -> HttpResponse:
    """Show an import by its state: a draft, its progress, or its report."""
    import_ = visible_import(request, number)
    if import_.state == Import.State.DRAFT:
        return draft_page(request, import_)
    if import_.state in ACTIVE:
        return render(request, "imports/running.html", _progress_context(import_))
    return render(request, "imports/report.html", _report_context(request, import_))


@part_login_required
@require_safe
@never_cache
def progress(request: HttpRequest, number: int) -> HttpResponse:
    """Show how far an import is; once it has ended, have the whole page loaded again."""
    import_ = visible_import(request, number)
    if import_.state not in ACTIVE:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "imports/_progress.html", _progress_context(import_))


@login_required
@require_POST
def cancel(request: HttpRequest, number: int) -> HttpResponse:
    """Stop an import; what is stored stays until it is undone."""
    import_ = visible_import(request, number)
    try:
        cancel_import(import_)
    except UnableToImport as exc:
        messages.error(request, f"It cannot be stopped: {exc}.")
    return redirect("import", number)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def undo(request: HttpRequest, number: int) -> HttpResponse:
    """Ask whether everything that an import has stored shall go; by POST have it taken back."""
    import_ = visible_import(request, number)
    if import_.state not in CAN_BE_UNDONE:
        return redirect("import", number)
    if request.method != "POST":
        return render(request, "imports/undo.html", _report_context(request, import_))
    try:
        undo_import(import_, by=cast("User", request.user))
    except UnableToImport as exc:
        messages.error(request, f"It cannot be undone: {exc}.")
    return redirect("import", number)


@login_required
@require_safe
@never_cache
def rejected(request: HttpRequest, number: int) -> HttpResponseBase:
    """Send every row and cell that was not stored, as CSV."""
    return rejected_rows(visible_import(request, number), person=cast("User", request.user).pk)


def _progress_context(import_: Import) -> dict[str, object]:
    return {"import": import_, "progress": run_progress(import_, now=timezone.now())}


def _report_context(request: HttpRequest, import_: Import) -> dict[str, object]:
    return {
        "import": import_,
        "report": run_report(import_),
        "can_be_undone": import_.state in CAN_BE_UNDONE,
        "tz": import_.device.time_zone
        if import_.device
        else profile_of(cast("User", request.user)).time_zone,
        "now": timezone.now(),
    }
