"""What the record of an import keeps of a run: its counts, its report, and the units of its metrics."""

from __future__ import annotations

from typing import Any

from joulebook.telemetry.files.report import ImportReport
from joulebook.web.devices.operations import set_metric_unit
from joulebook.web.imports.models import Import


def counted(report: ImportReport) -> dict[str, Any]:
    """Return the fields of an `Import` that a report fills, by name."""
    return {
        "report": report.as_json(),
        "rows_read": report.rows_read,
        "rows_rejected": report.rows_rejected.total(),
        "cells_stored": report.stored,
        "cells_replaced": report.replaced,
        "cells_duplicate": report.duplicate,
        "cells_conflict": report.conflict,
        "cells_na": report.na,
        "cells_malformed": report.malformed,
    }


def say_units(import_: Import, report: ImportReport) -> None:
    """Say of each metric that the file has readings of in which unit the file gave them."""
    devices = {device.device_id: device for device in import_.devices.all()}
    for column in report.columns:
        device = devices.get(column.device) if column.device else import_.device
        if device is not None and column.unit and column.readable:
            set_metric_unit(device, column.metric, column.unit)
