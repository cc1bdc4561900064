"""`GET /api/energy/<device>`: energy by local day, week or month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from msgspec import Meta
from ninja import Router
from pydantic import Field, WithJsonSchema

from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import (
    MOST_DAYS,
    PERIODS,
    EnergyColumn,
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
from joulebook.telemetry.series import SeriesRow
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.authentication import authentication
from joulebook.web.api.answers import documented_answer, json_answer
from joulebook.web.api.parameters import BadParameter, Instant, StrictQuery
from joulebook.web.api.problems import documented_problems
from joulebook.web.devices.gate import DeviceRequest, visible_device
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import metric_settings, own_silence_limit
from joulebook.web.history.answers import Offsets
from joulebook.web.history.parameters import RangeName, RangeQuery, UnitName, Zone, one_of
from joulebook.web.telemetry import device_series, telemetry_connection

USUAL_UNIT = "kWh"
DEFAULT_RANGE = "30d"

router = Router(tags=["energy"], auth=authentication(visible_device))

Period = Annotated[str, one_of(PERIODS), WithJsonSchema({"type": "string", "enum": list(PERIODS)})]


class EnergyQuery(RangeQuery):
    """The query of `GET /api/energy/<device>`."""

    metric: list[str] = Field([], description="may be repeated; none: all with energy")
    start: Instant = Field(None, description="RFC 3339; widened to whole periods")
    range: RangeName = Field(DEFAULT_RANGE, description="instead of start and end, ending now")
    per: Period = Field("day", description="the table's rows")
    tz: Zone = Field(None, description="IANA time zone of days; default: the device's")
    unit: UnitName = Field(None, description="unit of energy; default: kWh if possible")


class EnergySeries(msgspec.Struct):
    """One metric's energy by period."""

    metric: str
    name: str
    kind: str
    unit: str
    energy: Sequence[float]
    energy_in: Annotated[
        Sequence[float] | None, Meta(description="what flowed in; null where energy flows one way only")
    ]
    energy_out: Annotated[
        Sequence[float] | None, Meta(description="what flowed out; `energy` is in less out, as shown")
    ]
    unallocated: Annotated[
        Sequence[float], Meta(description="a counter's increase during a silence across midnight")
    ]
    spread: Annotated[
        Sequence[float] | None,
        Meta(description="the part of `energy` spread evenly over a time without readings; null: nothing is"),
    ]
    coverage: Annotated[Sequence[float], Meta(description="known share of the passed time, 0 to 1")]
    total: Annotated[float, Meta(description="the sum of `energy`, to the last digit")]
    total_in: float | None
    total_out: float | None
    total_unallocated: float


class EnergyAnswer(msgspec.Struct):
    """A table of energy."""

    device: str
    tz: str
    offsets: Offsets
    per: str
    start: datetime
    end: datetime
    periods: int
    time: Annotated[Sequence[int], Meta(description="start, seconds since 1970 UTC")]
    series: Sequence[EnergySeries]


_OPERATION = documented_problems(400, 401, 403, 503)
_OPERATION["responses"] |= documented_answer(EnergyAnswer, "the table")


@router.get(
    "/{device_id}",
    url_name="energy",
    summary="Read a device's energy by day, week or month",
    openapi_extra=_OPERATION,
)
def get_energy(
    request: DeviceRequest, device_id: str, asked: Annotated[EnergyQuery, StrictQuery(...)]
) -> HttpResponse:
    """Return energy by period, from power over the covered time and from counters; tables add up."""
    device = request.auth
    zone = asked.tz or ZoneInfo(device.time_zone)
    now = timezone.now()
    start, end = asked.window(now=now)
    wanted = wanted_energy(device, device_series(device_id), metrics=asked.metrics, unit=asked.unit or "")
    if start is None:
        with telemetry_connection() as conn:
            start = earliest_time(conn, [each.series_id for each in wanted]) or end
    if end - start > timedelta(days=MOST_DAYS):
        name = "range" if asked.range == ALL else "start"
        raise BadParameter(name, f"the range is longer than {MOST_DAYS} days; ask for a part of it")
    if start >= end:
        end = start + timedelta(microseconds=1)
    check_size(len(wanted), end - start)
    first, last = whole_periods(start, end, zone, per=asked.per)
    with telemetry_connection() as conn:
        table = energy_of(
            conn, wanted, first, last, zone, per=asked.per, now=now, silence=own_silence_limit(device)
        )
    answer = EnergyAnswer(
        device=device_id,
        tz=zone.key,
        offsets=offsets_over(zone, to_microseconds(first), to_microseconds(last)),
        per=asked.per,
        start=table.start,
        end=table.end,
        periods=len(table.time),
        time=(table.time // MICROSECONDS).tolist(),
        series=[_series(column) for column in table.columns],
    )
    return json_answer(request, answer)


def wanted_energy(
    device: Device, series: Mapping[str, SeriesRow], *, metrics: Sequence[str], unit: str
) -> list[Wanted]:
    """Return the series of `metrics` with the unit of their energy; without names all series with energy.

    Raises `BadParameter` for a metric without readings or energy, and for a unit of another quantity.
    """
    settings = metric_settings(device, series)
    for metric in metrics:
        if metric not in series:
            raise BadParameter("metric", f"device {device.device_id} has no metric {metric[:80]!r}")
    if metrics:
        return [_wanted(metric, series[metric].id, settings, unit=unit) for metric in metrics]
    found, refused = [], None
    for metric, row in series.items():
        try:
            found.append(_wanted(metric, row.id, settings, unit=unit))
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


def _series(column: EnergyColumn) -> EnergySeries:
    return EnergySeries(
        metric=column.metric,
        name=column.name,
        kind=column.kind,
        unit=column.unit,
        energy=_floats(column.energy),
        energy_in=None if column.energy_in is None else _floats(column.energy_in),
        energy_out=None if column.energy_out is None else _floats(column.energy_out),
        spread=None if column.spread is None else _floats(column.spread),
        unallocated=_floats(column.unallocated),
        coverage=column.coverage,
        total=float(column.total),
        total_in=None if column.total_in is None else float(column.total_in),
        total_out=None if column.total_out is None else float(column.total_out),
        total_unallocated=float(column.total_unallocated),
    )


def _floats(values: Sequence[Decimal]) -> list[float]:
    return [float(value) for value in values]
