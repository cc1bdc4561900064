"""Local time to UTC: every instant of a zone comes back, also in the doubled hour; dropped hours are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.row_times import LocalClock
from joulebook.telemetry.files.times import find_zone
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata",
    "Pacific/Apia", "UTC", "America/Sao_Paulo", "Europe/Dublin", "+05:45",
)  # fmt: skip
MINUTE = 60 * MICROSECONDS


def wall_of(instant: int, zone: str) -> int:
    """Return what a clock in the zone shows at a UTC instant, by the standard library."""
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)).astimezone(find_zone(zone))
    return to_microseconds(local.replace(tzinfo=UTC))


def local(*texts: str) -> np.ndarray:
    return np.array(
        [to_microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC)) for text in texts], np.int64
    )


def utc(wall: np.ndarray, zone: str = "Europe/Berlin") -> tuple[list[str], list[int]]:
    times, kind = LocalClock(find_zone(zone)).to_utc(wall)
    text = [(datetime(1970, 1, 1) + timedelta(microseconds=int(time))).strftime("%H:%M") for time in times]
    return text, kind.tolist()


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 56 * 365 * 24 * 4), st.integers(2, 400), st.data())
def test_a_logger_that_runs_through_comes_back_exactly(
    zone: str, start: int, count: int, data: st.DataObject
) -> None:
    """Quarter hours from any instant on, forwards, read in blocks of any size."""
    instants = [(start + step) * 15 * MINUTE for step in range(count)]
    wall = np.array([wall_of(instant, zone) for instant in instants], np.int64)
    clock = LocalClock(find_zone(zone))
    got: list[int] = []
    while len(got) < count:
        size = data.draw(st.integers(1, count))
        times, kind = clock.to_utc(wall[len(got) : len(got) + size])
        assert (kind >= 0).all()
        got += times.tolist()
    first_fold = _fold_at_the_start(instants, wall)
    assert got[first_fold:] == instants[first_fold:]


def _fold_at_the_start(instants: list[int], wall: np.ndarray) -> int:
    """Return how many rows stand in a doubled hour that the file begins in: their pass cannot be known."""
    back = np.flatnonzero(np.diff(wall) < 0)
    starts_late = len(back) and back[0] * 15 < 180
    return int(back[0]) + 1 + 12 if starts_late else 12


@settings(deadline=None)
@given(st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]), st.integers(1, 55))
def test_a_doubled_hour_is_read_forwards_backwards_and_interleaved(zone: str, year: int) -> None:
    change = _autumn(zone, 1970 + year)
    if change is None:
        return
    at, shift = change
    instants = list(range(at - 3 * shift, at + 3 * shift, shift // 6))
    forwards = np.array([wall_of(instant, zone) for instant in instants], np.int64)
    assert LocalClock(find_zone(zone)).to_utc(forwards)[0].tolist() == instants
    assert LocalClock(find_zone(zone)).to_utc(forwards[::-1])[0].tolist() == instants[::-1]
    order = np.argsort(forwards, kind="stable")
    got, kind = LocalClock(find_zone(zone)).to_utc(forwards[order])
    assert got.tolist() == [instants[index] for index in order]
    assert (np.bincount(kind, minlength=3)[1:] == 6).all()


def _autumn(zone: str, year: int) -> tuple[int, int] | None:
    """Return the UTC instant of the year's first step back and its size, in microseconds."""
    hour = 3600 * MICROSECONDS
    start = to_microseconds(datetime(year, 1, 1, tzinfo=UTC))
    for day in range(start, start + 366 * 24 * hour, 24 * hour):
        if wall_of(day + 24 * hour, zone) - wall_of(day, zone) < 24 * hour:
            break
    else:
        return None
    for instant in range(day, day + 24 * hour + 1, hour // 2):
        shift = wall_of(instant - hour // 2, zone) + hour // 2 - wall_of(instant, zone)
        if shift > 0:
            return instant, shift
    return None


def test_the_hour_that_spring_drops_is_told_and_the_times_around_it_are_right() -> None:
    texts, kind = utc(local("2021-03-28T01:59", "2021-03-28T02:00", "2021-03-28T02:59", "2021-03-28T03:00"))
    assert kind == [0, -1, -1, 0]
    assert (texts[0], texts[3]) == ("00:59", "01:00")


def test_a_doubled_hour_that_comes_once_is_its_first_pass() -> None:
    assert utc(local("2021-10-31T01:30", "2021-10-31T02:00", "2021-10-31T02:30", "2021-10-31T03:00")) == (
        ["23:30", "00:00", "00:30", "02:00"],
        [0, 1, 1, 0],
    )


def test_a_repeated_block_of_the_same_night_begins_with_the_first_pass_again() -> None:
    night = local(
        "2021-10-31T01:45", "2021-10-31T02:15", "2021-10-31T02:45", "2021-10-31T02:15", "2021-10-31T03:00"
    )
    texts, kind = utc(np.concatenate([night, night]))
    assert kind == [0, 1, 1, 2, 0] * 2
    assert texts[:5] == texts[5:]


def test_times_of_a_logger_with_uneven_seconds_step_back_into_the_second_pass() -> None:
    _, kind = utc(
        local("2021-10-31T02:20:03", "2021-10-31T02:50:11", "2021-10-31T02:05:07", "2021-10-31T02:40:00")
    )
    assert kind == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "hours"),
    [("+01:00", 1), ("-9", -9), ("UTC+2", 2), ("GMT-09:30", -9.5), ("utc", 0), ("Z", 0), ("+0545", 5.75)],
)
def test_a_fixed_offset_is_a_zone(name: str, hours: float) -> None:
    assert find_zone(name).utcoffset(datetime(2024, 7, 1)) == timedelta(hours=hours)


def test_an_iana_name_is_a_zone_and_anything_else_is_refused() -> None:
    assert find_zone("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    for name in ("", "Berlin", "../etc/passwd", "/etc/localtime", "+25:00", "+01:75", "Europe", "a\0b"):
        with pytest.raises(UnusableProfile, match="is not a time zone; use an IANA name"):
            find_zone(name)
