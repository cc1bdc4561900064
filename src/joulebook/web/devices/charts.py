"""What the scripts of a page know of a metric before they fetch its readings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import own_silence_limit
from joulebook.web.display import metric_colour


def charted_metric(settings: MetricSettings, device: Device, position: int = 0) -> dict[str, Any]:
    """Return a metric for the scripts (`MetricInfo` in panel.js); `position` is its place on the page."""
    silence: timedelta | None = settings.silence_limit or own_silence_limit(device)
    return {
        "metric": settings.name,
        "label": settings.display_name,
        "unit": settings.unit,
        "factor": settings.factor,
        "replacements": [each.replaced_at.timestamp() for each in settings.replacements],
        "silence": None if silence is None else silence.total_seconds(),
        "coversBefore": settings.covers_before,
        "form": settings.form,
        "colour": metric_colour(settings.name, position),
    }
