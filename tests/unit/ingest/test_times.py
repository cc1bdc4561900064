"""The times of packets: RFC 3339 whole and nothing else, and times without an offset."""

from __future__ import annotations

import re
import string
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from joulebook.ingest.times import (
    AS_UTC,
    DEFAULT_CLOCK,
    IN_DEVICE_ZONE,
    REFUSE,
    BadTime,
    DeviceClock,
    instant_by_size,
    instants_at,
    read_time,
)
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.time_zones import ZoneInfo

NOW = to_microseconds(datetime(2026, 11, 21, 12, tzinfo=UTC))
digits = st.text(string.digits, min_size=1, max_size=12)
offsets = st.one_of(
    st.sampled_from(["Z", "z"]),
    st.builds("{}{:02d}:{:02d}".format, st.sampled_from("+-"), st.integers(0, 23), st.integers(0, 59)),
)


@st.composite
def grammatical(draw: st.DrawFn) -> tuple[str, int]:
    """A time by the grammar of RFC 3339, section 5.6, and its instant by plain arithmetic."""
    day = draw(st.dates(date(1, 1, 2), date(9999, 12, 30)))
    hour, minute, second = draw(st.integers(0, 23)), draw(st.integers(0, 59)), draw(st.integers(0, 59))
    fraction, offset = draw(st.none() | digits), draw(offsets)
    text = f"{day:%m-%d}{draw(st.sampled_from('Tt '))}{hour:02d}:{minute:02d}:{second:02d}"
    text = f"{day.year:04d}-{text}{'' if fraction is None else '.' + fraction}{offset}"
    seconds = (day - date(1970, 1, 1)).days * 86_400 + hour * 3_600 + minute * 60 + second
    if offset not in "Zz":
        ahead = int(offset[1:3]) * 3_600 + int(offset[4:6]) * 60
        seconds += ahead if offset[0] == "-" else -ahead
    return text, seconds * 1_000_000 + int(f"{fraction or '0':0<6}"[:6])


@given(time=grammatical())
def test_every_time_of_the_grammar_is_read_to_the_microsecond(time):
    text, instant = time
    assert read_time(text, DEFAULT_CLOCK, NOW) == instant
    # Once more: now its minute is remembered.
    assert read_time(text, DEFAULT_CLOCK, NOW) == instant


_GRAMMAR = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


@given(text=st.from_regex(r"\d{4}-\d\d-\d\d[Tt _]\d\d:\d\d:\d\d([.,]\d+)?([Zz]|[+-]\d\d:?\d\d)?\n?"))
@example("2026-11-21T09:30:00+24:00")
@example("2026-11-21T09:30:00+01:60")
@example("2026-11-21T24:00:00Z")
@example("２０２６-11-21T09:30:00Z")
@example("2026-11-21T09:30:00Z\n")
@example("2026-11-21T09:30:00.٣Z")
def test_what_is_read_is_a_time_of_the_grammar(text):
    try:
        time = read_time(text, DeviceClock(AS_UTC), NOW)
    except BadTime:
        return
    assert _GRAMMAR.fullmatch(text)
    shown = from_microseconds(time - time % 1_000_000)
    assert text[:4] == "0000" or abs(shown.year - int(text[:4])) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "2026-W47-6T09:30:00Z",
        "2026-325T09:30:00Z",
        "20261121T093000Z",
        "2026-11-21T09:30:00,5Z",
        "2026-11-21T09:30Z",
        "2026-11-21T09Z",
        "2026-11-21",
        "2026-11-21_09:30:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T09:60:00Z",
        "2026-11-21T09:30:61Z",
        "2026-02-30T09:30:00Z",
        "2026-11-21T09:30:00.Z",
        "2026-11-21T09:30:00+01",
        "2026-11-21T09:30:00+0100",
        "2026-11-21T09:30:00+01:00:30",
        "2026-11-21T09:30:00 Z",
        " 2026-11-21T09:30:00Z",
        "+2026-11-21T09:30:00Z",
        "",
    ],
)
@pytest.mark.parametrize("rule", [REFUSE, AS_UTC, IN_DEVICE_ZONE])
def test_a_time_outside_the_grammar_is_refused_with_every_rule(text, rule):
    read_time("2026-11-21T09:30:00Z", DEFAULT_CLOCK, NOW)
    with pytest.raises(BadTime) as refused:
        read_time(text, DeviceClock(rule, "Europe/Berlin"), NOW)
    assert refused.value.code == "time_invalid"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1998-12-31T23:59:60Z", "1999-01-01T00:00:00+00:00"),
        ("1998-12-31T15:59:60.123-08:00", "1999-01-01T00:00:00.123+00:00"),
        ("2016-12-31T23:59:60.999999999Z", "2017-01-01T00:00:00.999999+00:00"),
    ],
)
def test_a_leap_second_is_the_first_second_of_the_next_month(text, instant):
    assert read_time(text, DEFAULT_CLOCK, NOW) == to_microseconds(datetime.fromisoformat(instant))


@pytest.mark.parametrize("text", ["1998-12-31T23:58:60Z", "1998-12-31T22:59:60Z", "1998-12-30T23:59:60Z"])
def test_a_second_60_elsewhere_is_refused(text):
    with pytest.raises(BadTime, match="leap second"):
        read_time(text, DEFAULT_CLOCK, NOW)


def test_further_digits_of_a_second_are_cut_off():
    cut = read_time("2026-11-21T09:30:00.1234569999Z", DEFAULT_CLOCK, NOW)
    assert cut == read_time("2026-11-21T09:30:00.123456Z", DEFAULT_CLOCK, NOW)


@given(
    instant=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    late=st.integers(0, 20 * 60),
)
def test_a_time_in_the_device_s_zone_sent_at_once_is_read_back(instant, zone, late):
    moment = instant.replace(tzinfo=UTC, microsecond=0)
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    arrived_at = to_microseconds(moment + timedelta(seconds=late))
    read = read_time(wall.isoformat(), DeviceClock(IN_DEVICE_ZONE, zone), arrived_at)
    # Lord Howe's clocks go back by half an hour: sent more than 15 minutes late, the other time is nearer.
    if not (zone == "Australia/Lord_Howe" and late > 15 * 60):
        assert read == to_microseconds(moment)
    assert wall == from_microseconds(read).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def test_in_the_doubled_hour_the_time_nearer_to_the_arrival_counts():
    berlin = DeviceClock(IN_DEVICE_ZONE, "Europe/Berlin")
    first = to_microseconds(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    for instant in (first, first + 3_600_000_000):
        assert read_time("2026-10-25T02:30:00", berlin, instant + 5_000_000) == instant


def test_a_time_in_the_skipped_hour_is_refused():
    with pytest.raises(BadTime, match="does not exist in Europe/Berlin") as refused:
        read_time("2026-03-29T02:30:00", DeviceClock(IN_DEVICE_ZONE, "Europe/Berlin"), NOW)
    assert refused.value.code == "time_invalid"
    assert instants_at(to_microseconds(datetime(2026, 3, 29, 2, 30, tzinfo=UTC)), "Europe/Berlin") == []


@pytest.mark.parametrize(
    ("text", "zone", "says"),
    [
        ("2026-11-21T12:00:02", "Europe/Berlin", "(UTC fits the moment of its arrival)"),
        ("2026-11-21T12:55:00", "Europe/Berlin", "(the device's zone, Europe/Berlin, fits the moment"),
        ("2026-11-21T11:59:00", "Europe/London", "(UTC and the device's zone, Europe/London, both fit"),
        ("2026-11-20T12:00:00", "Europe/Berlin", "(neither UTC nor the device's zone, Europe/Berlin, fits"),
    ],
)
def test_a_refused_time_says_what_fits_its_arrival(text, zone, says):
    with pytest.raises(BadTime) as refused:
        read_time(text, DeviceClock(REFUSE, zone), NOW)
    assert refused.value.code == "time_ambiguous"
    assert says in str(refused.value)


@given(
    instant=st.integers(to_microseconds(datetime(2000, 1, 2, tzinfo=UTC)), NOW),
    unit=st.sampled_from([1_000_000, 1_000, 1]),
)
def test_the_size_of_a_number_tells_its_unit(instant, unit):
    assert instant_by_size(instant // unit) == instant - instant % unit
    assert instant_by_size(instant * 1_000 + 999) == instant


@pytest.mark.parametrize("number", [0, -1, 12.5, 20_261_121, 1e9 / 2, float("nan"), float("inf"), 1e30])
def test_a_number_of_no_year_of_this_century_is_no_time(number):
    assert instant_by_size(number) is None
