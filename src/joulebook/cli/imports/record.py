"""The record of an import that the command runs itself, under a lease as a worker's."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.utils import timezone

from joulebook.cli.imports.order import ImportOrder
from joulebook.config import Config
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.web.devices.models import Device
from joulebook.web.imports import leases
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import shown_name
from joulebook.web.imports.queries import find_earlier
from joulebook.worker.heart import Heart
from joulebook.worker.presence import Presence

if TYPE_CHECKING:
    from django.contrib.auth.models import User

State = Import.State

ENDED_BY_AN_ERROR = "ended by an error in Joulebook itself"


def earlier_import(
    order: ImportOrder, device: Device, source: FileSource, layout: FileLayout
) -> Import | None:
    """Return an import of the same bytes for the same device, read the same way; None without one.

    The file is read for that only where there is one of its size. Raises OSError.
    """
    if not Import.objects.filter(device=device, file_size__in=(0, source.size)).exists():
        return None
    with order.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return find_earlier(Import(device=device, file_sha256=sha256, profile=layout.profile.as_json()))


@contextmanager
def recorded(
    order: ImportOrder,
    device: Device,
    *,
    user: User | None,
    source: FileSource,
    layout: FileLayout,
    config: Config,
) -> Iterator[Import]:
    """Record that an import runs, and keep its lease until `finish` or, where that is not reached, an error.

    The record's key is the `import_id` of its readings. A command that is killed leaves a record that the
    next worker ends.
    """
    # The command tells its user itself what becomes of the import.
    logging.getLogger(leases.__name__).setLevel(logging.WARNING)
    with Presence(config.home) as presence, Heart() as heart:
        now = timezone.now()
        record = Import.objects.create(
            device=device,
            user=user,
            file_name=shown_name(source.name),
            file_size=source.size,
            profile=layout.profile.as_json(),
            columns=list(layout.columns),
            on_conflict=Import.OnConflict(order.on_conflict),
            is_strict=order.is_strict,
            state=State.RUNNING,
            lease=1,
            leased_by=presence.name,
            heartbeat_at=now,
            started_at=now,
        )
        named = {value.device for value in layout.profile.values} - {""}
        record.devices.set([device, *Device.objects.filter(device_id__in=named)])
        heart.hold([record])
        try:
            yield record
        finally:
            heart.hold([])
            if record.state == State.RUNNING:
                leases.finish(record, State.FAILED, problem=ENDED_BY_AN_ERROR)


def finish(
    record: Import, state: Import.State, *, report: ImportReport | None, sha256: str, problem: str
) -> None:
    """Record how an import ended and what became of the file, and say the units of its metrics."""
    Import.objects.filter(pk=record.pk, lease=record.lease).update(file_sha256=sha256)
    record.file_sha256 = sha256
    leases.finish(record, state, report=report, problem=problem)
    # Where somebody has taken it over, it is theirs to end.
    record.state = state
