"""Registers and states on a device's page: bars, shares and steps, and the words and rows beside them."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from joulebook.web.devices.models import MeterReplacement, Metric

from .charts import chart_data, panel, resolution, share_of_columns_with_curve, wait_for_chart

HOUR = 3600


@dataclass(frozen=True)
class Day:
    """24 hours until `now`, whole minutes: a register with a silence and a reset, a relay, a code."""

    now: int
    silence: tuple[int, int]
    reset: int
    replaced: int


@pytest.fixture
def day(device, store):
    now = int(time.time()) // 300 * 300
    tens = np.arange(now - 24 * HOUR - 600, now, 10)
    silence = (now - 10 * HOUR, now - 9 * HOUR)
    heard = tens[(tens <= silence[0]) | (tens >= silence[1])]
    reset = now - 5 * HOUR
    # 3.6 kWh an hour, a hundredth in each ten seconds; it begins anew at the reset.
    register = np.where(heard < reset, 500 + (heard - tens[0]) / 1000, (heard - reset) / 1000).round(3)
    store(device.device_id, "energy.imported", heard.tolist(), register.tolist())
    store(device.device_id, "boiler.relay", tens.tolist(), ((tens // 900) % 4 == 0).astype(float).tolist())
    code = np.choose((tens // 1800) % 3, [0, 1, 5]).astype(float)
    store(device.device_id, "heat_pump.state", tens.tolist(), code.tolist())
    replaced = now - 2 * HOUR
    metric = Metric.objects.create(device=device, name="energy.imported")
    MeterReplacement.objects.create(metric=metric, replaced_at=datetime.fromtimestamp(replaced, UTC))
    return Day(now, silence, reset, replaced)


def window_of(day, *, hours=24):
    def at(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    return f"start={at(day.now - hours * HOUR)}&end={at(day.now)}&tz=UTC"


@pytest.fixture
def kinds(alices_page, device, day):
    """Alice's page with 24 hours of the three metrics."""
    alices_page.goto(f"/devices/{device.device_id}/?{window_of(day)}")
    for metric in ("energy.imported", "boiler.relay", "heat_pump.state"):
        wait_for_chart(alices_page, metric)
    return alices_page


def text(page, metric, part):
    found = panel(page, metric).locator(f'[data-part="{part}"]')
    return found.inner_text().replace("\u202f", " ")


def test_a_register_is_bars_of_how_far_it_rose(kinds, device, day):
    assert resolution(kinds, "energy.imported") == "increase per 5 min"
    answer = kinds.request.get(f"/api/history/{device.device_id}?{window_of(day)}&metric=energy.imported")
    series = answer.json()["series"][0]
    drawn = chart_data(kinds, "energy.imported")
    known = [index for index, share in enumerate(series["coverage"]) if share > 0]
    assert len(known) > 270
    assert [drawn["mean"][index] for index in known] == [series["increase"][index] for index in known]
    assert share_of_columns_with_curve(kinds, "energy.imported") > 0.5
    total = f"{sum(series['increase']):.1f}"
    assert text(kinds, "energy.imported", "sum").startswith(total)
    expect(panel(kinds, "energy.imported")).not_to_contain_text("Mean")


def test_a_register_that_rose_unheard_says_so_in_words_and_leaves_the_silence_empty(kinds, day):
    data = chart_data(kinds, "energy.imported")
    silent = [
        value
        for at, value in zip(data["time"], data["mean"], strict=True)
        if day.silence[0] + 300 <= at < day.silence[1]
    ]
    assert len(silent) == 11
    assert set(silent) == {None}
    assert text(kinds, "energy.imported", "unallocated").startswith("3.60 kWh")
    assert text(kinds, "energy.imported", "cover") in {"95 %", "96 %"}
    # The bar where it was heard again is as high as what rose, hatched above its own increase.
    again = data["time"].index(day.silence[1])
    assert data["max"][again] - data["mean"][again] == pytest.approx(3.6, abs=0.001)


def test_resets_and_replaced_meters_are_counted_and_told_under_the_cursor(kinds, day):
    assert text(kinds, "energy.imported", "resets") == "1"
    assert text(kinds, "energy.imported", "replaced") == "1"
    plot = panel(kinds, "energy.imported").locator('[data-part="plot"]')
    plot.focus()
    data = chart_data(kinds, "energy.imported")
    stops = [at for at, value in zip(data["time"], data["mean"], strict=True) if value is not None]
    back = len(stops) - 1 - stops.index(day.replaced)
    kinds.keyboard.press("End")
    for _ in range(back // 10):
        kinds.keyboard.press("Shift+ArrowLeft")
    for _ in range(back % 10):
        kinds.keyboard.press("ArrowLeft")
    expect(panel(kinds, "energy.imported").locator('[data-part="readout"]')).to_contain_text("meter replaced")
    expect(kinds.locator('[data-part="announce"]')).to_contain_text("meter replaced")


def test_a_relay_is_its_share_of_time_on(kinds):
    assert resolution(kinds, "boiler.relay") == "share of 5 min"
    data = chart_data(kinds, "boiler.relay")
    assert {value for value in data["mean"] if value is not None} == {0, 1}
    assert text(kinds, "boiler.relay", "on").startswith("25 % 6 h")
    assert text(kinds, "boiler.relay", "now").split()[0] in {"on", "off"}
    assert 0.17 < share_of_columns_with_curve(kinds, "boiler.relay") < 0.27


def test_codes_are_stacked_and_their_legend_says_how_much_each(kinds):
    legend = panel(kinds, "heat_pump.state").locator('[data-part="legend"] li')
    assert [entry.replace("\u202f", " ").strip() for entry in legend.all_inner_texts()] == [
        "0 33 %",
        "1 33 %",
        "5 33 %",
    ]
    expect(panel(kinds, "boiler.relay").locator('[data-part="legend"]')).to_be_hidden()
    panel(kinds, "heat_pump.state").locator(".u-over").hover()
    readout = panel(kinds, "heat_pump.state").locator('[data-part="readout"]')
    expect(readout).to_contain_text("100\u202f%")


def test_short_ranges_are_steps_of_single_readings(alices_page, device, day):
    alices_page.goto(f"/devices/{device.device_id}/?{window_of(day, hours=1)}")
    wait_for_chart(alices_page, "boiler.relay")
    assert resolution(alices_page, "boiler.relay") == "every reading"
    assert text(alices_page, "boiler.relay", "on").startswith("25 % 15 min")
    # As in buckets: the first reading of the hour has risen since the one before the hour.
    assert text(alices_page, "energy.imported", "sum").startswith("3.60 kWh")
    shape = """() => document.querySelector('[data-metric="boiler.relay"] [data-part="plot"]').chart.drawing.shape"""
    assert alices_page.evaluate(shape) == "step"
    assert share_of_columns_with_curve(alices_page, "boiler.relay") > 0.9


def test_single_readings_of_a_register_are_bars_of_their_rise(alices_page, device, day):
    query = f"{window_of(day, hours=1)}&metric=energy.imported"
    alices_page.goto(f"/devices/{device.device_id}/?{query}")
    wait_for_chart(alices_page, "energy.imported")
    assert resolution(alices_page, "energy.imported") == "increase since the reading before"
    answer = alices_page.request.get(f"/api/history/{device.device_id}?{query}").json()
    assert answer["resolution"] == "raw"
    assert chart_data(alices_page, "energy.imported")["mean"] == answer["series"][0]["increase"]
    assert share_of_columns_with_curve(alices_page, "energy.imported") > 0.8
    panel(alices_page, "energy.imported").locator(".u-over").hover()
    readout = panel(alices_page, "energy.imported").locator('[data-part="readout"]')
    expect(readout).to_contain_text("in 10\u202fs · register")


def test_table_and_file_have_the_columns_of_each_kind(kinds, tmp_path):
    kinds.get_by_text("Save", exact=True).click()
    with kinds.expect_download() as saved:
        kinds.get_by_role("button", name="Save points (CSV)").click()
    saved.value.save_as(tmp_path / "points.csv")
    rows = list(csv.reader(io.StringIO(Path(tmp_path / "points.csv").read_text(encoding="utf-8"))))
    assert rows[0] == [
        "time",
        "boiler.relay share of on",
        "boiler.relay changes",
        "boiler.relay coverage",
        "energy.imported (kWh) increase",
        "energy.imported (kWh) unallocated",
        "energy.imported resets",
        "energy.imported coverage",
        "heat_pump.state share of 0",
        "heat_pump.state share of 1",
        "heat_pump.state share of 5",
        "heat_pump.state changes",
        "heat_pump.state coverage",
    ]
    assert len(rows) == 1 + 288
    assert sum(float(row[5] or 0) for row in rows[1:]) == pytest.approx(3.6, abs=0.001)
    assert sum(int(row[6] or 0) for row in rows[1:]) == 1


def test_a_live_register_grows_by_what_arrives(alices_page, device, day, send):
    alices_page.goto(f"/devices/{device.device_id}/?range=24h&metric=energy.imported&tz=UTC")
    wait_for_chart(alices_page, "energy.imported")
    before = chart_data(alices_page, "energy.imported")
    last = max(value for value in before["mean"] if value is not None)
    # A leap counts when the reading after it confirms it.
    for register in (400.0, 400.1):
        send({"time": datetime.now(UTC).isoformat(), "energy.imported": register})
    data = '() => document.querySelector(\'[data-metric="energy.imported"] [data-part="plot"]\').chart.plot.data[1]'
    alices_page.wait_for_function(
        f"(least) => Math.max(...({data})()) > least", arg=last + 100, timeout=60_000
    )


@pytest.fixture
def quarter_hours(device, store):
    """Ten days of an amount each quarter of an hour, an hour missing: 0.25 kWh each, one of 1 kWh."""
    now = int(time.time()) // 900 * 900
    times = np.arange(now - 240 * HOUR, now, 900)
    times = times[(times < now - 4 * HOUR) | (times >= now - 3 * HOUR)]
    values = np.where(times == now - 2 * HOUR, 1.0, 0.25)
    store(device.device_id, "meter.export", times.tolist(), values.tolist())
    Metric.objects.create(device=device, name="meter.export", kind="amount", unit="kWh")
    return now


def test_an_amount_is_bars_of_the_sums_at_a_coarse_range(alices_page, device, quarter_hours):
    alices_page.goto(f"/devices/{device.device_id}/?range=30d&metric=meter.export&tz=UTC")
    wait_for_chart(alices_page, "meter.export")
    assert resolution(alices_page, "meter.export") == "sum per 1 h"
    answer = alices_page.request.get(f"/api/history/{device.device_id}?range=30d&tz=UTC").json()
    sums = [value for value in answer["series"][0]["sum"] if value]
    assert [value for value in chart_data(alices_page, "meter.export")["mean"] if value] == sums
    # 956 quarters of an hour, one of them with 1 kWh.
    assert text(alices_page, "meter.export", "sum") == "240 kWh"
    assert sum(sums) == pytest.approx(239.75)
    assert text(alices_page, "meter.export", "peak").startswith("1.75 kWh")
    expect(panel(alices_page, "meter.export")).not_to_contain_text("Mean")
    alices_page.get_by_text("Table of these points").click()
    head = alices_page.locator('[data-part="table-body"] th').all_inner_texts()
    assert head == ["time", "Meter export (kWh) sum", "Meter export (kWh) largest", "Meter export coverage"]


def test_single_amounts_are_bars_over_their_own_intervals(alices_page, device, quarter_hours):
    now = quarter_hours
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (now - 6 * HOUR, now))
    alices_page.goto(f"/devices/{device.device_id}/?start={begin}&end={end}&metric=meter.export&tz=UTC")
    wait_for_chart(alices_page, "meter.export")
    assert resolution(alices_page, "meter.export") == "every interval"
    data = chart_data(alices_page, "meter.export")
    assert sum(data["mean"]) == pytest.approx(20 * 0.25 + 0.75)
    assert text(alices_page, "meter.export", "sum") == "5.75 kWh"
    # Each interval fills the time to the next one: only the missing hour has no colour.
    assert share_of_columns_with_curve(alices_page, "meter.export") == pytest.approx(5 / 6 * 0.93, abs=0.06)
    plot = panel(alices_page, "meter.export").locator('[data-part="plot"]')
    plot.focus()
    alices_page.keyboard.press("End")
    expect(panel(alices_page, "meter.export").locator('[data-part="readout"]')).to_contain_text(
        "0.250\u202fkWh · in 15\u202fmin"
    )


@pytest.fixture
def modes(device, store):
    """Six hours until a whole hour of an inverter's mode a minute: an hour each of 0, 1 and 2, with words."""
    now = int(time.time()) // HOUR * HOUR
    times = np.arange(now - 6 * HOUR, now, 60)
    store(
        device.device_id,
        "inverter.mode",
        times.tolist(),
        ((times - times[0]) // HOUR % 3).astype(float).tolist(),
    )
    words = [
        {"value": 0, "word": "standby", "colour": "", "text": ""},
        {"value": 1, "word": "running", "colour": "#2f9e44", "text": ""},
    ]
    Metric.objects.create(device=device, name="inverter.mode", kind="state", words=words)
    return now


def window_until(now, hours):
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) for at in (now - hours * HOUR, now))
    return f"start={begin}&end={end}&tz=UTC"


def test_a_state_with_words_is_a_timeline_of_them(alices_page, device, modes):
    alices_page.goto(f"/devices/{device.device_id}/?{window_until(modes, 6)}&metric=inverter.mode")
    wait_for_chart(alices_page, "inverter.mode")
    assert resolution(alices_page, "inverter.mode") == "every reading"
    shape = """() => document.querySelector('[data-metric="inverter.mode"] [data-part="plot"]').chart.drawing.shape"""
    assert alices_page.evaluate(shape) == "blocks"
    legend = panel(alices_page, "inverter.mode").locator('[data-part="legend"] li')
    assert [entry.replace("\u202f", " ").strip() for entry in legend.all_inner_texts()] == [
        "standby 33 %",
        "running 33 %",
        "2 33 %",
    ]
    assert text(alices_page, "inverter.mode", "changes") == "5"
    since = time.strftime("%H:%M", time.gmtime(modes - HOUR))
    assert text(alices_page, "inverter.mode", "since") == since
    panel(alices_page, "inverter.mode").locator('[data-part="plot"]').focus()
    alices_page.keyboard.press("Home")
    expect(panel(alices_page, "inverter.mode").locator('[data-part="readout"]')).to_contain_text("standby")
    alices_page.get_by_text("Table of these points").click()
    expect(alices_page.locator('[data-part="table-body"] tbody td').nth(1)).to_have_text("standby")
    # The owner's colour is on the canvas.
    alices_page.evaluate(
        """() => document.querySelector('[data-metric="inverter.mode"] [data-part="plot"]').chart.colours.line = "#2f9e44" """
    )
    assert 0.25 < share_of_columns_with_curve(alices_page, "inverter.mode") < 0.4


def test_texts_and_flags_keep_their_words_at_every_range(alices_page, device, send):
    now = int(time.time()) // HOUR * HOUR
    for minute in range(0, 120, 4):
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 2 * HOUR + 60 * minute))
        flags = ["overheat", "fan"] if minute < 60 else ["fan"] if minute < 96 else []
        send({"timestamp": at, "mode": "eco" if minute < 40 else "boost", "error_flags": flags})
    address = f"/devices/{device.device_id}/?{window_until(now, 2)}"
    alices_page.goto(address)
    for metric in ("mode", "error_flags"):
        wait_for_chart(alices_page, metric)
    assert text(alices_page, "mode", "on").startswith("boost: 67 %")
    entries = panel(alices_page, "error_flags").locator('[data-part="legend"] li').all_inner_texts()
    assert [entry.replace("\u202f", " ").strip() for entry in entries] == ["fan 80 %", "overheat 50 %"]
    panel(alices_page, "error_flags").locator('[data-part="plot"]').focus()
    alices_page.keyboard.press("Home")
    expect(panel(alices_page, "error_flags").locator('[data-part="readout"]')).to_contain_text(
        "fan, overheat"
    )
    alices_page.goto(f"/devices/{device.device_id}/?{window_until(now, 24 * 40)}")
    wait_for_chart(alices_page, "error_flags")
    labels = panel(alices_page, "error_flags").locator('[data-part="legend"] li').all_inner_texts()
    assert [label.split()[0] for label in labels] == ["fan", "overheat"]


def test_a_new_text_and_new_flags_reach_an_open_page(alices_page, device, send):
    send({"mode": "eco", "error_flags": ["fan"]})
    alices_page.goto(f"/devices/{device.device_id}/?range=10m&tz=UTC")
    wait_for_chart(alices_page, "mode")
    wait_for_chart(alices_page, "error_flags")
    expect(alices_page.locator('[data-part="live"]')).to_have_attribute("data-state", "live")
    expect(panel(alices_page, "mode").locator('[data-part="now"]')).to_have_text("eco")
    send({"mode": "turbo", "error_flags": ["fan", "overheat"]})
    expect(panel(alices_page, "mode").locator('[data-part="now"]')).to_have_text("turbo")
    expect(panel(alices_page, "error_flags").locator('[data-part="now"]')).to_have_text("fan, overheat")
