"""The pages of devices: the list of mine, and one device with its charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.readings import to_microseconds
from joulebook.time_zones import ZoneInfo, time_zone_names
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.first_reading import (
    first_reading_command,
    ingest_origin,
    ingest_url,
    new_device_command,
    new_token_command,
)
from joulebook.web.devices.last_seen import LastSeen, last_seen
from joulebook.web.devices.metric_settings import metric_settings, silence_limit
from joulebook.web.devices.models import Device
from joulebook.web.devices.presentation import Status, device_status, metric_colour
from joulebook.web.devices.queries import find_visible_device, visible_devices
from joulebook.web.history.clocks import offsets_over
from joulebook.web.history.export_page import ExportForm
from joulebook.web.history.overview import DeviceOverview, device_overviews
from joulebook.web.history.parameters import ALL, RANGES
from joulebook.web.history.queries import series_of

# Panels that a device with many metrics begins with; `device-page.js` has the same number.
_FIRST_METRICS = 8


@dataclass(frozen=True)
class DeviceRow:
    """One line of the list of devices. `time` is the newest reading's, of whichever metric."""

    device: Device
    overview: DeviceOverview | None
    status: str
    colour: str
    time: datetime | None = None


@login_required
@require_safe
@never_cache
def device_list(request: HttpRequest) -> HttpResponse:
    """Show the user's devices; with `?rows` only the lines, with `?rows=<id>` only that device's line.

    The latter two are for the script that keeps what a page shows fresh.
    """
    user = cast("User", request.user)
    now = timezone.now()
    chosen = visible_devices(user)
    if device_id := request.GET.get("rows"):
        chosen = chosen.filter(device_id=device_id)
    context = {
        "rows": _rows(list(chosen), now=now),
        "now": now,
        "add_command": new_device_command(user.get_username()),
        "curl_command": first_reading_command(ingest_url(request)),
    }
    template = "devices/_rows.html" if "rows" in request.GET else "devices/list.html"
    return render(request, template, context)


@login_required
@require_safe
@never_cache
def device_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """Show one device. Another's device and none at all are the same 404."""
    user = cast("User", request.user)
    device = find_visible_device(user, device_id)
    if device is None:
        raise Http404("There is no such device, or it is not yours to see.")
    now = timezone.now()
    [row] = _rows([device], now=now)
    metrics = _metrics(device)
    response = render(
        request,
        "devices/device.html",
        {
            "row": row,
            "device": device,
            "now": now,
            "presets": [*RANGES, ALL],
            "export_form": ExportForm.of(request.GET, device),
            "skeletons": _skeletons(metrics, request.GET.getlist("metric")),
            "page_data": _page_data(row, metrics, zones=_zones(device, user, request.GET.get("tz")), now=now),
            "token_command": new_token_command(device.device_id),
            "curl_command": first_reading_command(ingest_url(request)),
        },
    )
    # This page alone speaks to ingest: its charts follow the live feed.
    response._csp_update = {"connect-src": [ingest_origin(request)]}  # type: ignore[attr-defined]
    return response


def _rows(devices: Sequence[Device], *, now: datetime) -> list[DeviceRow]:
    """Return the devices' lines. Those whose main metric is late are asked for all of their metrics."""
    if not devices:
        return []
    overviews = device_overviews([device.device_id for device in devices], now=now)
    rows = [_row(device, overviews.get(device.device_id), now=now) for device in devices]
    seen = last_seen([row.device.device_id for row in rows if row.status == Status.SILENT.value])
    return [
        _seen_row(row, seen[row.device.device_id], now=now) if row.device.device_id in seen else row
        for row in rows
    ]


def _row(device: Device, overview: DeviceOverview | None, *, now: datetime) -> DeviceRow:
    if overview is None or overview.time is None:
        return DeviceRow(device, None, Status.WAITING.value, "load")
    status = device_status(overview.time, limit=silence_limit(device), now=now)
    return DeviceRow(device, overview, status.value, metric_colour(overview.metric), overview.time)


def _seen_row(row: DeviceRow, seen: LastSeen, *, now: datetime) -> DeviceRow:
    limit = silence_limit(row.device, usual=seen.usual)
    return replace(row, status=device_status(seen.time, limit=limit, now=now).value, time=seen.time)


def _metrics(device: Device) -> list[dict[str, Any]]:
    """Return what a page shows of each metric, power first: the order of the panels."""
    settings = metric_settings(device)
    names = sorted(series_of(device.device_id), key=lambda name: (name != "power", "power" not in name, name))
    return [
        {
            "metric": name,
            "label": settings[name].display_name,
            "unit": settings[name].unit,
            "factor": settings[name].factor,
            "replacements": [each.replaced_at.timestamp() for each in settings[name].replacements],
            "colour": metric_colour(name, position),
        }
        for position, name in enumerate(names)
    ]


def _skeletons(metrics: list[dict[str, Any]], asked: list[str]) -> list[dict[str, Any]]:
    """Return the metrics whose panels the page has before its script runs: those of the address, if any."""
    return [each for each in metrics if each["metric"] in asked] or metrics[:_FIRST_METRICS]


def _zones(device: Device, user: User, asked: str | None) -> list[str]:
    """Return the zones that the page offers, the device's own first."""
    known = [asked] if asked in time_zone_names() else []
    return list(dict.fromkeys([device.time_zone, profile_of(user).time_zone, "UTC", *known]))


def _page_data(
    row: DeviceRow, metrics: list[dict[str, Any]], *, zones: list[str], now: datetime
) -> dict[str, Any]:
    """Return what the page's scripts start from."""
    device = row.device
    # A range of any time since 1970 may be typed in. A page that stays open learns more with each answer.
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
    }
