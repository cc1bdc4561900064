"""Devices at a glance: last reading, unit and the last hour's curve."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.overview import DeviceOverview, read_overviews
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch
from joulebook.web.devices.models import Device
from joulebook.web.devices.operations import set_first_meaning
from joulebook.web.devices.queries import settings_by_device
from joulebook.web.telemetry import telemetry_connection

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("transaction_on_both")


def device_overviews(device_ids: list[str], *, now: datetime) -> dict[str, DeviceOverview]:
    settings = settings_by_device(Device.objects.filter(device_id__in=device_ids))
    with telemetry_connection() as conn:
        return read_overviews(conn, settings, now=now)


@pytest.fixture
def store(writer, device):
    """Store readings of one metric of the device: {time before now: value}."""

    def put(metric: str, readings: dict[timedelta, float]) -> None:
        series = ensure_series(writer, [(device.device_id, metric)])[device.device_id, metric]
        time = np.array([to_microseconds(NOW - ago) for ago in readings], np.int64)
        value = np.array(list(readings.values()), np.float64)
        write_batch(writer, Batch(np.full(len(time), series, np.int32), time, value))

    return put


def test_a_device_is_shown_by_its_power_and_its_last_reading(device, store):
    store("alpha", {timedelta(seconds=1): 1.0})
    store(
        "power",
        {timedelta(minutes=5): 100.0, timedelta(minutes=5, seconds=30): 300.0, timedelta(days=3): 7.0},
    )
    overview = device_overviews([device.device_id], now=NOW)[device.device_id]
    assert (overview.metric, overview.unit, overview.value) == ("power", "W", 100.0)
    assert overview.time == NOW - timedelta(minutes=5)
    assert overview.sparkline == [None] * 54 + [300.0, 100.0] + [None] * 4


def test_the_owners_unit_is_shown(device, store):
    store("power", {timedelta(0): 1.0})
    set_first_meaning(device, "power", unit="kW", kind="")
    assert device_overviews([device.device_id], now=NOW)[device.device_id].unit == "kW"


def test_a_device_that_never_sent_is_left_out(device):
    assert device_overviews([device.device_id], now=NOW) == {}
