"""What the API does with a file that was received: says how it is read, and queues it or counts it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import transaction
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParserError
from django.utils.datastructures import MultiValueDict
from ninja.errors import HttpError
from ninja.security import SessionAuth

from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.web.api.parameters import BadParameter
from joulebook.web.devices.models import Device
from joulebook.web.imports.api.answers import (
    DryRunAnswer,
    FileAnswer,
    QueuedAnswer,
    import_answer,
    question_answer,
    row_answer,
    settings_answer,
)
from joulebook.web.imports.api.parameters import ImportParameters
from joulebook.web.imports.api.problems import Unanswered
from joulebook.web.imports.operations import ImportOrder, create_draft, queue_import, shown_name
from joulebook.web.imports.profiles import find_profile
from joulebook.web.imports.reading import UploadedFile, a_place, long_slot
from joulebook.web.imports.uploads.files import (
    NoRoom,
    Upload,
    check_disk,
    check_upload_size,
    receiving,
    remove_upload,
)
from joulebook.web.imports.uploads.handler import ReceivedFile, UploadHandler
from joulebook.web.imports.uploads.quotas import check_uploads

PART = "file"
_CHUNK = 1 << 20


class SessionOfAPage(SessionAuth):
    """The session's cookie together with the CSRF token as X-CSRFToken: the body is not looked at for it.

    Django would look for the token in a form first, and so read the body before anybody knows whether
    its sender may send a file.
    """

    def _get_key(self, request: HttpRequest) -> str | None:
        request._post, request._files = QueryDict(), MultiValueDict()  # type: ignore[attr-defined]
        try:
            return super()._get_key(request)
        finally:
            del request._post, request._files  # type: ignore[attr-defined]


def is_form(request: HttpRequest) -> bool:
    """Say whether the file is a part of a form; else it is the whole body, whatever its type."""
    return request.content_type == "multipart/form-data"


@contextmanager
def received(request: HttpRequest) -> Iterator[tuple[Upload, str, QueryDict]]:
    """Give the upload, its sender's name for it, and the fields of the form; remove it if that fails.

    Raises `UploadTooLarge`, `NoRoom`, `QuotaReached`, and `HttpError` 400 for what cannot be taken in.
    """
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    check_disk(size)
    check_uploads(cast("User", request.user), size=size)
    try:
        upload, name, fields = _of_form(request) if is_form(request) else _of_body(request)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoRoom("the disk has no room for the file; who runs this server can make some") from exc
    try:
        yield upload, name, fields
    except BaseException:
        remove_upload(upload.name)
        raise


def _of_body(request: HttpRequest) -> tuple[Upload, str, QueryDict]:
    check_upload_size(int(request.META.get("CONTENT_LENGTH") or 0))
    with receiving() as writer:
        while chunk := request.read(_CHUNK):
            writer.write(chunk)
        return writer.finish(), "", QueryDict()


def _of_form(request: HttpRequest) -> tuple[Upload, str, QueryDict]:
    handler = UploadHandler(request)
    request.upload_handlers = [handler]
    try:
        return _only_file(request)
    except BaseException as exc:
        # The parser tells a handler of some faults only.
        handler.upload_interrupted()
        if handler.refusal is not None:
            raise handler.refusal from exc
        if isinstance(exc, MultiPartParserError | RequestDataTooBig | SuspiciousOperation):
            detail = f"the form cannot be taken in ({exc}); send one part {PART!r} and a few fields"
            raise HttpError(400, detail) from exc
        raise


def _only_file(request: HttpRequest) -> tuple[Upload, str, QueryDict]:
    fields = request.POST
    files: list[Any] = [file for name in request.FILES for file in request.FILES.getlist(name)]
    if len(files) != 1 or PART not in request.FILES or not isinstance(files[0], ReceivedFile):
        raise HttpError(400, f"the form has {len(files)} files; send one, as the part {PART!r}")
    return files[0].upload, files[0].name or "", fields


def bring(
    user: User, asked: ImportParameters, upload: Upload, *, device: Device, name: str
) -> QueuedAnswer | DryRunAnswer:
    """Queue the import of an upload, or say what it would do and remove the upload.

    Raises `FileError`, `Unanswered`, `UnableToImport` and `TooManyFiles`; the caller removes the upload then.
    """
    shown = shown_name(name)
    profile = find_profile(user, asked.profile) if asked.profile else None
    file = UploadedFile(upload, name=shown)
    if asked.sheet and not file.is_workbook:
        raise BadParameter("sheet", f"sheet {asked.sheet[:80]!r}: the file is no workbook, and has no sheets")
    with a_place():
        file.check_size_inflated()
        layout = file.layout(asked.given, profile=profile, device_tz=device.time_zone, sheet=asked.sheet)
        if any(question.is_required for question in layout.questions):
            raise Unanswered([question_answer(question) for question in layout.questions])
    if asked.is_dry_run:
        with long_slot(user.pk):
            return _dry_run(file, layout, upload, device=device)
    order = ImportOrder(
        layout.profile, layout.columns, device, on_conflict=asked.on_conflict, is_strict=asked.is_strict
    )
    # In one transaction, so that nobody meets the draft.
    with transaction.atomic():
        import_ = create_draft(user, upload, name=shown, device=device, is_queued_next=True)
        queue_import(import_, order, force=asked.is_forced)
    return QueuedAnswer(
        **dict(import_answer(import_)),
        settings=settings_answer(layout.settings),
        questions=[question_answer(question) for question in layout.questions],
    )


def _dry_run(file: UploadedFile, layout: FileLayout, upload: Upload, *, device: Device) -> DryRunAnswer:
    first = file.first_rows(layout)
    answer = DryRunAnswer(
        device=device.device_id,
        file=FileAnswer(name=file.name, size=upload.size, sha256=upload.sha256),
        profile=layout.profile.as_json(),
        settings=settings_answer(layout.settings),
        questions=[question_answer(question) for question in layout.questions],
        rows=[row_answer(row, first.values) for row in first.rows],
        report=file.count(layout).as_json(),
    )
    remove_upload(upload.name)
    return answer
