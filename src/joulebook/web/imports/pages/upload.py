"""`/imports/`: the list of imports, and the form for uploading files as drafts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from joulebook.telemetry.files.errors import FileError, FileTooLarge
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import (
    QuotaReached,
    check_upload_quota,
    create_draft,
    printable_name,
)
from joulebook.web.imports.pages.words import on_page
from joulebook.web.imports.queries import visible_imports
from joulebook.web.imports.uploads.files import DiskFull, check_disk
from joulebook.web.imports.uploads.reading import ReadableUpload, TooManyFiles, reading_slot
from joulebook.web.imports.uploads.receiving import ReceivedFile, UploadHandler

ON_A_PAGE = 25
MOST_FILES = 50
"""The most files in one form."""


@dataclass
class _Uploaded:
    """The drafts made from the files of a form, and the problems of the other files."""

    drafts: list[Import]
    problems: list[str]
    status: int = 400


@csrf_exempt
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def imports_page(request: SignedInRequest) -> HttpResponse:
    """Show the imports visible to the user, or receive files.

    The user is checked before the first byte is read, the form's CSRF token after that.
    """
    if request.method != "POST":
        return _page(request)
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    try:
        check_disk(size)
        check_upload_quota(request.user, size=size)
    except DiskFull as exc:
        return _refused(request, [on_page(exc)], 507)
    except QuotaReached as exc:
        return _refused(request, [on_page(exc)], 409)
    handler = UploadHandler(request)
    request.upload_handlers = [handler]
    try:
        response = _upload(request, handler)
    except BaseException:
        handler.upload_interrupted()
        raise
    if response.status_code == 403:
        handler.upload_interrupted()
    return response


@csrf_protect
def _upload(request: SignedInRequest, handler: UploadHandler) -> HttpResponse:
    user = request.user
    files = cast("list[ReceivedFile]", request.FILES.getlist("file"))
    if handler.refusal is not None:
        status = 507 if isinstance(handler.refusal, DiskFull) else 413
        return _refused(request, [on_page(handler.refusal, name="the file")], status)
    for name in request.FILES:
        if name != "file":
            _discard(cast("list[ReceivedFile]", request.FILES.getlist(name)))
    if not files or len(files) > MOST_FILES:
        _discard(files)
        too_many = f"Choose at most {MOST_FILES} files at once."
        return _refused(request, [too_many if files else "Choose a file first."], 400)
    device = _device(request, user)
    uploaded = _create_drafts(files, user, device)
    if not uploaded.drafts:
        return _refused(request, uploaded.problems, uploaded.status)
    for problem in uploaded.problems:
        messages.error(request, problem)
    if len(uploaded.drafts) == 1 and not uploaded.problems:
        target = reverse("import", args=[uploaded.drafts[0].pk])
    else:
        messages.success(
            request, f"{len(uploaded.drafts)} files are uploaded; preview each before importing it."
        )
        target = reverse("imports")
    return JsonResponse({"location": target}) if _is_script(request) else redirect(target)


def _create_drafts(files: list[ReceivedFile], user: User, device: Device | None) -> _Uploaded:
    uploaded = _Uploaded([], [])
    good: list[tuple[ReceivedFile, str]] = []
    for file in files:
        name = printable_name(file.name or "")
        try:
            with reading_slot():
                ReadableUpload(file.upload.name, name=name).check()
        except (FileError, TooManyFiles) as exc:
            file.discard()
            uploaded.problems.append(on_page(exc, name=name))
            if isinstance(exc, FileTooLarge):
                uploaded.status = 413
            elif isinstance(exc, TooManyFiles):
                uploaded.status = 503
        else:
            good.append((file, name))
    # After reading the files: reading may take long, and the transaction blocks other writers of accounts.
    with transaction.atomic():
        for file, name in good:
            try:
                uploaded.drafts.append(create_draft(user, file.upload, name=name, device=device))
            except QuotaReached as exc:
                file.discard()
                uploaded.problems.append(f"{name}: {exc}.")
                uploaded.status = 409
    return uploaded


def _discard(files: list[ReceivedFile]) -> None:
    for file in files:
        file.discard()


def _device(request: SignedInRequest, user: User) -> Device | None:
    """Return the chosen device if the user owns it."""
    chosen = request.POST.get("device") or request.GET.get("device") or ""
    return Device.objects.filter(owner=user, device_id=chosen).first()


def _is_script(request: SignedInRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _refused(request: SignedInRequest, problems: list[str], status: int) -> HttpResponse:
    if _is_script(request):
        return JsonResponse({"problems": problems}, status=status)
    return _page(request, problems=problems, status=status)


def _page(request: SignedInRequest, *, problems: list[str] | None = None, status: int = 200) -> HttpResponse:
    user = request.user
    pages = Paginator(visible_imports(user), ON_A_PAGE)
    page = pages.get_page(request.GET.get("page"))
    device = _device(request, user)
    context: dict[str, Any] = {
        "page": page,
        "imports": page.object_list,
        "devices": Device.objects.filter(owner=user),
        "device": device,
        "tz": profile_of(user).time_zone,
        "now": timezone.now(),
        "problems": problems or [],
        "query": urlencode({"device": device.device_id}) if device else "",
    }
    return render(request, "imports/list.html", context, status=status)
