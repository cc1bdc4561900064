"""The page of a device's energy by day, week or month, made on the server.

Its bars are inline SVG: readable without any script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import PERIODS, EnergyColumn, EnergyTable, energy_of
from joulebook.telemetry.history.points import earliest_time
from joulebook.telemetry.history.totals import decimals_of, with_decimals
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
    present_end = {
        "day": today + timedelta(days=1),
        "week": today + timedelta(days=7 - today.weekday()),
        "month": _month(today, 1),
    }
    end = min(end, present_end[per])
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


UNITS = ("Wh", "kWh", "MWh")
_LEAST_DECIMALS = 3
MOST_METRICS = 6
"""The number on the page without a choice; all others can be chosen."""

MOST_CHOSEN = 100
"""The number shown at once: each has a panel and a table."""


@dataclass(frozen=True)
class EnergyCell:
    """One metric's energy in one period, for people."""

    energy: str
    into: str
    out: str
    unallocated: str
    spread: str
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
    has_both_ways: bool
    """Whether energy flowed in and out: each has a column of its own."""
    has_spread: bool

    @property
    def columns(self) -> int:
        """The number of its columns in the table."""
        return 2 + self.has_unallocated + self.has_spread + 2 * self.has_both_ways


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
    # Water and reactive energy keep their unit.
    wanted = [
        replace(each, unit=view.unit) if _is_energy(each) else each
        for each in everything
        if each.metric in view.metrics
    ]
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
    table = replace(table, columns=[_for_reading(column) for column in table.columns])
    periods = [from_microseconds(int(each)).astimezone(view.zone).date() for each in table.time]
    frame = view.frame
    panels = _panels(table, periods, view)
    api_query = {"start": _instant(start), "end": _instant(end), "per": view.per, "tz": view.zone.key}
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
        "json": f"{reverse('api:energy', args=[device.device_id])}?{urlencode(api_query)}",
    }


def _for_reading(column: EnergyColumn) -> EnergyColumn:
    """Return a column with one number of decimals, which shows all of its values exactly."""
    parts = (column.energy, column.unallocated, column.energy_in, column.energy_out, column.spread)
    decimals = decimals_of([value for part in parts for value in part or ()], least=_LEAST_DECIMALS)

    def shown(values: list[Decimal]) -> list[Decimal]:
        return [with_decimals(value, decimals) for value in values]

    return replace(
        column,
        energy=shown(column.energy),
        unallocated=shown(column.unallocated),
        energy_in=None if column.energy_in is None else shown(column.energy_in),
        energy_out=None if column.energy_out is None else shown(column.energy_out),
        spread=None if column.spread is None else shown(column.spread),
    )


def _is_energy(wanted: Wanted) -> bool:
    try:
        return USUAL_UNIT in comparable_units(wanted.unit)
    except UnitProblem:
        return False


def _panels(table: EnergyTable, periods: list[date], view: EnergyView) -> list[Panel]:
    edges = [int(each) / MICROSECONDS for each in table.time] + [table.end.timestamp()]
    present = view.now.timestamp()
    # Each period's coverage counts by its time passed so far.
    passed = [max(0.0, min(end, present) - begin) for begin, end in pairwise(edges)]
    whole = sum(passed)
    panels = []
    for place, column in enumerate(table.columns):
        covered = sum(share * seconds for share, seconds in zip(column.coverage, passed, strict=True))
        total = _cell(
            column.total,
            column.total_unallocated,
            covered / whole if whole else 0.0,
            flows=(column.total_in, column.total_out),
            spread=column.total_spread,
        )
        panels.append(
            Panel(
                name=column.name,
                metric=column.metric,
                unit=column.unit,
                colour=metric_colour(column.metric, place),
                chart=_chart(column, periods, view, name=str(place)),
                total=total,
                has_unallocated=bool(column.total_unallocated),
                has_both_ways=_has_both_ways(column),
                has_spread=bool(column.total_spread),
            )
        )
    return panels


def _has_both_ways(column: EnergyColumn) -> bool:
    return bool(column.total_in and column.total_out)


def _flows(column: EnergyColumn, place: int) -> tuple[Decimal | None, Decimal | None]:
    """Return what flowed in and out in one period; None where energy flows one way only."""
    if column.energy_in is None or column.energy_out is None:
        return None, None
    return column.energy_in[place], column.energy_out[place]


def _chart(column: EnergyColumn, periods: list[date], view: EnergyView, *, name: str) -> SafeString:
    unit = column.unit
    bars = []
    ends = [Decimal(0)]
    for place, first in enumerate(periods):
        energy, unallocated = column.energy[place], column.unallocated[place]
        flows = _flows(column, place)
        cell = _cell(energy, unallocated, column.coverage[place], flows=flows)
        words = f"{period_label(view.per, first)}: {cell.energy} {unit}"
        up, down = energy, Decimal(0)
        if _has_both_ways(column):
            words += f" net, {cell.into} in, {cell.out} out"
            up, down = flows[0] or Decimal(0), flows[1] or Decimal(0)
        if cell.unallocated:
            words += f", {cell.unallocated} {unit} unallocated"
        words += f", {cell.coverage} covered"
        bars.append(Bar(float(up), float(down), float(unallocated), words, tick_label(view.per, first)))
        ends += [up, up + unallocated, -down]
    low, high = min(ends), max(ends)
    scale = f"{format_exact(low)} to {format_exact(high)} {unit}" if low else f"{format_exact(high)} {unit}"
    label = f"{column.name} by {view.per}, {view.frame.title}; the table below has the same values"
    return energy_chart(bars, name=name, label=label, scale=scale)


def _cell(
    energy: Decimal,
    unallocated: Decimal,
    coverage: float,
    *,
    flows: tuple[Decimal | None, Decimal | None] = (None, None),
    spread: Decimal | None = None,
) -> EnergyCell:
    """Return a period for people: a dash if nothing is known of it."""
    nothing = not coverage and not energy and not unallocated
    into, out = (NO_VALUE if nothing or each is None else format_exact(each) for each in flows)
    return EnergyCell(
        energy=NO_VALUE if nothing else format_exact(energy),
        into=into,
        out=out,
        unallocated=format_exact(unallocated) if unallocated else "",
        spread=format_exact(spread) if spread else "",
        coverage=_percent(coverage),
    )


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
    present = view.now.replace(microsecond=0) + timedelta(seconds=1)
    rows = []
    for place, (first, end) in enumerate(zip(periods, ends, strict=True)):
        cells = [
            (
                _cell(
                    column.energy[place],
                    column.unallocated[place],
                    column.coverage[place],
                    flows=_flows(column, place),
                    spread=column.spread[place] if column.spread else None,
                ),
                panel,
            )
            for column, panel in zip(table.columns, panels, strict=True)
        ]
        # A month links to its days, a day or a week to its charts.
        if view.per == "month":
            address = view.query(per="day", on=first.isoformat())
        else:
            begin = from_microseconds(int(table.time[place]))
            window = {"start": _instant(begin), "end": _instant(min(end, present))}
            query = urlencode({**window, "metric": view.metrics, "tz": view.zone.key}, doseq=True)
            address = f"{reverse('device', args=[device.device_id])}?{query}"
        rows.append(Row(period_label(view.per, first), address, cells))
    return rows


def _instant(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


# Positions are shares of the drawing's size: it fills the width of the page.
_TOP, _BOTTOM = 12.0, 86.0
_FILL = 0.78
_LABEL = 96.0


@dataclass(frozen=True)
class Bar:
    """One period: what flowed in and out, its unallocated energy, their text, and the label below it."""

    up: float
    down: float
    unallocated: float
    words: str
    tick: str


def energy_chart(bars: Sequence[Bar], *, name: str, label: str, scale: str) -> SafeString:
    """Return the bars as a drawing.

    `name` is unique on the page (letters and digits), `label` the text for screen readers, `scale` the text
    for the bars' ends. Unallocated energy is hatched, on top of the period's own; what flowed out is below
    zero.
    """
    tops = [max(0.0, bar.up, bar.up + bar.unallocated) for bar in bars]
    lows = [min(0.0, bar.up, bar.up + bar.unallocated, -bar.down) for bar in bars]
    high, low = max(tops, default=0.0), min(lows, default=0.0)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return _BOTTOM - (value - low) / span * (_BOTTOM - _TOP)

    step = 100.0 / max(1, len(bars))
    shapes = []
    for place, bar in enumerate(bars):
        left = step * (place + (1 - _FILL) / 2)
        shapes.append(_bar(bar, left, step * _FILL, y, name=name))
    ticks = format_html_join(
        "",
        '<text x="{}%" y="{}%">{}</text>',
        ((f"{step * (place + 0.5):.2f}", _LABEL, bar.tick) for place, bar in enumerate(bars) if bar.tick),
    )
    return format_html(
        '<svg class="energy" role="img" aria-label="{}"><defs>'
        '<pattern id="hatch-{}" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect width="2.5" height="6"/></pattern></defs>'
        '<line x1="0" x2="100%" y1="{}%" y2="{}%"/><line class="zero" x1="0" x2="100%" y1="{}%" y2="{}%"/>'
        '<text class="most" x="0" y="9%">{}</text>{}{}</svg>',
        label,
        name,
        *(f"{each:.2f}" for each in (y(high), y(high), y(0.0), y(0.0))),
        scale,
        format_html_join("", "{}", ((shape,) for shape in shapes)),
        ticks,
    )


def _bar(bar: Bar, left: float, width: float, y: Callable[[float], float], *, name: str) -> SafeString:
    """Return one period's rectangles, with its text as their title."""
    parts = [("", 0.0, bar.up)] if bar.up else []
    if bar.down:
        parts.append(("", 0.0, -bar.down))
    if bar.unallocated:
        parts.append((f"url(#hatch-{name})", bar.up, bar.up + bar.unallocated))
    return format_html(
        "<g><title>{}</title>{}</g>",
        bar.words,
        format_html_join(
            "",
            '<rect x="{}%" y="{}%" width="{}%" height="{}%"{}/>',
            (
                (
                    f"{left:.2f}",
                    f"{min(y(start), y(end)):.2f}",
                    f"{width:.2f}",
                    f"{abs(y(start) - y(end)):.2f}",
                    format_html(' class="lost" fill="{}"', fill) if fill else "",
                )
                for fill, start, end in parts
            ),
        ),
    )
