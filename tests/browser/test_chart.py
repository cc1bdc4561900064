"""A device's chart in a browser: what is drawn, and what hands and keys do to it."""

from __future__ import annotations

import csv
import io
import time
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from joulebook.web.display import format_quantity

from .charts import (
    chart_data,
    drag,
    panel,
    resolution,
    share_of_columns_with_curve,
    span,
    wait_for_chart,
)


@pytest.fixture
def chart(alices_page, device, past):
    """Alice's page with six hours of her device on it."""
    alices_page.goto(f"/devices/{device.device_id}/?range=6h")
    wait_for_chart(alices_page)
    return alices_page


def readout(page, metric="power"):
    return panel(page, metric).locator('[data-part="readout"]')


def test_the_curve_on_the_page_is_the_answer_of_the_history_api(chart, device, past):
    data = chart_data(chart)
    answer = chart.request.get(f"/api/history/{device.device_id}?range=6h&metric=power").json()
    series = answer["series"][0]
    expected = {
        second: values
        for second, *values in zip(answer["time"], series["min"], series["mean"], series["max"], strict=True)
        if values[1] is not None
    }
    drawn = {
        second: values
        for second, *values in zip(data["time"], data["min"], data["mean"], data["max"], strict=True)
        if values[1] is not None
    }
    # The outermost buckets go on filling, and the window may have moved between the two requests.
    inner = sorted(expected)[2:-2]
    assert len(inner) > 600
    assert [drawn[second] for second in inner] == [expected[second] for second in inner]
    assert resolution(chart) == "30 s means"
    assert 0.85 < share_of_columns_with_curve(chart) < 1


def test_a_spike_of_one_second_is_in_the_band_and_is_the_peak(chart):
    assert max(value for value in chart_data(chart)["max"] if value is not None) == 9000
    expect(panel(chart, "power").locator('[data-part="peak"]')).to_contain_text("9.00\u202fkW")


def test_a_silence_breaks_the_line_and_a_slow_metric_is_joined(alices_page, device, past):
    def at(seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

    silence = past.now - 3 * 3600
    alices_page.goto(f"/devices/{device.device_id}/?start={at(silence - 300)}&end={at(silence + 2100)}")
    wait_for_chart(alices_page, "grid.voltage")
    assert resolution(alices_page) == "5 s means"
    power = chart_data(alices_page, "power")
    breaks = [second for second, mean in zip(power["time"], power["mean"], strict=True) if mean is None]
    assert len(breaks) == 1
    assert silence <= breaks[0] <= silence + 1800
    # Every second bucket of five seconds holds none of its readings; that is no silence.
    voltage = chart_data(alices_page, "grid.voltage")
    assert len(voltage["time"]) == 240
    assert None not in voltage["mean"]


def test_dragging_fetches_a_finer_resolution_and_double_click_goes_back(chart):
    before = span(chart)
    # The live tail asks for a number of points, a view does not.
    with chart.expect_response(lambda r: "start=" in r.url and "max_points" not in r.url) as answered:
        drag(chart, 0.1, 0.15)
    assert answered.value.json()["resolution"] == "5s"
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("5\u202fs means")
    assert span(chart) == pytest.approx(before * 0.05, rel=0.1)
    drag(chart, 0.2, 0.5)
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("every reading")
    seconds = chart_data(chart)["time"]
    assert {after - second for second, after in pairwise(seconds)} == {1}
    assert span(chart) == span(chart, "grid.voltage")

    panel(chart, "power").locator(".u-over").dblclick()
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("5\u202fs means")
    panel(chart, "power").locator('[data-part="plot"]').press("Backspace")
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("30\u202fs means")
    assert span(chart) == pytest.approx(before, rel=0.01)
    expect(chart.get_by_role("button", name="6h")).to_have_attribute("aria-pressed", "true")


def test_the_address_is_the_view(chart, open_context, sign_in, device):
    chart.get_by_role("button", name="1h").click()
    chart.locator("summary", has_text="Metrics").click()
    chart.get_by_role("checkbox", name="Grid voltage").uncheck()
    chart.locator('[data-part="zone"]').select_option("UTC")
    expect(panel(chart, "grid.voltage")).to_have_count(0)
    query = parse_qs(urlsplit(chart.url).query)
    assert query == {"range": ["1h"], "metric": ["power"], "tz": ["UTC"]}

    other = open_context().new_page()
    sign_in(other, "alice")
    other.goto(chart.url)
    wait_for_chart(other)
    here, there = (
        dict(zip(data["time"], data["mean"], strict=True)) for data in map(chart_data, (chart, other))
    )
    both = sorted(here.keys() & there.keys())[5:-5]  # the other page was opened a little later
    assert len(both) > 0.9 * len(here)
    assert [here[time] for time in both] == [there[time] for time in both]
    expect(panel(other, "grid.voltage")).to_have_count(0)
    chart.go_back()
    chart.go_back()
    expect(panel(chart, "grid.voltage")).to_have_count(1)
    chart.go_back()
    expect(chart.get_by_role("button", name="6h")).to_have_attribute("aria-pressed", "true")


def test_a_range_of_ones_own_is_understood_in_the_shown_zone(chart, past):
    chart.locator('[data-part="range-menu"] summary').click()
    start = chart.evaluate(
        "seconds => new Date(seconds * 1000).toLocaleString('sv', { timeZone: 'Europe/Berlin' }).replace(' ', 'T')",
        past.now - 7200,
    )
    end = chart.evaluate(
        "seconds => new Date(seconds * 1000).toLocaleString('sv', { timeZone: 'Europe/Berlin' }).replace(' ', 'T')",
        past.now - 5400,
    )
    form = chart.locator('[data-part="range-form"]')
    form.get_by_label("From").fill(end)
    form.get_by_label("To").fill(start)
    form.get_by_role("button", name="Show").click()
    expect(form.get_by_text("The end must lie after the start.")).to_be_visible()
    form.get_by_label("From").fill(start)
    form.get_by_label("To").fill(end)
    form.get_by_role("button", name="Show").click()
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("5\u202fs means")
    window = chart_data(chart)["window"]
    assert (window["start"], window["end"]) == (past.now - 7200, past.now - 5400)
    chart.get_by_role("button", name="Earlier").click()
    wait_for_chart(chart)
    assert chart_data(chart)["window"]["end"] == past.now - 7200
    chart.get_by_role("button", name="Later").click()
    wait_for_chart(chart)
    assert chart_data(chart)["window"]["end"] == past.now - 5400


def test_wheel_and_keys_zoom_about_the_cursor(chart):
    box = panel(chart, "power").locator(".u-over").bounding_box()
    centre = (box["x"] + box["width"] / 4, box["y"] + 40)
    before = chart_data(chart)["window"]
    chart.mouse.move(*centre)
    chart.wait_for_timeout(500)
    chart.mouse.wheel(0, -300)
    chart.wait_for_url("**start=**")
    wait_for_chart(chart)
    window = chart_data(chart)["window"]
    under = before["start"] + (before["end"] - before["start"]) / 4
    assert window["end"] - window["start"] < (before["end"] - before["start"]) * 0.8
    assert (under - window["start"]) / (window["end"] - window["start"]) == pytest.approx(0.25, abs=0.02)

    panel(chart, "power").locator('[data-part="plot"]').press("-")
    wait_for_chart(chart)
    assert span(chart) == pytest.approx(2 * (window["end"] - window["start"]), rel=0.01)


def test_shift_and_drag_pan_without_changing_the_span(chart):
    drag(chart, 0.2, 0.6)
    wait_for_chart(chart)
    before = chart_data(chart)["window"]
    chart.keyboard.down("Shift")
    drag(chart, 0.3, 0.5)
    chart.keyboard.up("Shift")
    wait_for_chart(chart)
    after = chart_data(chart)["window"]
    width = before["end"] - before["start"]
    assert after["end"] - after["start"] == pytest.approx(width, rel=0.001)
    assert before["start"] - after["start"] == pytest.approx(0.2 * width, rel=0.05)


def test_arrows_move_a_cursor_that_is_shared_and_announced(chart):
    plot = panel(chart, "power").locator('[data-part="plot"]')
    plot.press("End")
    last = readout(chart).inner_text()
    assert "mean" in last
    plot.press("Home")
    first = readout(chart).inner_text()
    plot.press("ArrowRight")
    second = readout(chart).inner_text()
    assert len({first, second, last}) == 3
    announced = chart.locator('[data-part="announce"]')
    expect(announced).to_have_text(f"Power, {second}")
    assert second.partition(" · ")[0] == readout(chart, "grid.voltage").inner_text().partition(" · ")[0]
    data = chart_data(chart)
    in_view = [
        mean for at, mean in zip(data["time"], data["mean"], strict=True) if at >= data["window"]["start"]
    ]
    assert f"mean {format_quantity(in_view[1], 'W')}" in second
    plot.press("Escape")
    expect(readout(chart)).to_have_text("")


def test_hovering_one_chart_tells_the_time_and_values_of_all(chart):
    box = panel(chart, "power").locator(".u-over").bounding_box()
    chart.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 30)
    expect(readout(chart)).to_contain_text("30 readings")
    expect(readout(chart, "grid.voltage")).to_contain_text("3 readings")
    chart.mouse.move(box["x"] + box["width"] * 0.54, box["y"] + 30)
    expect(readout(chart)).to_contain_text("no reading")
    expect(readout(chart, "grid.voltage")).to_contain_text("3 readings")


def test_a_reading_reaches_an_open_page_within_a_second_and_without_a_request(
    alices_page, device, past, send
):
    with alices_page.expect_request("**/live/**"):
        alices_page.goto(f"/devices/{device.device_id}/?range=10m")
    wait_for_chart(alices_page)
    expect(alices_page.locator('[data-part="live"]')).to_have_text("Live")
    alices_page.wait_for_timeout(3_000)
    delays = []
    for value in range(4001, 4021):
        before = time.time()
        send({"power": value})
        alices_page.wait_for_function(
            """value => document.querySelector('[data-metric="power"] [data-part="plot"]').chart.plot.data[3].at(-1) === value""",
            arg=value,
            polling=20,
        )
        delays.append(time.time() - before)
    assert sorted(delays)[10] < 1, delays
    assert max(delays) < 10, delays
    data = chart_data(alices_page)
    assert data["mean"][-20:] == list(range(4001, 4021))
    assert data["time"] == sorted(set(data["time"]))


def test_the_newest_value_of_a_page_of_means_comes_by_itself(alices_page, device, past, send):
    with alices_page.expect_request("**/live/**"):
        alices_page.goto(f"/devices/{device.device_id}/?range=24h&metric=power")
    wait_for_chart(alices_page)
    alices_page.wait_for_timeout(2_000)
    alices_page.route("**/api/history/**", lambda _route: None)
    send({"power": 4321})
    expect(panel(alices_page, "power").locator('[data-part="now"]')).to_contain_text("4.32\u202fkW")


def test_a_share_that_is_withdrawn_ends_the_live_view(
    transactional_db, bob, device, past, page, sign_in, watch
):
    from joulebook.web.devices.models import DeviceShare

    watch.expect("403")
    sign_in(page, "bob")
    with page.expect_request("**/live/**"):
        page.goto(f"/devices/{device.device_id}/?range=10m")
    wait_for_chart(page)
    DeviceShare.objects.all().delete()
    expect(page.locator('[data-part="error-text"]')).to_contain_text("not, or no longer, yours to see")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3_000)
    assert [url for url in asked if "/api/" in url or "/live/" in url] == []


@pytest.mark.slow
def test_a_stream_is_followed_by_the_next_before_it_ends(alices_page, device, past, send):
    streams: list[str] = []
    alices_page.on("request", lambda request: "/live/" in request.url and streams.append(request.url))
    alices_page.goto(f"/devices/{device.device_id}/?range=10m")
    wait_for_chart(alices_page)
    for value in range(4001, 4061):
        alices_page.wait_for_timeout(1_500)
        send({"power": value})
        alices_page.wait_for_function(
            """value => document.querySelector('[data-metric="power"] [data-part="plot"]').chart.plot.data[3].at(-1) === value""",
            arg=value,
            timeout=1_500,
        )
    assert 2 <= len(streams) <= 4


def test_without_the_live_feed_the_tail_is_polled(alices_page, device, past, send, watch):
    watch.expect("503")
    alices_page.route("**/api/live-ticket/**", lambda route: route.fulfill(status=503))
    alices_page.goto(f"/devices/{device.device_id}/?range=10m")
    wait_for_chart(alices_page)
    expect(alices_page.locator('[data-part="live"]')).to_have_text("Live")
    before = chart_data(alices_page)
    requests: list[str] = []
    alices_page.on("request", lambda request: requests.append(request.url))
    send({"power": 4321})
    expect(panel(alices_page, "power").locator('[data-part="now"]')).to_contain_text("4.32\u202fkW")
    after = chart_data(alices_page)
    assert after["mean"][-1] == 4321
    assert after["time"][-1] > before["time"][-1]
    assert after["window"]["end"] > before["window"]["end"]
    # Only the tail was fetched: no request asked for the ten minutes again.
    history = [parse_qs(urlsplit(url).query) for url in requests if "/api/history/" in url]
    assert history
    assert all("start" in query and "range" not in query for query in history)


def test_the_live_tail_of_means_fetches_only_the_last_buckets(alices_page, device, past, send):
    alices_page.goto(f"/devices/{device.device_id}/?range=1h&metric=power")
    wait_for_chart(alices_page)
    assert resolution(alices_page) == "5 s means"
    requests: list[str] = []
    alices_page.on("request", lambda request: requests.append(request.url))
    send({"power": 4321})
    alices_page.wait_for_function(
        """() => document.querySelector('[data-metric="power"] [data-part="plot"]').chart.plot.data[1].at(-1) === 4321"""
    )
    history = [parse_qs(urlsplit(url).query) for url in requests if "/api/history/" in url]
    assert history
    assert all("range" not in query for query in history)


def test_a_hidden_page_asks_for_nothing_and_a_lost_connection_is_shown(alices_page, device, past, watch):
    watch.expect("ERR_INTERNET_DISCONNECTED")
    alices_page.goto(f"/devices/{device.device_id}/?range=10m")
    wait_for_chart(alices_page)
    live = alices_page.locator('[data-part="live"]')
    alices_page.context.set_offline(True)
    expect(live).to_have_text("Reconnecting")
    alices_page.context.set_offline(False)
    expect(live).to_have_text("Live")
    alices_page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    expect(live).to_have_text("Paused")
    requests: list[str] = []
    alices_page.on("request", lambda request: requests.append(request.url))
    alices_page.wait_for_timeout(6_000)
    assert requests == []
    live.click()
    expect(live).to_have_text("Paused")
    assert "start=" in alices_page.url


def test_a_late_answer_never_replaces_a_newer_one(chart):
    held = []
    chart.route("**/api/history/**range=24h**", lambda route: held.append(route))
    chart.get_by_role("button", name="24h").click()
    chart.get_by_role("button", name="1h").click()
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("5\u202fs means")
    assert len(held) == 1
    held[0].continue_()
    chart.wait_for_timeout(1_000)
    assert resolution(chart) == "5 s means"
    assert span(chart) == pytest.approx(3600, abs=1)


def test_the_old_curve_stays_until_the_new_one_arrives(chart):
    held = []
    points = len(chart_data(chart)["time"])
    chart.route("**/api/history/**range=1h**", lambda route: held.append(route))
    chart.get_by_role("button", name="1h").click()
    expect(chart.locator('[data-part="panels"]')).to_have_attribute("aria-busy", "true")
    assert len(chart_data(chart)["time"]) == points
    assert span(chart) == pytest.approx(3600, abs=1)
    assert share_of_columns_with_curve(chart) > 0.5
    held[0].continue_()
    expect(chart.locator('[data-part="panels"]')).to_have_attribute("aria-busy", "false")
    assert len(chart_data(chart)["time"]) > points


def test_a_failed_fetch_says_so_and_can_be_tried_again(chart, watch):
    watch.expect("ERR_INTERNET_DISCONNECTED")
    chart.context.set_offline(True)
    chart.get_by_role("button", name="24h").click()
    expect(chart.get_by_text("Joulebook cannot be reached.")).to_be_visible()
    chart.context.set_offline(False)
    chart.get_by_role("button", name="Try again").click()
    expect(chart.get_by_text("Joulebook cannot be reached.")).to_be_hidden()
    expect(panel(chart, "power").locator('[data-part="resolution"]')).to_have_text("5\u202fmin means")


def test_a_session_that_has_ended_leads_to_the_sign_in_form_and_back(chart, watch):
    watch.expect("401 (Unauthorized)")
    chart.context.clear_cookies()
    chart.get_by_role("button", name="24h").click()
    expect(chart.get_by_text("You are no longer signed in.")).to_be_visible()
    address = urlsplit(chart.url)
    chart.get_by_role("button", name="Sign in").click()
    chart.wait_for_url("**/sign-in/?next=**")
    assert parse_qs(urlsplit(chart.url).query)["next"] == [f"{address.path}?{address.query}"]


def test_years_that_are_long_past_are_one_click_away(alices_page, device, store):
    end = int(time.time()) // 86_400 * 86_400 - 3 * 365 * 86_400
    minutes = range(end - 370 * 86_400, end, 60)
    store(device.device_id, "power", minutes, [float(minute // 60 % 100) for minute in minutes])
    alices_page.goto(f"/devices/{device.device_id}/?range=1y&tz=UTC")
    expect(alices_page.get_by_text("No readings in this range.")).to_be_visible()
    expect(panel(alices_page, "power")).to_contain_text("No readings in this range")
    cover = panel(alices_page, "power").locator('[data-part="cover"]')
    for preset, means in (("1y", "12 h means"), ("30d", "1 h means"), ("24h", "5 min means")):
        alices_page.get_by_role("button", name=preset, exact=True).click()
        wait_for_chart(alices_page)
        alices_page.get_by_role("button", name="Show latest data").click()
        expect(cover).to_have_text("100\u202f%")
        assert resolution(alices_page) == means
        assert share_of_columns_with_curve(alices_page) > 0.85
        expect(panel(alices_page, "power").locator('[data-part="peak"]')).to_contain_text("99.0\u202fW")
    alices_page.get_by_role("button", name="All").click()
    wait_for_chart(alices_page)
    expect(alices_page.get_by_text("The readings end on")).to_be_visible()


def test_a_device_with_many_metrics_begins_with_some_and_offers_all(alices_page, device, store):
    now = int(time.time())
    for number in range(11):
        store(device.device_id, f"sensor.{number:02}", range(now - 300, now), [float(number)] * 300)
    alices_page.goto(f"/devices/{device.device_id}/?range=10m")
    wait_for_chart(alices_page, "sensor.00")
    panels = alices_page.locator('[data-part="panels"] > *')
    expect(panels).to_have_count(8)
    alices_page.locator("summary", has_text="Metrics 8 of 11").click()
    alices_page.get_by_role("checkbox", name="Sensor 10").check()
    expect(panels).to_have_count(9)
    wait_for_chart(alices_page, "sensor.10")
    assert chart_data(alices_page, "sensor.10")["mean"][5] == 10


def test_the_table_and_the_saved_file_hold_the_points_shown(chart, tmp_path):
    chart.get_by_text("Table of these points").click()
    head = chart.locator("thead th").all_inner_texts()
    assert head[:3] == ["time", "Grid voltage (V) mean", "Grid voltage (V) min"] or "Power (W) mean" in head
    chart.locator('[data-part="copy-menu"] summary').click()
    with chart.expect_download() as saved:
        chart.get_by_role("button", name="Save points (CSV)").click()
    target = Path(tmp_path) / "points.csv"
    saved.value.save_as(target)
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    data = chart_data(chart)
    means = [mean for mean in data["mean"] if mean is not None]
    saved_means = [float(row["power (W) mean"]) for row in rows if row["power (W) mean"]]
    assert saved_means[2:-2] == pytest.approx(means[2:-2], rel=1e-9)
    assert rows[0]["time"][-6:] in {"+01:00", "+02:00"}

    chart.locator('[data-part="copy-menu"] summary').click()
    with chart.expect_download() as saved:
        chart.get_by_role("button", name="Save picture (PNG)").click()
    saved.value.save_as(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_two_fingers_zoom_and_one_reads_values(open_context, sign_in, alice, device, past, transactional_db):
    page = open_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{device.device_id}/?range=6h")
    wait_for_chart(page)
    box = panel(page, "power").locator(".u-over").bounding_box()
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *shares):
        points = [{"x": box["x"] + box["width"] * share, "y": box["y"] + 60} for share in shares]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.1)
    touch("touchMove", 0.2)
    expect(readout(page)).to_contain_text("readings")
    touch("touchEnd")
    touch("touchStart", 0.4, 0.6)
    for step in (0.05, 0.1, 0.2):
        touch("touchMove", 0.4 - step, 0.6 + step)
    touch("touchEnd")
    page.wait_for_url("**start=**")
    wait_for_chart(page)
    assert span(page) == pytest.approx(6 * 3600 / 3, rel=0.1)
