"""The page of a device's energy by day, week or month, made on the server."""

from __future__ import annotations

import calendar
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import PERIODS, EnergyColumn, EnergyTable, energy_of
from joulebook.telemetry.history.points import earliest_time
from joulebook.telemetry.kinds.units import UnitProblem, comparable_units
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds
from joulebook.time_zones import ZoneInfo, time_zone_names
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.gate import device_of_page
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import own_silence_limit
from joulebook.web.display import NO_VALUE, format_exact, metric_colour
from joulebook.web.history.energy.api import USUAL_UNIT, wanted_energy
from joulebook.web.history.energy.chart import Bar, energy_chart
from joulebook.web.telemetry import device_series, telemetry_connection

MONTHS_AT_ONCE = {"day": 1, "week": 3, "month": 12}
EARLIEST = date(1970, 1, 5)


@dataclass(frozen=True)
class Frame:
    """The local days [first, end) of a page of `per`; `end` is not beyond the present period."""

    per: str
    first: date
    end: date
    before: date
    after: date | None

    @property
    def title(self) -> str:
        """The frame's name: November 2026, October to December 2026, 2026."""
        months = MONTHS_AT_ONCE[self.per]
        begin = self.before + timedelta(days=1)
        if months == 1:
            return f"{begin:%B %Y}"
        if months == 12:
            return f"{begin:%Y}"
        last = _month(begin, 2)
        return f"{begin:%B} to {last:%B %Y}"

    def instants(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the instants at which the frame begins and ends."""
        return midnight(self.first, zone), midnight(self.end, zone)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def frame_of(per: str, on: date, *, today: date) -> Frame:
    """Return the frame containing `on`; for the future it is the present one."""
    on = min(max(on, EARLIEST), today)
    months = MONTHS_AT_ONCE[per]
    begin = date(on.year, (on.month - 1) // months * months + 1, 1)
    beyond = _month(begin, months)
    first, end = begin, beyond
    if per == "week":
        # A week belongs to the quarter of its Monday.
        first, end = _monday_from(begin), _monday_from(beyond)
        if on < first:
            return frame_of(per, begin - timedelta(days=1), today=today)
    end = min(end, _period_after(per, today))
    later = _monday_from(beyond) if per == "week" else beyond
    return Frame(per, first, end, begin - timedelta(days=1), later if later <= today else None)


def period_label(per: str, first: date) -> str:
    """Return a period's name in its row: Sat 1 Nov, 2–8 Nov, 28 Dec – 3 Jan, November."""
    if per == "day":
        return f"{first:%a} {first.day} {first:%b}"
    if per == "month":
        return f"{first:%B}"
    last = first + timedelta(days=6)
    if first.month == last.month:
        return f"{first.day}–{last.day} {last:%b}"
    return f"{first.day} {first:%b} – {last.day} {last:%b}"


def tick_label(per: str, first: date) -> str:
    """Return the label below a period's bar; most days have no room for one."""
    if per == "month":
        return f"{first:%b}"
    if per == "day":
        return str(first.day) if first.day == 1 or first.day % 5 == 0 else ""
    return f"{first.day} {first:%b}" if first.isocalendar().week % 3 == 1 else ""


def read_date(text: str, *, today: date) -> date:
    """Return the date of an address (2026-11-20, or 2026-11 for its first), today if it is unusable."""
    try:
        return date.fromisoformat(f"{text}-01" if len(text) == len("2026-11") else text)
    except ValueError:
        return today


def _month(day: date, months: int) -> date:
    """Return the first of the month `months` after the month of `day`."""
    number = day.year * 12 + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def _monday_from(day: date) -> date:
    return day + timedelta(days=-day.weekday() % 7)


def _period_after(per: str, today: date) -> date:
    """Return the first day after the present period."""
    if per == "day":
        return today + timedelta(days=1)
    if per == "week":
        return today + timedelta(days=7 - today.weekday())
    return date(today.year, today.month, 1) + timedelta(days=calendar.monthrange(today.year, today.month)[1])


UNITS = ("Wh", "kWh", "MWh")
MOST_METRICS = 6
"""The number on the page without a choice; all others can be chosen."""

MOST_CHOSEN = 100
"""The number shown at once: each has a panel and a table."""


@dataclass(frozen=True)
class EnergyCell:
    """One metric's energy in one period, for people."""

    energy: str
    unallocated: str
    coverage: str


@dataclass(frozen=True)
class Panel:
    """One metric: its chart and its sums."""

    name: str
    metric: str
    unit: str
    colour: str
    chart: SafeString
    total: EnergyCell
    has_unallocated: bool


@dataclass(frozen=True)
class Row:
    """One period: its name, the target of its link, and a cell beside each metric's panel."""

    label: str
    address: str
    cells: list[tuple[EnergyCell, Panel]]


@dataclass(frozen=True)
class EnergyView:
    """The address's parameters; an unusable one has its default."""

    per: str
    unit: str
    zone: ZoneInfo
    frame: Frame
    metrics: list[str]
    now: datetime

    def query(self, **changes: Any) -> str:
        """Return the address of this view with changed parameters."""
        known = {
            "per": self.per,
            "on": self.frame.first.isoformat(),
            "unit": self.unit,
            "tz": self.zone.key,
            "metric": self.metrics,
        }
        return f"?{urlencode({**known, **changes}, doseq=True)}"


@login_required
@require_safe
@never_cache
def energy_page(request: SignedInRequest, device_id: str) -> HttpResponse:
    """Show a device's energy."""
    device = device_of_page(request, device_id)
    series = device_series(device.device_id)
    everything = wanted_energy(device, series, metrics=[], unit="")
    context: dict[str, Any] = {"device": device, "has_readings": bool(series), "wanted": everything}
    if everything:
        view = _view(request, device, everything)
        context |= _content(device, everything, view)
        context["zones"] = dict.fromkeys(
            [view.zone.key, device.time_zone, profile_of(request.user).time_zone, "UTC"]
        )
    return render(request, "devices/energy.html", context)


def _view(request: SignedInRequest, device: Device, everything: list[Wanted]) -> EnergyView:
    given = request.GET
    per = given.get("per", "")
    per = per if per in PERIODS else "day"
    name = given.get("tz", "")
    zone = ZoneInfo(name if name in time_zone_names() else device.time_zone)
    now = timezone.now()
    today = now.astimezone(zone).date()
    unit = given.get("unit", "")
    known = [each.metric for each in everything]
    chosen = [metric for metric in dict.fromkeys(given.getlist("metric")) if metric in known]
    return EnergyView(
        per=per,
        unit=unit if unit in UNITS else USUAL_UNIT,
        zone=zone,
        frame=frame_of(per, read_date(given.get("on", ""), today=today), today=today),
        metrics=chosen[:MOST_CHOSEN] or known[:MOST_METRICS],
        now=now,
    )


def _content(device: Device, everything: list[Wanted], view: EnergyView) -> dict[str, Any]:
    wanted = [_in_unit(each, view.unit) for each in everything if each.metric in view.metrics]
    start, end = view.frame.instants(view.zone)
    with telemetry_connection() as conn:
        table = energy_of(
            conn,
            wanted,
            start,
            end,
            view.zone,
            per=view.per,
            now=view.now,
            silence=own_silence_limit(device),
        )
        earliest = earliest_time(conn, [each.series_id for each in everything])
    periods = [from_microseconds(int(each)).astimezone(view.zone).date() for each in table.time]
    frame = view.frame
    panels = _panels(table, periods, view)
    return {
        "asked": view,
        "pers": [(per, view.query(per=per)) for per in PERIODS],
        "units": UNITS if any(_is_energy(each) for each in everything) else (),
        "title": frame.title,
        "before": view.query(on=frame.before.isoformat()) if earliest and earliest < start else "",
        "after": view.query(on=frame.after.isoformat()) if frame.after else "",
        "present": view.query(on=""),
        "panels": panels,
        "rows": _rows(device, table, periods, view, panels),
        "is_empty": all(
            not any(column.coverage) and not column.total_unallocated for column in table.columns
        ),
        "json": f"{reverse('api:energy', args=[device.device_id])}?{_api_query(view, start, end)}",
    }


def _api_query(view: EnergyView, start: datetime, end: datetime) -> str:
    window = {"start": _instant(start), "end": _instant(end)}
    return urlencode({**window, "per": view.per, "tz": view.zone.key})


def _is_energy(wanted: Wanted) -> bool:
    try:
        return USUAL_UNIT in comparable_units(wanted.unit)
    except UnitProblem:
        return False


def _in_unit(wanted: Wanted, unit: str) -> Wanted:
    """Return the series in another unit of energy; water and reactive energy keep theirs."""
    return replace(wanted, unit=unit) if _is_energy(wanted) else wanted


def _elapsed(table: EnergyTable, view: EnergyView) -> list[float]:
    """Return the passed seconds of each period."""
    edges = [int(each) / MICROSECONDS for each in table.time] + [table.end.timestamp()]
    present = view.now.timestamp()
    return [max(0.0, min(edges[i + 1], present) - edges[i]) for i in range(len(edges) - 1)]


def _panels(table: EnergyTable, periods: list[date], view: EnergyView) -> list[Panel]:
    elapsed = _elapsed(table, view)
    return [
        Panel(
            name=column.name,
            metric=column.metric,
            unit=column.unit,
            colour=metric_colour(column.metric, place),
            chart=_chart(column, periods, view, name=str(place)),
            total=_total(column, elapsed),
            has_unallocated=bool(column.total_unallocated),
        )
        for place, column in enumerate(table.columns)
    ]


def _chart(column: EnergyColumn, periods: list[date], view: EnergyView, *, name: str) -> SafeString:
    bars = [
        Bar(
            energy=float(energy),
            unallocated=float(lost),
            words=f"{period_label(view.per, first)}: {_words(_cell(energy, lost, share), column.unit)}",
            tick=tick_label(view.per, first),
        )
        for first, energy, lost, share in zip(
            periods, column.energy, column.unallocated, column.coverage, strict=True
        )
    ]
    ends = [energy + lost for energy, lost in zip(column.energy, column.unallocated, strict=True)]
    label = f"{column.name} by {view.per}, {view.frame.title}; the table below has the same values"
    return energy_chart(bars, name=name, label=label, scale=_scale([*column.energy, *ends], column.unit))


def _scale(ends: list[Decimal], unit: str) -> str:
    """Return the ends of the bars' scale, for people."""
    low, high = min(Decimal(0), *ends), max(Decimal(0), *ends)
    return f"{format_exact(low)} to {format_exact(high)} {unit}" if low else f"{format_exact(high)} {unit}"


def _words(cell: EnergyCell, unit: str) -> str:
    lost = f", {cell.unallocated} {unit} unallocated" if cell.unallocated else ""
    return f"{cell.energy} {unit}{lost}, {cell.coverage} covered"


def _cell(energy: Decimal, unallocated: Decimal, coverage: float) -> EnergyCell:
    """Return a period for people: a dash if nothing is known of it."""
    nothing = not coverage and not energy and not unallocated
    return EnergyCell(
        energy=NO_VALUE if nothing else format_exact(energy),
        unallocated=format_exact(unallocated) if unallocated else "",
        coverage=_percent(coverage),
    )


def _total(column: EnergyColumn, elapsed: list[float]) -> EnergyCell:
    known = sum(share * seconds for share, seconds in zip(column.coverage, elapsed, strict=True))
    return _cell(column.total, column.total_unallocated, known / sum(elapsed) if sum(elapsed) else 0.0)


def _percent(share: float) -> str:
    """Return whole percent; never 100 unless nothing is missing, never 0 unless there is nothing."""
    if 0.995 < share < 0.9995:
        return "99\u202f%"
    if 0 < share < 0.005:
        return "<1\u202f%"
    return f"{share * 100:.0f}\u202f%"


def _rows(
    device: Device, table: EnergyTable, periods: list[date], view: EnergyView, panels: list[Panel]
) -> list[Row]:
    ends = [*(from_microseconds(int(each)) for each in table.time[1:]), table.end]
    rows = []
    for place, (first, end) in enumerate(zip(periods, ends, strict=True)):
        cells = [
            (_cell(column.energy[place], column.unallocated[place], column.coverage[place]), panel)
            for column, panel in zip(table.columns, panels, strict=True)
        ]
        begin = from_microseconds(int(table.time[place]))
        rows.append(Row(period_label(view.per, first), _closer(device, first, begin, end, view), cells))
    return rows


def _closer(device: Device, first: date, begin: datetime, end: datetime, view: EnergyView) -> str:
    """Return the target of a period's name: a month's days, a day's or a week's charts."""
    if view.per == "month":
        return view.query(per="day", on=first.isoformat())
    window = {"start": _instant(begin), "end": _instant(min(end, _present(view)))}
    query = urlencode({**window, "metric": view.metrics, "tz": view.zone.key}, doseq=True)
    return f"{reverse('device', args=[device.device_id])}?{query}"


def _present(view: EnergyView) -> datetime:
    return view.now.replace(microsecond=0) + timedelta(seconds=1)


def _instant(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
