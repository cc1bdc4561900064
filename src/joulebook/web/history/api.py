"""`GET /api/history/<device>`: the gate first, then a few hundred points of any range."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import numpy as np
from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Router
from numpy.typing import NDArray

from joulebook.live_ticket import issue_ticket
from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.history.by_kind import ChangesTooOften, most_numbers
from joulebook.telemetry.history.columns import MOST_NUMBERS, Column, Numbers, TooManyNumbers, Wanted
from joulebook.telemetry.history.points import Points, earliest_time, read_points
from joulebook.telemetry.kinds.units import UnitProblem, is_known_unit
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.series import series_by_metric
from joulebook.time_zones import ZoneInfo
from joulebook.web.api.answers import encode, encoded, json_answer
from joulebook.web.api.parameters import BadParameter, check_names
from joulebook.web.api.problems import problem
from joulebook.web.devices.first_reading import ingest_base
from joulebook.web.devices.metric_settings import metric_settings, own_silence_limit
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device
from joulebook.web.history.export.points import points_file
from joulebook.web.history.openapi import HISTORY_OPERATION, LIVE_TICKET_OPERATION
from joulebook.web.history.parameters import (
    DEFAULT_MAX_POINTS,
    FEWEST_POINTS,
    HistoryRequest,
    read_parameters,
)
from joulebook.web.origins import page_origin
from joulebook.web.telemetry import telemetry_connection

log = logging.getLogger(__name__)

_LONGEST_DAY = timedelta(hours=25)


router = Router()


def install(api: NinjaAPI) -> None:
    """Add these addresses and their errors to the API."""
    api.add_router("", router)
    api.exception_handler(DataError)(_not_computable)
    api.exception_handler(ChangesTooOften)(_changes_too_often)
    api.exception_handler(TooManyNumbers)(_too_many_numbers)


def _not_computable(request: HttpRequest, exc: DataError) -> HttpResponse:  # noqa: ARG001
    log.error("history could not be computed: %s", exc)
    return problem(500, "Not computable", "the readings of this range cannot be summed; try a shorter one")


def _changes_too_often(request: HttpRequest, exc: ChangesTooOften) -> HttpResponse:  # noqa: ARG001
    detail = f"the state {str(exc)[:80]} changes too often to be told over this range; ask for a shorter one"
    return problem(400, "Range too long", detail, parameter="range")


def _too_many_numbers(request: HttpRequest, exc: TooManyNumbers) -> HttpResponse:  # noqa: ARG001
    return problem(400, "Too many numbers", str(exc), parameter=exc.parameter)


@router.get(
    "/history/{device_id}",
    url_name="history",
    summary="Read a device's history",
    openapi_extra=HISTORY_OPERATION,
)
def history(request: HttpRequest, device_id: str) -> HttpResponse:
    """Return a range of readings in at most `max_points` points, one shared time axis for all metrics."""
    device = find_visible_device(request.user, device_id)
    if device is None:
        # The same words for another's device as for none, and no statement has reached telemetry.
        return problem(403, "Forbidden", "no device of yours has this id")
    asked = read_parameters(request.GET, now=timezone.now(), default_zone=device.time_zone)
    start, points = _points(device, asked)
    if asked.file_format is not None:
        return points_file(points, file_format=asked.file_format, device_id=device.device_id, zone=asked.zone)
    return json_answer(request, _answer(device, asked, start, points))


@router.post(
    "/live-ticket/{device_id}",
    url_name="live-ticket",
    summary="Ask for a stream of a device's readings",
    openapi_extra=LIVE_TICKET_OPERATION,
)
def live_ticket(request: HttpRequest, device_id: str) -> HttpResponse:
    """Return an address on ingest that streams the device's readings for some seconds.

    It changes nothing, and a page of another origin cannot read the answer: no CSRF token is needed.
    """
    device = find_visible_device(request.user, device_id)
    if device is None:
        return problem(403, "Forbidden", "no device of yours has this id")
    check_names(request.GET)
    ticket, expires_at = issue_ticket(
        settings.SECRET_KEY,
        device.device_id,
        user=request.user.pk or 0,
        origin=page_origin(request),
        now=timezone.now().timestamp(),
    )
    address = f"{ingest_base(request)}/live/{quote(device.device_id, safe='')}?ticket={ticket}"
    answer = {"url": address, "expires_at": datetime.fromtimestamp(expires_at, UTC)}
    return HttpResponse(
        encode(answer), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _points(device: Device, asked: HistoryRequest) -> tuple[datetime, Points]:
    """Return the range's start, and its points."""
    with telemetry_connection() as conn:
        series = series_by_metric(conn, device.device_id)
        for metric in asked.metrics:
            if metric not in series:
                raise BadParameter("metric", f"device {device.device_id} has no metric {metric[:80]!r}")
        settings = metric_settings(device)
        wanted = [
            Wanted(series[metric], settings[metric], asked.unit or settings[metric].unit)
            for metric in asked.metrics or series
        ]
        _check_units(wanted, asked.unit)
        start = asked.start or earliest_time(conn, [each.series_id for each in wanted]) or asked.end
        max_points = _usual_points(wanted) if asked.max_points is None else asked.max_points
        points = read_points(
            conn, wanted, start, asked.end, asked.zone,
            max_points=max_points, silence=own_silence_limit(device),
        )  # fmt: skip
    return start, points


def _usual_points(wanted: list[Wanted]) -> int:
    """Return the usual number of points, or fewer where many metrics would make too many numbers of them."""
    most = MOST_NUMBERS // max(most_numbers(wanted), 1)
    return max(FEWEST_POINTS, min(DEFAULT_MAX_POINTS, most))


def _answer(device: Device, asked: HistoryRequest, start: datetime, points: Points) -> dict[str, Any]:
    return {
        "device": device.device_id,
        "start": start,
        "end": asked.end,
        "tz": asked.zone.key,
        "offsets": _offsets(asked.zone, start, asked.end, points),
        "resolution": points.resolution,
        "source": points.source,
        "points": len(points.time),
        "time": encoded(_epoch_seconds(points)),
        "series": [_series(column) for column in points.columns],
    }


def _check_units(wanted: list[Wanted], unit: str) -> None:
    if unit and not wanted and not is_known_unit(unit):
        raise BadParameter("unit", f"{unit[:40]!r} is not a unit that is known here")
    for each in wanted:
        try:
            each.scale()
        except UnitProblem as exc:
            raise BadParameter("unit", f"metric {each.metric[:80]}: {exc}") from None


def _epoch_seconds(points: Points) -> Numbers | NDArray[np.int64]:
    """Return the time axis in seconds since 1970: whole numbers where all of them are."""
    seconds, rest = divmod(points.time, MICROSECONDS)
    return points.time / MICROSECONDS if rest.any() else seconds


def _offsets(zone: ZoneInfo, start: datetime, end: datetime, points: Points) -> list[tuple[int, int]]:
    """Return the zone's offsets over the range and the buckets that reach beyond it."""
    first = to_microseconds(start)
    if len(points.time):
        first = min(first, int(points.time[0]))
    return offsets_over(zone, first, to_microseconds(end + _LONGEST_DAY))


def _series(column: Column) -> dict[str, Any]:
    """Return one metric's part of the answer."""
    answer: dict[str, Any] = {
        "metric": column.wanted.metric,
        "name": column.wanted.settings.display_name,
        "unit": column.wanted.unit,
        "kind": column.wanted.settings.kind.name,
    }
    if column.value is not None:
        answer["value"] = encoded(column.value)
    else:
        answer |= {
            "mean": encoded(column.mean),
            "min": encoded(column.min),
            "max": encoded(column.max),
            "count": encoded(column.count),
            "coverage": encoded(column.coverage.round(4)),
        }
    return answer | _encoded(column.more.answer() if column.more else {})


def _encoded(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of an answer with their arrays as JSON, those of listed objects as well."""
    return {
        name: [_encoded(each) for each in value]
        if isinstance(value, list)
        else encoded(value)
        if isinstance(value, np.ndarray)
        else value
        for name, value in members.items()
    }
