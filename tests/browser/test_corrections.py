"""Readings are corrected on the chart: chosen, previewed, changed by the worker, and changed back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from .charts import chart_data, drag, panel, wait_for_chart
from .conftest import PATIENCE_MS

HOUR = 3600
SPIKE = 90_000.0


@pytest.fixture
def worker(telemetry: dict[str, str]) -> Callable[[], Any]:
    """Give a worker of corrections, at work as long as the block lasts that it is used in."""
    from joulebook.config import Config
    from joulebook.worker.correction_runner import CorrectionRunner

    @contextmanager
    def working() -> Iterator[None]:
        stopping = threading.Event()
        runner = CorrectionRunner(Config.from_environ(), telemetry["writer"])
        thread = threading.Thread(target=runner.run, args=(stopping,))
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join(60)
        assert not thread.is_alive()

    return working


@dataclass(frozen=True)
class Spiked:
    """Six hours of 600 W until `now`, a reading a minute, with one spike."""

    now: int
    spike: int


@pytest.fixture
def spiked(device, store):
    now = int(time.time()) // 60 * 60
    times = np.arange(now - 6 * HOUR, now, 60)
    spike = now - 3 * HOUR
    store(device.device_id, "power", times.tolist(), np.where(times == spike, SPIKE, 600.0).tolist())
    store(device.device_id, "grid.voltage", times.tolist(), np.full(len(times), 230.0).tolist())
    return Spiked(now, spike)


def window(spiked, *, hours=1):
    """Return the query of the hours around the spike."""
    begin, end = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(spiked.spike + sign * hours * HOUR // 2))
        for sign in (-1, 1)
    )
    return f"start={begin}&end={end}&tz=UTC"


def open_chart(page: Page, device: Any, spiked: Spiked, metric: str = "power") -> None:
    page.goto(f"/devices/{device.device_id}/?{window(spiked)}&metric={metric}")
    wait_for_chart(page, metric)


def begin(page: Page, metric: str = "power") -> Any:
    """Open the form of corrections below a chart."""
    panel(page, metric).get_by_role("button", name="Correct").click()
    form = page.locator('[data-part="correction"]')
    expect(form).to_be_visible()
    return form


def energy_today(page: Page, device: Any) -> float:
    answer = page.request.get(f"/api/energy/{device.device_id}?range=7d&metric=power&tz=UTC").json()
    return float(answer["series"][0]["total"])


def test_a_spike_is_chosen_previewed_deleted_and_given_back(alices_page, device, spiked, worker):
    page = alices_page
    open_chart(page, device, spiked)
    before = energy_today(page, device)
    # A minute of 90 kW.
    assert before == pytest.approx(3.59 + 1.49, abs=0.05)
    form = begin(page)
    middle = panel(page, "power").locator(".u-over").bounding_box()
    page.mouse.click(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2)
    expect(form.get_by_label("The reading of")).to_be_checked()
    form.get_by_label("Why").fill("a spike of the meter")
    form.get_by_role("button", name="See what changes").click()
    result = form.locator('[data-part="correction-result"]')
    expect(result).to_contain_text("1 reading would change")
    expect(result.get_by_role("table").first).to_contain_text("90.0\u202fkW")
    expect(result.get_by_role("table").first).to_contain_text("deleted")
    days = result.get_by_role("table").last
    expect(days).to_contain_text("Energy of the days")
    assert energy_today(page, device) == before
    with worker():
        form.get_by_role("button", name="Apply").click()
        expect(result).to_contain_text("1 reading changed", timeout=2 * PATIENCE_MS)
        page.wait_for_function(
            """() => Math.max(...document.querySelector('[data-metric="power"] [data-part="plot"]')
               .chart.plot.data[3].filter((value) => value != null)) === 600"""
        )
        assert spiked.spike not in chart_data(page)["time"]
        assert energy_today(page, device) == pytest.approx(before - 1.49, abs=0.02)
        result.get_by_role("button", name="Undo").click()
        expect(result).to_contain_text("is undone", timeout=2 * PATIENCE_MS)
    page.wait_for_function(
        """() => Math.max(...document.querySelector('[data-metric="power"] [data-part="plot"]')
           .chart.plot.data[3].filter((value) => value != null)) === 90000"""
    )
    assert energy_today(page, device) == before


def test_a_dragged_stretch_is_scaled_and_stays_chosen_while_the_window_moves(
    alices_page, device, spiked, worker
):
    page = alices_page
    open_chart(page, device, spiked)
    form = begin(page)
    before = chart_data(page)["window"]
    drag(page, 0.25, 0.75)
    assert chart_data(page)["window"] == before
    chosen = page.locator('[data-metric="power"] .u-select').bounding_box()
    plot = panel(page, "power").locator(".u-over").bounding_box()
    assert chosen["width"] == pytest.approx(plot["width"] / 2, abs=6)
    form.get_by_label("Scale and offset").check()
    form.get_by_label("Value ×").fill("0,5")
    form.get_by_label("Why").fill("the sensor counts double")
    form.get_by_role("button", name="See what changes").click()
    result = form.locator('[data-part="correction-result"]')
    expect(result).to_contain_text("30 readings would change")
    expect(result).to_contain_text("The first 20 readings")
    # Another number is another correction: it has to be looked at first.
    form.get_by_label("Value ×").fill("2")
    expect(form.get_by_role("button", name="Apply")).to_be_hidden()


def test_the_keyboard_alone_chooses_a_stretch(alices_page, device, spiked):
    page = alices_page
    open_chart(page, device, spiked)
    form = begin(page)
    panel(page, "power").locator('[data-part="plot"]').focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(form.get_by_label("The reading of")).to_be_checked()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    expect(form.get_by_role("radio", name="From")).to_be_checked()
    first, last = (form.get_by_label(name, exact=True).nth(-1).input_value() for name in ("From", "To"))
    begun = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(spiked.spike - HOUR // 2))
    ended = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(spiked.spike - HOUR // 2 + 600))
    assert (first[:16], last[:16]) == (begun, ended)
    page.keyboard.press("Tab")
    form.get_by_label("Why").focus()
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()


def test_a_refusal_names_the_field_and_what_is_wrong(alices_page, device, spiked, watch):
    page = alices_page
    watch.expect("400 (Bad Request)")
    open_chart(page, device, spiked)
    form = begin(page)
    form.get_by_label("Why").fill("for a test")
    drag(page, 0.2, 0.4)
    form.get_by_label("Set a value").check()
    form.get_by_label("Value", exact=True).first.fill("much")
    form.get_by_role("button", name="See what changes").click()
    expect(form).to_contain_text("“much” is no number; write the value like 18342.5.")
    form.get_by_label("Scale and offset").check()
    form.get_by_label("Value ×").fill("0")
    form.get_by_role("button", name="See what changes").click()
    expect(form).to_contain_text("factor must not be 0")


def test_someone_shared_with_cannot_correct(open_context, sign_in, bob, device, spiked, transactional_db):
    page = open_context().new_page()
    sign_in(page, "bob")
    open_chart(page, device, spiked)
    expect(page.get_by_role("button", name="Correct")).to_have_count(0)
    expect(page.locator('[data-part="correction"]')).to_have_count(0)


def test_one_finger_chooses_on_a_phone_and_nothing_is_wider_than_it(
    open_context, sign_in, alice, device, spiked, transactional_db
):
    page = open_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).new_page()
    sign_in(page, "alice")
    open_chart(page, device, spiked)
    form = begin(page)
    panel(page, "power").locator('[data-part="plot"]').scroll_into_view_if_needed()
    box = panel(page, "power").locator(".u-over").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(form.get_by_label("The reading of")).to_be_checked()
    for kind in ("Set a value", "Scale and offset", "Shift in time", "Fill a gap"):
        form.get_by_label(kind).check()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
