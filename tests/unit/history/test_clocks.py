"""Where clocks were moved, in every zone that there is, and the edges of buckets around such moves."""

from __future__ import annotations

import gzip
import json
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.clocks import Clock, offsets_over
from joulebook.telemetry.history.resolutions import LADDER, bucket_edges
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.time_zones import ZoneInfo, time_zone_names

from .edge_truth import edges_one_by_one

ZONES = st.sampled_from(sorted(time_zone_names())).map(ZoneInfo)
EARLIEST, LATEST = datetime(1970, 1, 3, tzinfo=UTC), datetime(2199, 12, 1, tzinfo=UTC)
INSTANTS = st.datetimes(EARLIEST.replace(tzinfo=None), datetime(2060, 1, 1), timezones=st.just(UTC))


@st.composite
def instants_near_moves(draw, zone: ZoneInfo) -> datetime:
    """An instant close to a move of the zone's clock, where the drawn year has one."""
    instant = draw(INSTANTS)
    moves = Clock.over(zone, to_microseconds(instant), to_microseconds(instant)).changes.tolist()
    if not moves:
        return instant
    near = st.one_of(
        st.sampled_from([0, -1, 1, -1800, 1800, -3600, 3600, 7200]), st.integers(-90_000, 90_000)
    )
    return max(EARLIEST, from_microseconds(draw(st.sampled_from(moves))) + timedelta(seconds=draw(near)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_edges_are_those_that_are_found_one_by_one(data):
    zone = data.draw(ZONES)
    rung = data.draw(st.sampled_from(LADDER))
    start = data.draw(st.one_of(INSTANTS, instants_near_moves(zone)))
    length = rung.about * data.draw(st.sampled_from([0.01, 1, 3, 20]))
    end = min(start + length, LATEST)
    assert bucket_edges(start, end, rung, zone).tolist() == edges_one_by_one(start, end, rung, zone)


@settings(max_examples=50, deadline=None)
@given(ZONES, INSTANTS)
def test_between_two_moves_the_offset_stays_what_it_is(zone, instant):
    begin = instant.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    end = begin.replace(year=begin.year + 1)
    clock = Clock.over(zone, to_microseconds(begin), to_microseconds(end))
    borders = [to_microseconds(begin), *clock.changes.tolist()]
    for (since, until), offset in zip(pairwise([*borders, borders[-1] + 1]), clock.offsets, strict=True):
        step = timedelta(hours=7)
        at = from_microseconds(since)
        while at < from_microseconds(until):
            assert at.astimezone(zone).utcoffset() == timedelta(microseconds=int(offset))
            at += step


def test_a_day_that_was_left_out_at_the_turn_of_a_year_has_no_bucket():
    zone = ZoneInfo("Pacific/Kiritimati")
    [daily] = [rung for rung in LADDER if rung.name == "1d"]
    days = bucket_edges(datetime(1994, 12, 30, 12, tzinfo=UTC), datetime(1995, 1, 2, tzinfo=UTC), daily, zone)
    shown = [from_microseconds(day).astimezone(zone).date().isoformat() for day in days.tolist()]
    assert shown == ["1994-12-30", "1995-01-01", "1995-01-02", "1995-01-03"]


@settings(max_examples=60)
@given(st.data())
def test_offsets_tell_the_local_time_of_every_instant_of_their_years(data):
    zone = data.draw(ZONES)
    moments = st.one_of(INSTANTS, instants_near_moves(zone))
    start, end = sorted([data.draw(moments), data.draw(moments)])
    offsets = offsets_over(zone, to_microseconds(start), to_microseconds(end))
    begins = [begin for begin, _ in offsets]
    assert begins[0] == datetime(start.year, 1, 1, tzinfo=UTC).timestamp()
    assert begins == sorted(set(begins))
    assert all(before != after for (_, before), (_, after) in pairwise(offsets)), "each pair is a change"
    changes = [datetime.fromtimestamp(begin, UTC) for begin in begins[1:]]
    last_of_years = datetime(end.year + 1, 1, 1, tzinfo=UTC) - timedelta(seconds=1)
    for instant in [start, end, last_of_years, *changes, *(each - timedelta(seconds=1) for each in changes)]:
        _, ahead = offsets[bisect_right(begins, int(instant.timestamp())) - 1]
        assert instant.astimezone(zone).utcoffset() == timedelta(seconds=ahead)


def test_all_offsets_since_1970_weigh_little_on_a_page():
    until = to_microseconds(datetime(2028, 1, 1, tzinfo=UTC))
    zones = ("Africa/Casablanca", "America/New_York", "UTC")
    text = json.dumps({name: offsets_over(ZoneInfo(name), 0, until) for name in zones})
    assert len(gzip.compress(text.encode())) < 1_500
