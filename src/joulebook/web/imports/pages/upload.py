"""`/imports/`: the list of imports, and the form for uploading files as drafts."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
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
from joulebook.web.imports.uploads.files import DiskFull, UploadTooLarge, check_disk, name_of_several, pack
from joulebook.web.imports.uploads.reading import ReadableUpload, TooManyFiles, reading_slot
from joulebook.web.imports.uploads.receiving import ReceivedFile, UploadHandler

ON_A_PAGE = 25
MOST_FILES = 1000
"""The most files in one form."""


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
        too_many = f"Choose at most {MOST_FILES:,} files at once, or pack them into a zip archive."
        return _refused(request, [too_many if files else "Choose a file first."], 400)
    if len(files) > 1:
        try:
            files = [_packed(files)]
        except (UploadTooLarge, DiskFull) as exc:
            _discard(files)
            status = 507 if isinstance(exc, DiskFull) else 413
            return _refused(request, [on_page(exc, name="the files")], status)
    draft, problem, status = _create_draft(files[0], user, _device(request, user))
    if draft is None:
        return _refused(request, [problem], status)
    target = reverse("import", args=[draft.pk])
    return JsonResponse({"location": target}) if _is_script(request) else redirect(target)


def _packed(files: list[ReceivedFile]) -> ReceivedFile:
    """Return several files as one."""
    named = [(file.upload, printable_name(file.name or "")) for file in files]
    return ReceivedFile(name_of_several([name for _, name in named]), pack(named))


def _create_draft(file: ReceivedFile, user: User, device: Device | None) -> tuple[Import | None, str, int]:
    """Return a draft of the file; without one the problem and the status of the answer."""
    name = printable_name(file.name or "")
    try:
        with reading_slot():
            ReadableUpload(file.upload.name, name=name).check()
        # After reading the file: it may take long, and the transaction blocks other writers of accounts.
        return create_draft(user, file.upload, name=name, device=device), "", 200
    except (FileError, TooManyFiles) as exc:
        file.discard()
        status = 413 if isinstance(exc, FileTooLarge) else 503 if isinstance(exc, TooManyFiles) else 400
        return None, on_page(exc, name=name), status
    except QuotaReached as exc:
        file.discard()
        return None, f"{name}: {exc}.", 409


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
