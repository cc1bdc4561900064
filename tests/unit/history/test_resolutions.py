"""The ladder and the edges of buckets, in zones where clocks are moved in odd ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.history.resolutions import LADDER, bucket_edges, choose_resolution
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.tables import WIDTHS, fitting_widths

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # falls back at midnight's hour
    "America/Sao_Paulo",
    "Asia/Kathmandu",  # +05:45
    "Asia/Kolkata",  # +05:30
    "Australia/Lord_Howe",  # moves by half an hour
    "Pacific/Apia",  # left out a whole day in 2011
    "Pacific/Chatham",  # +12:45 and +13:45
    "Africa/Casablanca",
    "Asia/Beirut",
)
RUNG = {resolution.name: resolution for resolution in LADDER}
instants = st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


def edges_in(zone: str, name: str, start: str, end: str) -> list[str]:
    edges = bucket_edges(
        datetime.fromisoformat(start), datetime.fromisoformat(end), RUNG[name], ZoneInfo(zone)
    )
    return [
        from_microseconds(int(edge)).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")
        for edge in edges
    ]


@settings(max_examples=300, deadline=None)
@given(
    start=instants,
    length=st.timedeltas(timedelta(seconds=1), timedelta(days=2000)),
    zone=st.sampled_from(ZONES),
)
def test_the_chosen_buckets_cover_the_range_are_few_enough_and_no_finer_rung_would_do(start, length, zone):
    end = min(start + length, datetime(2036, 1, 1, tzinfo=UTC))
    resolution, edges = choose_resolution(start, end, ZoneInfo(zone), max_points=100)
    assert len(edges) - 1 <= 100
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= to_microseconds(start) < edges[1]
    assert edges[-2] < to_microseconds(end) <= edges[-1]
    place = LADDER.index(resolution)
    if place:
        assert len(bucket_edges(start, end, LADDER[place - 1], ZoneInfo(zone))) - 1 > 100


@settings(max_examples=300, deadline=None)
@given(
    start=instants,
    count=st.integers(1, 40),
    rung=st.sampled_from(LADDER[5:16]),
    zone=st.sampled_from(ZONES),
    shift=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_buckets_stay_where_they_are_when_the_range_moves(start, count, rung, zone, shift):
    length = rung.about * count
    first = bucket_edges(start, start + length, rung, ZoneInfo(zone))
    second = bucket_edges(start + shift, start + shift + length, rung, ZoneInfo(zone))
    low, high = max(first[0], second[0]), min(first[-1], second[-1])
    assert (
        first[(first >= low) & (first <= high)].tolist()
        == second[(second >= low) & (second <= high)].tolist()
    )


@settings(max_examples=300, deadline=None)
@given(start=instants, rung=st.sampled_from(LADDER), zone=st.sampled_from(ZONES))
def test_every_edge_is_a_boundary_of_the_local_clock_or_the_moment_when_it_was_moved(start, rung, zone):
    edges = bucket_edges(start, start + rung.about * 5, rung, ZoneInfo(zone))
    for edge in edges.tolist():
        local = from_microseconds(edge).astimezone(ZoneInfo(zone))
        before = from_microseconds(edge - 1).astimezone(ZoneInfo(zone))
        moved = local.utcoffset() != before.utcoffset()
        midnight = local.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
        into = local.replace(tzinfo=None) - midnight
        if rung.seconds:
            assert moved or into % timedelta(seconds=rung.seconds) == timedelta(0)
        else:
            assert moved or into == timedelta(0)
        if rung.days == 7 and not moved:
            assert local.weekday() == 0
        if rung.months and not moved:
            assert local.day == 1
            assert (local.year * 12 + local.month - 1) % rung.months == 0


@settings(max_examples=200, deadline=None)
@given(start=instants, rung=st.sampled_from(LADDER), zone=st.sampled_from(ZONES))
def test_rollups_are_used_only_where_their_buckets_fit_between_all_edges(start, rung, zone):
    edges = bucket_edges(start, start + rung.about * 7, rung, ZoneInfo(zone))
    widths = fitting_widths(edges)
    assert widths == [width for width in WIDTHS if not (edges % width).any()]


def test_the_doubled_hour_is_two_buckets_of_an_hour():
    assert edges_in("Europe/Berlin", "1h", "2025-10-25T23:00Z", "2025-10-26T03:00Z") == [
        "2025-10-26T01:00+02:00",
        "2025-10-26T02:00+02:00",
        "2025-10-26T02:00+01:00",
        "2025-10-26T03:00+01:00",
        "2025-10-26T04:00+01:00",
    ]


def test_a_bucket_of_three_hours_lasts_four_when_an_hour_comes_twice():
    assert edges_in("Europe/Berlin", "3h", "2025-10-25T22:00Z", "2025-10-26T05:00Z") == [
        "2025-10-26T00:00+02:00",
        "2025-10-26T03:00+01:00",
        "2025-10-26T06:00+01:00",
    ]


def test_a_day_has_23_or_25_hours_when_clocks_change():
    for start, hours in (("2026-03-28T23:00Z", 23), ("2026-10-24T22:00Z", 25)):
        edges = bucket_edges(
            datetime.fromisoformat(start),
            datetime.fromisoformat(start) + timedelta(hours=1),
            RUNG["1d"],
            ZoneInfo("Europe/Berlin"),
        )
        assert np.diff(edges).tolist() == [hours * 3600 * MICROSECONDS]


def test_a_day_that_a_zone_left_out_has_no_bucket():
    days = edges_in("Pacific/Apia", "1d", "2011-12-29T10:00Z", "2012-01-01T09:00Z")
    assert [day[:10] for day in days] == ["2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]


def test_half_an_hour_at_lord_howe_is_not_lost():
    for start in ("2025-10-04T00:00Z", "2026-04-04T00:00Z"):
        begin = datetime.fromisoformat(start)
        edges = bucket_edges(begin, begin + timedelta(days=2), RUNG["30m"], ZoneInfo("Australia/Lord_Howe"))
        assert set(np.diff(edges).tolist()) == {1800 * MICROSECONDS}


@pytest.mark.parametrize("name", [resolution.name for resolution in LADDER])
def test_rungs_grow(name):
    for finer, coarser in pairwise(LADDER):
        assert finer.about < coarser.about
