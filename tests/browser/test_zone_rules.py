"""Pages show the server's days, whatever rules the browser has for the zone.

The server's package `tzdata` has made-up rules for the device's zone: a change that no browser knows of.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from joulebook.web.history.energy.page import midnight

from ..conftest import Service, free_port
from ..made_up_rules import made_up_tzdata, made_up_zone
from .charts import chart_data, panel, wait_for_chart

ZONE = "Europe/Berlin"
BEFORE, AFTER = 20_700, -9_000
HOUR = 3600
DAY = 24 * HOUR

# As on a phone that knows no zones: what asks the browser for one fails, and fails the test.
NO_ZONES = """
window.itsOwn = Intl.DateTimeFormat;
Intl.DateTimeFormat = function (locale, options) {
  if (options?.timeZone) throw new Error("the browser was asked for a zone");
  return new window.itsOwn(locale, options);
};
for (const name of ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]) {
  const own = Date.prototype[name];
  Date.prototype[name] = function (locale, options) {
    if (options?.timeZone) throw new Error("the browser was asked for a zone");
    return own.call(this, locale, options);
  };
}
"""
BROWSERS_CLOCK = """seconds => new window.itsOwn("en-GB", { timeZone: "Europe/Berlin", hour: "numeric", minute: "numeric" })
  .format(seconds * 1000)"""
AXIS = """() => {
  const axis = document.querySelector('[data-metric="power"] [data-part="plot"]').chart.plot.axes[0];
  return [axis._splits, axis._values];
}"""


@pytest.fixture(scope="module")
def change():
    """The instant at which the made-up clock is put back, three hours ago on a full minute."""
    return int(time.time()) // 60 * 60 - 3 * HOUR


@pytest.fixture(scope="module")
def rules(tmp_path_factory, change):
    """The folder of a package in which the device's zone has the made-up change."""
    return made_up_tzdata(tmp_path_factory.mktemp("rules"), {ZONE: [(0, BEFORE), (change, AFTER)]})


@pytest.fixture(scope="module")
def zone(rules):
    return made_up_zone(rules, ZONE)


@pytest.fixture(scope="module")
def other_web(telemetry, rules):
    """The web with the made-up rules."""
    search = os.pathsep.join(filter(None, [str(rules), os.environ.get("PYTHONPATH")]))
    service = Service("web", free_port(), {"PYTHONPATH": search})
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture
def old_phone(transactional_db, alice, open_context, other_web, sign_in):
    """Alice is signed in, in a browser that has no use for zones."""
    context = open_context(base_url=other_web.url)
    context.add_init_script(NO_ZONES)
    page = context.new_page()
    sign_in(page, "alice")
    return page


@pytest.fixture
def readings(device, store, change):
    """Three days, a reading each minute."""
    minutes = range(change - 3 * DAY, change + 3 * HOUR, 60)
    store(device.device_id, "power", minutes, [float(minute // 60 % 100) for minute in minutes])


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def clock(seconds, zone):
    return f"{datetime.fromtimestamp(seconds, zone):%H:%M}"


def words(seconds, zone):
    local = datetime.fromtimestamp(seconds, zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M:%S}"


def test_chart_table_and_readout_show_the_servers_clock(old_phone, device, readings, change, zone):
    page, start, end = old_phone, change - 3 * HOUR, change + 3 * HOUR
    page.goto(f"/devices/{device.device_id}/?start={utc(start)}&end={utc(end)}&metric=power")
    wait_for_chart(page)
    for moment in (start, change, end):
        assert page.evaluate(BROWSERS_CLOCK, moment) != clock(moment, zone)

    page.get_by_text("Table of these points").click()
    times = page.locator("tbody tr td:first-child").all_inner_texts()
    minutes = range(start, end, 60)
    assert times == [datetime.fromtimestamp(minute, zone).isoformat() for minute in minutes]
    assert {time[-6:] for time in times} == {"+05:45", "-02:30"}

    plot = panel(page, "power").locator('[data-part="plot"]')
    readout = panel(page, "power").locator('[data-part="readout"]')
    plot.press("Home")
    expect(readout).to_contain_text(words(start, zone))
    plot.press("End")
    expect(readout).to_contain_text(words(end - 60, zone))

    ticks, labels = page.evaluate(AXIS)
    local = [datetime.fromtimestamp(tick, zone) for tick in ticks]
    assert [label.partition("\n")[0] for label in labels] == [f"{each:%H:%M}" for each in local]
    assert {each.minute % 30 for each in local} == {0}
    assert min(ticks) < change < max(ticks)
    dates = [label.partition("\n")[2] for label in labels if "\n" in label]
    assert dates[0] == f"{local[0].day} {local[0]:%b}"


def test_days_begin_at_the_servers_midnights(old_phone, device, readings, change, zone):
    page = old_phone
    start = midnight(datetime.fromtimestamp(change - 2 * DAY, zone).date(), zone)
    end = start + timedelta(days=40)
    answer = page.request.get(
        f"/api/history/{device.device_id}?start={utc(start.timestamp())}&end={utc(end.timestamp())}&max_points=45"
    ).json()
    assert answer["resolution"] == "1d"
    begins = [datetime.fromtimestamp(at, zone) for at in answer["time"]]
    assert {begin.time().isoformat() for begin in begins} <= {"00:00:00"}
    assert [begin.date() for begin in begins] == [
        begins[0].date() + timedelta(days=n) for n in range(len(begins))
    ]
    assert [change, AFTER] in answer["offsets"]

    first, last = change - 3 * DAY, change + 3 * HOUR
    page.set_viewport_size({"width": 420, "height": 800})
    page.goto(f"/devices/{device.device_id}/?start={utc(first)}&end={utc(last)}&metric=power")
    wait_for_chart(page)
    ticks, labels = page.evaluate(AXIS)
    dates = [datetime.fromtimestamp(change, zone).date() + timedelta(days=n) for n in range(-4, 2)]
    days = [day for day in dates if first <= midnight(day, zone).timestamp() <= last]
    assert ticks == [midnight(day, zone).timestamp() for day in days]
    assert [label.partition("\n")[0] for label in labels] == [f"{day.day} {day:%b}" for day in days]


def test_a_range_is_typed_in_by_the_servers_clock_and_stepped_beyond(
    old_phone, device, readings, change, zone
):
    page = old_phone
    page.goto(f"/devices/{device.device_id}/?start={utc(change)}&end={utc(change + HOUR)}&metric=power")
    wait_for_chart(page)
    page.locator('[data-part="range-menu"] summary').click()
    form = page.locator('[data-part="range-form"]')
    shown = [f"{datetime.fromtimestamp(change + at, zone):%Y-%m-%dT%H:%M}" for at in (0, HOUR)]
    expect(form.get_by_label("From")).to_have_value(shown[0])
    expect(form.get_by_label("To")).to_have_value(shown[1])
    # Earlier than the times that the clock shows twice.
    begin = change - 10 * HOUR
    for label, at in (("From", begin), ("To", begin + HOUR)):
        form.get_by_label(label).fill(f"{datetime.fromtimestamp(at, zone):%Y-%m-%dT%H:%M:%S}")
    form.get_by_role("button", name="Show").click()
    expect(page.locator('[data-part="range-text"]')).to_contain_text(clock(begin, zone))
    wait_for_chart(page)
    assert chart_data(page)["window"] == {"start": begin, "end": begin + HOUR}
    page.get_by_role("button", name="Earlier").click()
    expect(page.locator('[data-part="range-text"]')).to_contain_text(clock(begin - HOUR, zone))
    wait_for_chart(page)
    assert chart_data(page)["window"] == {"start": begin - HOUR, "end": begin}


def test_an_answer_brings_rules_that_the_page_did_not_have(old_phone, device, readings, change):
    """A page stays open while the server gets a newer package."""
    newer = 11 * HOUR

    def answer(route):
        body = route.fetch().json()
        route.fulfill(json={**body, "offsets": [[int(change - DAY), newer]]})

    page = old_phone
    page.goto(f"/devices/{device.device_id}/?start={utc(change)}&end={utc(change + HOUR)}&metric=power")
    wait_for_chart(page)
    page.get_by_text("Table of these points").click()
    times = page.locator("tbody tr td:first-child")
    expect(times.first).to_contain_text("-02:30")
    page.route("**/api/history/**", answer)
    page.get_by_role("button", name="Earlier").click()
    expect(times.first).to_contain_text("+11:00")
    first = datetime.fromtimestamp(change - HOUR, UTC) + timedelta(seconds=newer)
    expect(times.first).to_have_text(f"{first:%Y-%m-%dT%H:%M:%S}+11:00")
