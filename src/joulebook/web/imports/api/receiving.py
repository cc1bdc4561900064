"""Receiving a file by the API: stored as an upload, then queued, or counted in a dry run."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import transaction
from django.http import QueryDict
from django.http.multipartparser import MultiPartParserError
from ninja.errors import HttpError

from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.web.accounts.authentication import SignedInRequest
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
from joulebook.web.imports.api.problems import OpenQuestions
from joulebook.web.imports.operations import (
    ImportOrder,
    check_upload_quota,
    create_draft,
    printable_name,
    queue_import,
)
from joulebook.web.imports.profiles import find_profile
from joulebook.web.imports.uploads.files import (
    DiskFull,
    Upload,
    check_disk,
    check_upload_size,
    name_of_several,
    pack,
    remove_upload,
    upload_writer,
)
from joulebook.web.imports.uploads.reading import ReadableUpload, dry_run_slot, reading_slot
from joulebook.web.imports.uploads.receiving import ReceivedFile, UploadHandler

PART = "file"
_CHUNK = 1 << 20


def is_form(request: SignedInRequest) -> bool:
    """Return whether the file is a part of a form; otherwise it is the whole body, of any type."""
    return request.content_type == "multipart/form-data"


@contextmanager
def received_upload(request: SignedInRequest) -> Iterator[tuple[Upload, str, QueryDict]]:
    """Yield the upload, its sender's name for it, and the fields of the form; an exception removes it.

    Raises `UploadTooLarge`, `DiskFull`, `QuotaReached`, and `HttpError` 400 for an unusable body.
    """
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    check_disk(size)
    check_upload_quota(request.user, size=size)
    try:
        if is_form(request):
            upload, name, fields = _receive_form(request)
        else:
            check_upload_size(size)
            with upload_writer() as writer:
                while chunk := request.read(_CHUNK):
                    writer.write(chunk)
                upload, name, fields = writer.finish(), "", QueryDict()
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            "the disk has no room for the file; the administrator of this server can free some"
        ) from exc
    try:
        yield upload, name, fields
    except BaseException:
        remove_upload(upload.name)
        raise


def _receive_form(request: SignedInRequest) -> tuple[Upload, str, QueryDict]:
    handler = UploadHandler(request)
    request.upload_handlers = [handler]
    try:
        files, fields = _files(request), request.POST
        named = [(file.upload, printable_name(file.name or "")) for file in files]
        upload = named[0][0] if len(named) == 1 else pack(named)
    except BaseException as exc:
        # The parser informs handlers of some faults only.
        handler.upload_interrupted()
        if handler.refusal is not None:
            raise handler.refusal from exc
        if isinstance(exc, MultiPartParserError | RequestDataTooBig | SuspiciousOperation):
            detail = f"the form cannot be read ({exc}); send parts {PART!r} and a few fields"
            raise HttpError(400, detail) from exc
        raise
    return upload, name_of_several([name for _, name in named]), fields


def _files(request: SignedInRequest) -> list[ReceivedFile]:
    files: list[Any] = [file for name in request.FILES for file in request.FILES.getlist(name)]
    if not files or set(request.FILES) != {PART} or not all(isinstance(each, ReceivedFile) for each in files):
        raise HttpError(400, f"the form has {len(files)} files; send one or more, each as a part {PART!r}")
    return files


def queue_or_count(
    user: User, parameters: ImportParameters, upload: Upload, *, device: Device, name: str
) -> QueuedAnswer | DryRunAnswer:
    """Queue the import of an upload; in a dry run count its readings and remove the upload.

    Raises `FileError`, `OpenQuestions`, `UnableToImport` and `TooManyFiles`; the caller then removes the
    upload.
    """
    shown_name = printable_name(name)
    profile = find_profile(user, parameters.profile) if parameters.profile else None
    file = ReadableUpload(upload.name, name=shown_name)
    with reading_slot():
        file.check_inflated_size()
        layout = file.layout(parameters.given, profile=profile, device_tz=device.time_zone)
        if any(question.is_required for question in layout.questions):
            raise OpenQuestions([question_answer(question) for question in layout.questions])
    if parameters.is_dry_run:
        with dry_run_slot(user.pk):
            return _dry_run(file, layout, upload, device=device)
    order = ImportOrder(
        layout.profile,
        layout.columns,
        device,
        on_conflict=parameters.on_conflict,
        is_strict=parameters.is_strict,
        members=layout.members,
    )
    # In one transaction, so that the draft is never visible.
    with transaction.atomic():
        import_ = create_draft(user, upload, name=shown_name, device=device, is_queued_next=True)
        queue_import(import_, order, force=parameters.is_forced)
    return QueuedAnswer(
        **dict(import_answer(import_)),
        settings=settings_answer(layout.settings),
        questions=[question_answer(question) for question in layout.questions],
    )


def _dry_run(file: ReadableUpload, layout: FileLayout, upload: Upload, *, device: Device) -> DryRunAnswer:
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
