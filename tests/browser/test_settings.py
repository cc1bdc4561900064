"""An owner says what a device and its metrics mean, by mouse, by keyboard, on a phone and without scripts."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect


@pytest.fixture
def register(device, store):
    """A register in Wh that has sent two readings just now, beside a power."""
    now = time.time()
    store(device.device_id, "meter.import", [now - 20, now - 10], [18_342_000, 18_342_500])
    store(device.device_id, "power", [now - 20, now - 10], [1000, 1200])


def test_an_owner_says_what_a_register_means_and_that_it_was_replaced(alices_page, device, register, watch):
    watch.expect("400 (Bad Request)")
    page = alices_page
    page.goto("/")
    page.locator(".device", has_text=device.name).click()
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Meter import").click()
    expect(page.get_by_text("Guessed: gauge (nothing in the name says otherwise)")).to_be_visible()
    expect(page.get_by_role("heading", name="Meter replacements")).to_have_count(0)

    page.get_by_label("Name", exact=True).fill("Taken from the grid")
    page.get_by_label("Unit").fill("kWh")
    page.get_by_label("Counter: a register").check()
    page.get_by_label("Factor").fill("0")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("factor 0 must not be 0")).to_be_visible()
    expect(page.get_by_label("Factor")).to_be_focused()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Taken from the grid")

    page.get_by_label("Factor").fill("0.001")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    expect(page.get_by_text("stored as 18342500 and shown as")).to_contain_text("18\u202f343\u202fkWh")

    page.get_by_label("Replaced at").fill("2026-10-25T12:00:00")
    page.get_by_label("Old meter's last register, in kWh").fill("9876.5")
    page.get_by_label("New meter's first register, in kWh").fill("0")
    page.get_by_role("button", name="Note the replacement").click()
    expect(page.get_by_role("status")).to_contain_text("Sun 25 Oct 2026, 12:00:00 is noted")
    expect(page.locator("#replacements li")).to_contain_text("old meter at 9876.5 kWh, new meter from 0 kWh")
    page.get_by_role("button", name="Remove the replacement of Sun 25 Oct").click()
    expect(page.locator("#replacements li")).to_have_count(0)

    page.get_by_role("link", name=device.name).click()
    expect(page.locator('[data-metric="meter.import"] h2')).to_have_text(
        re.compile(r"Taken from the grid\s+kWh")
    )


def test_the_keyboard_alone_names_a_device_and_says_when_it_is_silent(alices_page, device, store):
    page = alices_page
    store(device.device_id, "power", [time.time() - 50], [42])
    page.goto(f"/devices/{device.device_id}/settings/")
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Barn meter")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_label("Silent after")).to_be_focused()
    page.keyboard.type("30 s")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("are saved")
    page.goto("/")
    row = page.locator(".device", has_text="Barn meter")
    expect(row).to_contain_text("offline since")
    expect(row.locator(".dot")).to_have_attribute("title", "silent")


def test_without_scripts_everything_can_be_said(
    open_context, sign_in, alice, device, register, charlie, transactional_db
):
    page = open_context(java_script_enabled=False).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{device.device_id}/settings/")
    page.get_by_label("User name").fill("charlie")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("button", name="Withdraw from charlie")).to_be_visible()
    page.get_by_role("button", name="Withdraw from charlie").click()
    expect(page.get_by_text("Only you see this device.")).to_be_visible()
    page.get_by_role("link", name="Power").click()
    page.get_by_label("Unit").fill("kW")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def test_live_readings_are_multiplied_as_those_of_history_are(alices_page, device, past, send):
    from joulebook.web.devices.models import Metric

    Metric.objects.create(device=device, name="power", unit="kW", factor=0.001)
    page = alices_page
    page.goto(f"/devices/{device.device_id}/?range=1h&metric=power")
    expect(page.locator('[data-part="live"]')).to_have_attribute("data-state", "live")
    send({"power": 5678})
    expect(page.locator('[data-metric="power"] [data-part="now"]')).to_have_text("5.68\u202fkW")


@pytest.mark.parametrize("page_of", ["settings/", "settings/metric/?name=meter.import"])
def test_no_settings_page_is_wider_than_a_phone(
    open_context, sign_in, alice, device, register, page_of, transactional_db
):
    from joulebook.web.devices.models import Metric

    Metric.objects.create(
        device=device, name="meter.import", kind="counter", display_name="W" * 100, unit="W" * 32
    )
    page = open_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{device.device_id}/{page_of}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_metrics_page_shows_its_curve_and_settles_what_is_suspicious(alices_page, device, store):
    page = alices_page
    now = int(time.time()) // 60 * 60
    times = [now - 7200 + 60 * minute for minute in range(120)]
    # A register of 12,000 kWh, one reading of 0 among its readings.
    values = [0.0 if minute == 60 else 12_000 + minute / 100 for minute in range(120)]
    store(device.device_id, "energy.imported", times, values)
    page.goto(f"/devices/{device.device_id}/settings/metric/?name=energy.imported")
    expect(page.locator('[data-metric="energy.imported"] [data-part="sum"]')).to_contain_text("1.19\u202fkWh")
    findings = page.locator("#findings")
    expect(findings).to_contain_text("“energy” in the name")
    expect(findings).to_contain_text("guessed from the name")
    expect(findings.locator("li")).to_contain_text("a glitch")
    expect(findings.locator("li")).to_contain_text("Counts for nothing")
    findings.get_by_role("button", name="Show").click()
    expect(page.locator('[data-metric="energy.imported"] [data-part="resolution"]')).to_have_text(
        "increase since the reading before"
    )
    findings.get_by_role("button", name="It is real").click()
    expect(findings.locator("li")).to_contain_text("confirmed by you")
    expect(page.locator('[data-metric="energy.imported"] [data-part="sum"]')).to_contain_text(
        re.compile(r"12\u202f00\d\u202fkWh")
    )
    findings.get_by_role("button", name="Decide again").click()
    findings.get_by_role("button", name="Ignore").click()
    expect(findings.locator("li")).to_contain_text("ignored by you")


def test_a_register_that_falls_at_will_is_an_amount_by_one_click(
    open_context, sign_in, alice, device, store, transactional_db
):
    page = open_context(java_script_enabled=False).new_page()
    sign_in(page, "alice")
    now = int(time.time()) // 900 * 900
    times = [now - 900 * quarter for quarter in range(300, 0, -1)]
    store(
        device.device_id, "energy.taken", times, [0.1 + 0.01 * (quarter * 7 % 11) for quarter in range(300)]
    )
    page.goto(f"/devices/{device.device_id}/settings/metric/?name=energy.taken")
    page.get_by_role("button", name="Yes, take it as an amount").click()
    expect(page.locator("#findings")).to_contain_text("Amount: what flowed in an interval")
    expect(page.locator("#findings")).to_contain_text("set by the owner")


def test_a_senders_new_unit_is_shown_and_settled_by_one_click(alices_page, device, store, writer):
    page = alices_page
    store(device.device_id, "tank.temp", [time.time() - 10], [20])
    writer.execute(
        "UPDATE series SET unit = '°C', refused_unit = '°F' WHERE device_id = %s", [device.device_id]
    )
    writer.commit()
    page.goto(f"/devices/{device.device_id}/settings/metric/?name=tank.temp")
    expect(page.locator("#findings")).to_contain_text("The device now sends °F")
    page.get_by_role("button", name="Take °F, for old readings too").click()
    expect(page.get_by_role("status")).to_contain_text("The unit is °F from now on")
    expect(page.locator("#findings")).not_to_contain_text("The device now sends")
    expect(page.locator("#findings")).to_contain_text("set by the owner")
