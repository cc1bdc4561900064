"""`GET /api/energy/<device>`: the gate first, then energy by local day, week or month."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Router

from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import (
    MOST_DAYS,
    PERIODS,
    EnergyColumn,
    EnergyTable,
    check_size,
    energy_of,
    whole_periods,
)
from joulebook.telemetry.history.points import ALL, earliest_time
from joulebook.telemetry.kinds.settings import SettingsByMetric
from joulebook.telemetry.kinds.units import (
    UnitProblem,
    comparable_units,
    convert_factor_offset,
    is_known_unit,
)
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.web.api.answers import json_answer
from joulebook.web.api.parameters import BadParameter, check_names
from joulebook.web.api.problems import problem
from joulebook.web.devices.metric_settings import metric_settings, own_silence_limit
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device
from joulebook.web.history.openapi import energy_operation
from joulebook.web.history.parameters import read_unit, read_window, read_zone
from joulebook.web.telemetry import device_series, telemetry_connection

USUAL_UNIT = "kWh"
DEFAULT_RANGE = "30d"
_NAMES = ("metric", "start", "end", "range", "per", "tz", "unit")

router = Router(tags=["history"])


def install(api: NinjaAPI) -> None:
    """Add this address to the API."""
    api.add_router("/energy", router)


@router.get(
    "/{device_id}",
    url_name="energy",
    summary="Read a device's energy by day, week or month",
    openapi_extra=energy_operation(PERIODS, default_range=DEFAULT_RANGE),
)
def energy(request: HttpRequest, device_id: str) -> HttpResponse:
    """Return energy by period, from power over the covered time and from counters; tables add up."""
    device = find_visible_device(request.user, device_id)
    if device is None:
        # The same words for another's device as for none, and no statement has reached telemetry.
        return problem(403, "Forbidden", "no device of yours has this id")
    check_names(request.GET, _NAMES)
    per = request.GET.get("per", "day")
    if per not in PERIODS:
        raise BadParameter("per", f"per {per[:40]!r} is not one of {', '.join(PERIODS)}")
    zone = read_zone(request.GET.get("tz", device.time_zone))
    now = timezone.now()
    start, end = read_window(request.GET, now=now, default=DEFAULT_RANGE)
    series = device_series(device.device_id)
    wanted = wanted_energy(device, series, metrics=request.GET.getlist("metric"), unit=read_unit(request.GET))
    if start is None:
        with telemetry_connection() as conn:
            start = earliest_time(conn, [each.series_id for each in wanted]) or end
    if end - start > timedelta(days=MOST_DAYS):
        name = "range" if request.GET.get("range") == ALL else "start"
        raise BadParameter(name, f"the range is longer than {MOST_DAYS} days; ask for a part of it")
    if start >= end:
        end = start + timedelta(microseconds=1)
    check_size(len(wanted), end - start)
    first, last = whole_periods(start, end, zone, per=per)
    with telemetry_connection() as conn:
        table = energy_of(
            conn, wanted, first, last, zone, per=per, now=now, silence=own_silence_limit(device)
        )
    offsets = offsets_over(zone, to_microseconds(first), to_microseconds(last))
    answer = {
        "device": device.device_id, "tz": zone.key, "offsets": offsets, "per": per, **_table(table)
    }  # fmt: skip
    return json_answer(request, answer)


def wanted_energy(device: Device, series: dict[str, int], *, metrics: list[str], unit: str) -> list[Wanted]:
    """Return the series whose energy is asked for, none named: all that have one, with its unit.

    Raises `BadParameter` for a metric that the device does not have or that has no energy, and for a
    unit that it cannot come in.
    """
    settings = metric_settings(device)
    for metric in metrics:
        if metric not in series:
            raise BadParameter("metric", f"device {device.device_id} has no metric {metric[:80]!r}")
    if metrics:
        return [_wanted(metric, series[metric], settings, unit=unit) for metric in dict.fromkeys(metrics)]
    found, refused = [], None
    for metric, series_id in series.items():
        try:
            found.append(_wanted(metric, series_id, settings, unit=unit))
        except BadParameter as exc:
            refused = exc if exc.parameter == "unit" else refused
    if not found and refused is not None:
        raise refused
    if unit and not found and not is_known_unit(unit):
        raise BadParameter("unit", f"{unit[:40]!r} is not a unit that is known here")
    return found


def _wanted(metric: str, series_id: int, settings: SettingsByMetric, *, unit: str) -> Wanted:
    meaning = settings[metric]
    own = meaning.kind.unit_of_energy(meaning.unit)
    if own is None:
        message = (
            f"metric {metric[:80]} has no energy: it is a {meaning.kind} in {meaning.unit or 'no unit'}; "
            "power in W or kW has one, and a counter; say what it is in the device's settings"
        )
        raise BadParameter("metric", message)
    try:
        asked = unit or (USUAL_UNIT if USUAL_UNIT in comparable_units(own) else own)
        convert_factor_offset(own, asked)
    except UnitProblem as exc:
        if unit:
            raise BadParameter("unit", f"metric {metric[:80]}: {exc}") from None
        asked = own
    return Wanted(series_id, meaning, asked)


def _table(table: EnergyTable) -> dict[str, Any]:
    return {
        "start": table.start,
        "end": table.end,
        "periods": len(table.time),
        "time": (table.time // MICROSECONDS).tolist(),
        "series": [_column(column) for column in table.columns],
    }


def _column(column: EnergyColumn) -> dict[str, Any]:
    return {
        "metric": column.metric,
        "name": column.name,
        "kind": column.kind,
        "unit": column.unit,
        "energy": _numbers(column.energy),
        "unallocated": _numbers(column.unallocated),
        "coverage": column.coverage,
        "total": float(column.total),
        "total_unallocated": float(column.total_unallocated),
    }


def _numbers(column: list[Decimal]) -> list[float]:
    return [float(value) for value in column]
