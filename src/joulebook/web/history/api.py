"""`GET /api/history/<device>`: any range as a few hundred points; and tickets for live streams."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from ninja import Router, Schema
from pydantic import Field

from joulebook.live_ticket import issue_ticket
from joulebook.telemetry.history.by_kind import most_numbers
from joulebook.telemetry.history.columns import MOST_NUMBERS, Wanted
from joulebook.telemetry.history.points import earliest_time, read_points
from joulebook.telemetry.kinds.units import UnitProblem, is_known_unit
from joulebook.telemetry.series import series_by_metric
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.authentication import authentication
from joulebook.web.api.answers import documented_answer, json_answer
from joulebook.web.api.parameters import BadParameter, StrictQuery, check_names
from joulebook.web.api.problems import documented_problems
from joulebook.web.corrections.queries import corrected_stretches
from joulebook.web.devices.connecting import ingest_base
from joulebook.web.devices.gate import DeviceRequest, visible_device
from joulebook.web.devices.queries import metric_settings, own_silence_limit
from joulebook.web.history.answers import HistoryAnswer, history_answer
from joulebook.web.history.export.points import points_file
from joulebook.web.history.parameters import DEFAULT_MAX_POINTS, FEWEST_POINTS, JSON, HistoryQuery
from joulebook.web.origins import page_origin
from joulebook.web.telemetry import telemetry_connection

router = Router(tags=["history"], auth=authentication(visible_device))


class LiveTicket(Schema):
    """An address for receiving a device's new readings."""

    url: str = Field(description="a stream of server-sent events; the address alone opens it")
    expires_at: datetime = Field(description="end of the address, and of its stream")


_OPERATION = documented_problems(400, 401, 403, 503)
_OPERATION["responses"] |= documented_answer(HistoryAnswer, "the points")


@router.get(
    "/history/{device_id}", url_name="history", summary="Read a device's history", openapi_extra=_OPERATION
)
def get_history(
    request: DeviceRequest, device_id: str, asked: Annotated[HistoryQuery, StrictQuery(...)]
) -> HttpResponse:
    """Return a range of readings in at most `max_points` points, one shared time axis for all metrics."""
    device = request.auth
    zone = asked.tz or ZoneInfo(device.time_zone)
    start, end = asked.window(now=timezone.now())
    with telemetry_connection() as conn:
        series = series_by_metric(conn, device.device_id)
        for metric in asked.metrics:
            if metric not in series:
                raise BadParameter("metric", f"device {device.device_id} has no metric {metric[:80]!r}")
        meaning = metric_settings(device, series)
        wanted = [
            Wanted(series[metric].id, meaning[metric], asked.unit or meaning[metric].unit)
            for metric in asked.metrics or series
        ]
        if asked.unit and not wanted and not is_known_unit(asked.unit):
            raise BadParameter("unit", f"{asked.unit[:40]!r} is not a unit that is known here")
        for each in wanted:
            try:
                each.scale()
            except UnitProblem as exc:
                raise BadParameter("unit", f"metric {each.metric[:80]}: {exc}") from None
        start = start or earliest_time(conn, [each.series_id for each in wanted]) or end
        # Without a limit in the query: fewer points if many metrics would exceed the limit of numbers.
        fitting = MOST_NUMBERS // max(most_numbers(wanted), 1)
        max_points = asked.max_points or max(FEWEST_POINTS, min(DEFAULT_MAX_POINTS, fitting))
        points = read_points(
            conn, wanted, start, end, zone, max_points=max_points, silence=own_silence_limit(device)
        )
    if asked.format != JSON:
        return points_file(points, file_format=asked.format, device_id=device_id, zone=zone)
    corrected = corrected_stretches(device, {each.metric for each in wanted}, start, end)
    return json_answer(request, history_answer(device_id, start, end, zone, points, corrected))


@router.post(
    "/live-ticket/{device_id}",
    url_name="live-ticket",
    response=LiveTicket,
    summary="Ask for a stream of a device's readings",
    openapi_extra=documented_problems(401, 403),
)
def issue_live_ticket(request: DeviceRequest, device_id: str) -> LiveTicket:
    """Return an address on ingest streaming the device's readings for some seconds.

    Nothing changes, and a page of another origin cannot read the answer: no CSRF token is needed.
    """
    check_names(request.GET)
    ticket, expires_at = issue_ticket(
        settings.SECRET_KEY,
        device_id,
        user=request.user.pk or 0,
        origin=page_origin(request),
        now=timezone.now().timestamp(),
    )
    address = f"{ingest_base(request)}/live/{quote(device_id, safe='')}?ticket={ticket}"
    return LiveTicket(url=address, expires_at=datetime.fromtimestamp(expires_at, UTC))
