"""The page with the list of the visible devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.history.overview import DeviceOverview, read_overviews
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.devices.connecting import first_reading_command, new_device_command, readings_url
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import settings_by_device, silence_limit, visible_devices
from joulebook.web.devices.status import DeviceStatus, device_status, last_seen
from joulebook.web.display import metric_colour
from joulebook.web.telemetry import telemetry_connection


@dataclass(frozen=True)
class DeviceRow:
    """One line of the list of devices. `time` is the instant of the newest reading of any metric."""

    device: Device
    overview: DeviceOverview | None
    status: str
    colour: str
    time: datetime | None = None


@login_required
@require_safe
@never_cache
def device_list(request: SignedInRequest) -> HttpResponse:
    """Show the user's devices; with `?rows` only the lines, with `?rows=<id>` only that device's line.

    The page's script refreshes the lines by these.
    """
    now = timezone.now()
    chosen = visible_devices(request.user)
    if device_id := request.GET.get("rows"):
        chosen = chosen.filter(device_id=device_id)
    context = {
        "rows": device_rows(list(chosen), now=now),
        "now": now,
        "add_command": new_device_command(request.user.get_username()),
        "curl_command": first_reading_command(readings_url(request)),
    }
    template = "devices/_rows.html" if "rows" in request.GET else "devices/list.html"
    return render(request, template, context)


def device_rows(devices: Sequence[Device], *, now: datetime) -> list[DeviceRow]:
    """Return the devices' lines. Only for a late main metric all metrics of its device are read."""
    if not devices:
        return []
    settings = settings_by_device(devices)
    with telemetry_connection() as conn:
        overviews = read_overviews(conn, settings, now=now)
    rows = []
    for device in devices:
        overview = overviews.get(device.device_id)
        if overview is None or overview.time is None:
            rows.append(DeviceRow(device, None, DeviceStatus.WAITING.value, "load"))
            continue
        status = device_status(overview.time, limit=silence_limit(device), now=now)
        colour = metric_colour(overview.metric)
        rows.append(DeviceRow(device, overview, status.value, colour, overview.time))
    newest = last_seen([row.device.device_id for row in rows if row.status == DeviceStatus.SILENT.value])
    for position, row in enumerate(rows):
        if (seen := newest.get(row.device.device_id)) is not None:
            limit = silence_limit(row.device, usual=seen.usual)
            status = device_status(seen.time, limit=limit, now=now)
            rows[position] = replace(row, status=status.value, time=seen.time)
    return rows
