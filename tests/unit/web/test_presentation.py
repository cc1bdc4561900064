"""What devices, metrics, numbers and instants look like to people."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.kinds.settings import metric_label
from joulebook.web.devices import queries
from joulebook.web.devices.models import Device
from joulebook.web.devices.status import DeviceStatus, device_status
from joulebook.web.display import format_ago, format_instant, format_quantity, format_since, metric_colour

NOW = datetime(2026, 11, 21, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1238.4999999, "W", "1.24 kW"),
        (230.1, "V", "230.1 V"),
        (50.0234, "Hz", "50.02 Hz"),
        (18.234, "kWh", "18.2 kWh"),
        (18342.7, "kWh", "18 343 kWh"),
        (999.6, "W", "1.00 kW"),
        (-4.2, "W", "−4.20 W"),
        (-0.00000001, "W", "−1.0e-8 W"),
        (0.0, "W", "0 W"),
        (-0.0, "", "0"),
        (3, "", "3"),
        (2_500_000, "W", "2.50 MW"),
        (None, "W", "–"),
        (math.nan, "W", "–"),
        (math.inf, "W", "–"),
    ],
)
def test_quantities_have_sensible_digits(value, unit, text):
    assert format_quantity(value, unit).replace("\u202f", " ") == text


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", "W", "V", "Hz", "kWh"]))
def test_no_quantity_is_longer_than_a_table_cell(value, unit):
    assert len(format_quantity(value, unit)) <= 28


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (4, "4 s ago"), (60, "1 min ago"), (7300, "2 h ago"), (200_000, "2 d ago"), (-30, "now")],
)
def test_ages_are_told_in_the_coarsest_unit(seconds, text):
    assert format_ago(NOW - timedelta(seconds=seconds), now=NOW) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 11, 20, 23, 12, tzinfo=UTC), "00:12"),
        (datetime(2026, 11, 20, 22, 12, tzinfo=UTC), "Fri 23:12"),
        (datetime(2026, 3, 4, 12, tzinfo=UTC), "4 Mar"),
        (datetime(2023, 2, 28, 12, tzinfo=UTC), "28 Feb 2023"),
    ],
)
def test_silence_is_dated_by_the_devices_own_midnight(time, text):
    assert format_since(time, now=NOW, tz="Europe/Berlin") == text


def test_an_instant_is_told_in_the_zone():
    assert format_instant(NOW, tz="Asia/Kathmandu") == "Sat 21 Nov 2026, 12:15:00"


@pytest.mark.parametrize(
    ("silence_limit", "usual", "seconds"),
    [
        (None, None, 300),
        (None, timedelta(seconds=1), 300),
        (None, timedelta(minutes=15), 2700),
        (20, timedelta(minutes=15), 20),
        (86_400, timedelta(seconds=1), 86_400),
    ],
)
def test_a_device_is_silent_after_its_owners_limit_else_five_minutes_or_three_usual_distances(
    silence_limit, usual, seconds
):
    limit = queries.silence_limit(Device(silence_limit=silence_limit), usual=usual)
    assert limit == timedelta(seconds=seconds)
    assert device_status(NOW - limit, limit=limit, now=NOW) is DeviceStatus.LIVE
    assert device_status(NOW - limit - timedelta(seconds=1), limit=limit, now=NOW) is DeviceStatus.SILENT


def test_a_device_that_never_sent_waits():
    assert device_status(None, limit=timedelta(minutes=5), now=NOW) is DeviceStatus.WAITING


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("power", "Power"),
        ("battery.soc", "Battery state of charge"),
        ("grid_import", "Grid import"),
        ("_", "_"),
    ],
)
def test_a_metric_has_a_label_for_people(metric, label):
    assert metric_label(metric) == label
    assert metric_label(metric, "My own") == "My own"


@pytest.mark.parametrize(
    ("metric", "colour"),
    [
        ("solar.power", "solar"),
        ("battery.voltage", "battery"),
        ("grid.power", "grid"),
        ("load", "load"),
        ("power", "load"),
    ],
)
def test_colours_follow_what_a_metric_is(metric, colour):
    assert metric_colour(metric) == colour
