"""The page of energy in a browser: found from the device, useful without scripts, and fit for a phone."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from playwright.sync_api import expect

from .conftest import PHONE


@pytest.fixture
def meter(device, store):
    """Three days of a device with a power, a register and a temperature."""
    now = int(time.time())
    times = np.arange(now - 3 * 86_400, now, 120)
    store(device.device_id, "power", times.tolist(), np.full(len(times), -1500.0).tolist())
    store(device.device_id, "energy.imported", times.tolist(), ((times - times[0]) / 2400).tolist())
    store(device.device_id, "temperature", times.tolist(), np.full(len(times), 20.0).tolist())
    return device


def test_energy_is_found_from_the_device_and_a_day_leads_back_to_its_charts(alices_page, meter):
    alices_page.goto(f"/devices/{meter.device_id}/")
    alices_page.get_by_role("link", name="Energy", exact=True).click()
    alices_page.wait_for_url("**/energy/")
    expect(alices_page.locator("tbody th").first).to_have_text(re.compile(r"^\w{3} 1 \w{3}$"))
    alices_page.locator("tbody th a").last.click()
    alices_page.wait_for_url("**/?start=*")
    expect(alices_page.locator('[data-metric="energy.imported"] [data-part="sum"]')).to_contain_text("kWh")
    expect(alices_page.locator('[data-metric="temperature"]')).to_have_count(0)


def test_it_works_without_any_script_and_does_not_scroll_sideways_on_a_phone(
    open_context, transactional_db, alice, sign_in, meter
):
    page = open_context(viewport=PHONE, java_script_enabled=False).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{meter.device_id}/energy/?per=week")
    expect(page.locator("svg.energy")).to_have_count(2)
    page.locator('select[name="unit"]').select_option("Wh")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator('[data-metric="power"]')).to_contain_text("Wh")
    expect(page.locator('[data-metric="power"] dd').first).to_contain_text(
        re.compile(r"−10[78]\u202f\d{3}\.\d{3} Wh")
    )
    expect(page.get_by_role("link", name="By week")).to_have_attribute("aria-current", "true")


def test_the_phones_page_is_as_wide_as_the_phone(open_context, transactional_db, alice, sign_in, meter):
    page = open_context(viewport=PHONE).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{meter.device_id}/energy/")
    expect(page.locator("svg.energy")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    bars = page.locator('[data-metric="energy.imported"] svg.energy g rect')
    box = page.locator('[data-metric="energy.imported"] svg.energy').bounding_box()
    assert box is not None
    tallest = max(bar.bounding_box()["height"] for bar in bars.all())
    assert tallest > box["height"] * 0.7
