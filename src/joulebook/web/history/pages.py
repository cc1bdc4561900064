"""The page of one device: its charts, and the form for exports."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.telemetry.kinds.settings import SettingsByMetric
from joulebook.telemetry.readings import to_microseconds
from joulebook.time_zones import ZoneInfo, time_zone_names
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.accounts.operations import profile_of
from joulebook.web.corrections.pages import shown_corrections
from joulebook.web.devices.charts import charted_metric
from joulebook.web.devices.connecting import (
    first_reading_command,
    ingest_origin,
    new_token_command,
    readings_url,
)
from joulebook.web.devices.gate import device_of_page
from joulebook.web.devices.models import Device
from joulebook.web.devices.pages import DeviceRow, device_rows
from joulebook.web.devices.queries import metric_settings
from joulebook.web.history.export.page import ExportForm
from joulebook.web.telemetry import device_series

# The first panels of a device with many metrics; `device-page.js` has the same number.
_FIRST_METRICS = 8
_LISTED_CORRECTIONS = 10


@login_required
@require_safe
@never_cache
def device_page(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Show one device."""
    user, device = request.user, device_of_page(request, device_id)
    now = timezone.now()
    [row] = device_rows([device], now=now)
    series = device_series(device.device_id)
    settings = metric_settings(device, series)
    metrics = _metrics(device, list(series), settings)
    # Panels exist before the script runs: those of the address, if any.
    asked = request.GET.getlist("metric")
    skeletons = [each for each in metrics if each["metric"] in asked] or metrics[:_FIRST_METRICS]
    # The offered zones, the device's own first.
    zones = [device.time_zone, profile_of(user).time_zone, "UTC"]
    if (zone := request.GET.get("tz")) in time_zone_names():
        zones.append(zone)
    response = render(
        request,
        "devices/device.html",
        {
            "row": row,
            "device": device,
            "now": now,
            "presets": [*RANGES, ALL],
            "export_form": ExportForm.of(request.GET, device),
            "skeletons": skeletons,
            "corrections": shown_corrections(device, settings, most=_LISTED_CORRECTIONS),
            "page_data": _page_data(
                row,
                metrics,
                zones=list(dict.fromkeys(zones)),
                now=now,
                is_owner=device.owner_id == user.pk,
            ),
            "token_command": new_token_command(device.device_id),
            "curl_command": first_reading_command(readings_url(request)),
        },
    )
    # This page alone speaks to ingest: its charts follow the live feed.
    response._csp_update = {"connect-src": [ingest_origin(request)]}  # type: ignore[attr-defined]
    return response


def _metrics(device: Device, names: list[str], settings: SettingsByMetric) -> list[dict[str, Any]]:
    """Return each metric's settings for the page, in the order of the panels: power first."""
    names = sorted(names, key=lambda name: (name != "power", "power" not in name, name))
    return [charted_metric(settings[name], device, position) for position, name in enumerate(names)]


def _page_data(
    row: DeviceRow, metrics: list[dict[str, Any]], *, zones: list[str], now: datetime, is_owner: bool
) -> dict[str, Any]:
    """Return the data for the page's scripts."""
    device = row.device
    # A range may be entered since 1970. Each answer brings later offsets to an open page.
    until = to_microseconds(now + timedelta(days=366))
    last = row.overview.time if row.overview else None
    return {
        "device": device.device_id,
        "history": reverse("api:history", args=[device.device_id]),
        "liveTicket": reverse("api:live-ticket", args=[device.device_id]),
        "signIn": reverse("sign-in"),
        "zone": device.time_zone,
        "zones": zones,
        "offsets": {name: offsets_over(ZoneInfo(name), 0, until) for name in zones},
        "lastTime": last.timestamp() if last else None,
        "silenceLimit": device.silence_limit,
        "metrics": metrics,
        "corrections": reverse("api:post_correction") if is_owner else "",
        "correctionsPage": reverse("device-corrections", args=[device.device_id]),
    }
