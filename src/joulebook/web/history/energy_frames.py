"""Which days, weeks or months the energy page shows at once, and how it names them.

Days are shown a month at a time, weeks a quarter, months a year. All dates are of the wall clock.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from joulebook.time_zones import ZoneInfo

MONTHS_AT_ONCE = {"day": 1, "week": 3, "month": 12}
EARLIEST = date(1970, 1, 5)


@dataclass(frozen=True)
class Frame:
    """The local days [first, end) that a page of `per` shows; `end` is not beyond the present period."""

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
    """Return the frame in which `on` lies; one that lies in the future is the present one."""
    on = min(max(on, EARLIEST), today)
    months = MONTHS_AT_ONCE[per]
    begin = date(on.year, (on.month - 1) // months * months + 1, 1)
    beyond = _month(begin, months)
    first, end = begin, beyond
    if per == "week":
        # A week belongs to the quarter in which it begins.
        first, end = _monday_from(begin), _monday_from(beyond)
        if on < first:
            return frame_of(per, begin - timedelta(days=1), today=today)
    end = min(end, _period_after(per, today))
    later = _monday_from(beyond) if per == "week" else beyond
    return Frame(per, first, end, begin - timedelta(days=1), later if later <= today else None)


def period_label(per: str, first: date) -> str:
    """Return how a period is named in its row: Sat 1 Nov, 2–8 Nov, 28 Dec – 3 Jan, November."""
    if per == "day":
        return f"{first:%a} {first.day} {first:%b}"
    if per == "month":
        return f"{first:%B}"
    last = first + timedelta(days=6)
    if first.month == last.month:
        return f"{first.day}–{last.day} {last:%b}"
    return f"{first.day} {first:%b} – {last.day} {last:%b}"


def tick_label(per: str, first: date) -> str:
    """Return what stands below a period's bar; nothing below most days, which have no room."""
    if per == "month":
        return f"{first:%b}"
    if per == "day":
        return str(first.day) if first.day == 1 or first.day % 5 == 0 else ""
    return f"{first.day} {first:%b}" if first.isocalendar().week % 3 == 1 else ""


def read_date(text: str, *, today: date) -> date:
    """Return the date of an address (2026-11-20, or 2026-11 for its first), today where it makes no sense."""
    try:
        return date.fromisoformat(f"{text}-01" if len(text) == len("2026-11") else text)
    except ValueError:
        return today


def _month(day: date, months: int) -> date:
    """Return the first of the month that is so many months after that of `day`."""
    number = day.year * 12 + day.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def _monday_from(day: date) -> date:
    return day + timedelta(days=-day.weekday() % 7)


def _period_after(per: str, today: date) -> date:
    """Return the first day after the period in which today lies."""
    if per == "day":
        return today + timedelta(days=1)
    if per == "week":
        return today + timedelta(days=7 - today.weekday())
    return date(today.year, today.month, 1) + timedelta(days=calendar.monthrange(today.year, today.month)[1])
