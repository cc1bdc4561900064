"""Keeps the record of an import in the accounts database: who, when, which file, and the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.report import ImportReport
from joulebook.web.devices.models import Device
from joulebook.web.devices.operations import set_metric_unit
from joulebook.web.imports.models import Import

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def start_import(device: Device, *, user: User | None, file_name: str, profile: ImportProfile) -> Import:
    """Record that an import has begun; the record's key is the `import_id` of its readings."""
    return Import.objects.create(device=device, user=user, file_name=file_name, profile=profile.as_json())


def finish_import(record: Import, report: ImportReport, *, sha256: str, problem: str) -> None:
    """Record how an import ended and what became of the file, and say the units of its metrics."""
    record.state = Import.State.FAILED if problem else Import.State.DONE
    record.problem = problem
    record.finished_at = timezone.now()
    record.file_sha256 = sha256
    record.rows_read = report.rows_read
    record.rows_rejected = report.rows_rejected.total()
    record.cells_stored = report.stored
    record.cells_duplicate = report.duplicate
    record.cells_conflict = report.conflict
    record.cells_na = report.na
    record.cells_malformed = report.malformed
    record.save()
    for column in report.columns:
        if record.device and column.unit and column.readable and not column.device:
            set_metric_unit(record.device, column.metric, column.unit)
