"""What the API does with a file that was received: says how it is read, and queues it or counts it."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.web.devices.models import Device
from joulebook.web.history.parameters import BadParameter
from joulebook.web.imports.api_answers import import_answer
from joulebook.web.imports.api_parameters import ImportParameters
from joulebook.web.imports.api_problems import Unanswered
from joulebook.web.imports.api_shapes import (
    DryRunAnswer,
    FileAnswer,
    QueuedAnswer,
    question_answer,
    row_answer,
    settings_answer,
)
from joulebook.web.imports.operations import ImportOrder, create_draft, queue_import, shown_name
from joulebook.web.imports.profiles import find_profile
from joulebook.web.imports.reading import UploadedFile, a_place, long_slot
from joulebook.web.imports.uploads import Upload, remove_upload


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
