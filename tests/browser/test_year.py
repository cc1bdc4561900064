"""A year on one chart: what lasted one second is still to be seen."""

from __future__ import annotations

import time

import numpy as np
import psycopg
import pytest
from playwright.sync_api import expect

from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.rollups.roller import Roller

from .charts import chart_data, panel, resolution, wait_for_chart

DAY = 86_400
_TINTED = """metric => {
  const { chart } = document.querySelector(`[data-metric="${metric}"] [data-part="plot"]`);
  const { ctx, bbox } = chart.plot;
  const { canvas } = chart;
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const probe = copy.getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data.slice(0, 3);
  };
  const plain = [rgb(chart.colours.ground), rgb(chart.colours.grid)];
  probe.clearRect(0, 0, 1, 1);
  probe.drawImage(canvas, 0, 0);
  const found = [];
  const [left, top] = [Math.round(bbox.left), Math.round(bbox.top)];
  const height = Math.round(bbox.height / 2);
  const { data } = probe.getImageData(left, top, bbox.width, height);
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 40) continue;
    const far = plain.every((tone) => tone.reduce((sum, part, k) => sum + Math.abs(part - data[i + k]), 0) > 60);
    const pixel = i / 4;
    if (far) found.push([left + (pixel % bbox.width), top + Math.floor(pixel / bbox.width)]);
  }
  return found;
}"""


@pytest.fixture
def spike(device, store, telemetry):
    """A year of 900 W each ten minutes; for one second, five months ago, 25 kW. All of it rolled up."""
    now = int(time.time()) // 600 * 600
    times = np.arange(now - 365 * DAY, now, 600)
    spike = now - 150 * DAY - 12_345
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
        # What earlier tests stored would be rolled up as well, which takes minutes: it waits meanwhile.
        waiting = conn.execute("SELECT begins_at, ends_at, series_id FROM rollup_dirty").fetchall()
        conn.execute("TRUNCATE rollup_dirty")
        store(device.device_id, "power", times.tolist(), (900 + 50 * np.sin(times / 9000)).tolist())
        store(device.device_id, "power", [spike - 1, spike, spike + 1], [900.0, 25_000.0, 900.0])
        with connect(telemetry["writer"]) as rolling:
            roller = Roller(rolling)
            roller.close(from_microseconds(now * 1_000_000))
            while roller.roll():
                pass
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO rollup_dirty VALUES (%s, %s, %s)", waiting)
    return spike


def test_one_second_of_25_kilowatts_is_seen_in_the_one_year_view(alices_page, device, spike):
    with alices_page.expect_response(lambda answer: "/api/history/" in answer.url) as answered:
        alices_page.goto(f"/devices/{device.device_id}/?range=1y")
    wait_for_chart(alices_page)
    answer = answered.value.json()
    assert (answer["resolution"], answer["source"]) == ("12h", "readings_1h")
    assert resolution(alices_page) == "12 h means"

    data = chart_data(alices_page)
    known = [value for value in data["max"] if value is not None]
    assert len(known) > 720
    top = data["max"].index(25_000)
    assert data["time"][top] <= spike < data["time"][top] + 43_200
    assert sorted(known)[-2] < 1000
    assert data["mean"][top] < 1500

    # Nothing but the spike's band reaches into the upper half, and it does so up to its height.
    place = """([metric, at, value]) => {
      const { plot } = document.querySelector(`[data-metric="${metric}"] [data-part="plot"]`).chart;
      return [plot.valToPos(at, "x", true), plot.valToPos(value, "y", true)];
    }"""
    x, y = alices_page.evaluate(place, ["power", data["time"][top], 25_000])
    pixels = alices_page.evaluate(_TINTED, "power")
    assert pixels
    assert all(abs(column - x) <= 4 for column, _ in pixels)
    assert min(row for _, row in pixels) == pytest.approx(y, abs=12)
    expect(panel(alices_page, "power").locator('[data-part="peak"]')).to_contain_text("25.0\u202fkW")
    expect(panel(alices_page, "power").locator('[data-part="cover"]')).to_have_text("100\u202f%")
