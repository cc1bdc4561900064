"""The list of devices and the way to the first reading, in a browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from joulebook.web.display import format_quantity

HOSTILE = '</script><img src="x" onerror="document.title=\'taken\'">'


def run_in_shell(commands: str) -> None:
    """Run what a page shows as a person would who copies it into a terminal."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", commands],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl; on Debian: apt-get install curl")
def test_the_commands_of_the_empty_page_bring_in_a_first_reading(alices_page, ingest):
    expect(alices_page.get_by_role("heading", name="No devices yet")).to_be_visible()
    add, send = alices_page.locator("pre").all_inner_texts()
    run_in_shell(add)
    # The page notices the device by itself, and then its first reading.
    row = alices_page.locator(".device", has_text="Home battery")
    expect(row).to_contain_text("waiting for its first reading")
    row.click()
    expect(alices_page.get_by_role("heading", name="Waiting for the first reading")).to_be_visible()
    token, send_again = alices_page.locator("pre").all_inner_texts()
    assert send_again == send
    run_in_shell(f"{token}\n{send}")
    expect(alices_page.locator('[data-metric="power"] [data-part="now"]')).to_contain_text("1.24\u202fkW")


def test_the_list_shows_last_readings_and_keeps_them_fresh(alices_page, device, past, send):
    alices_page.goto("/")
    row = alices_page.locator(".device", has_text=device.name)
    expect(row.locator(".dot")).to_have_class("dot live")
    expect(row.locator(".value")).to_have_text(format_quantity(past.power[-1], "W"))
    assert len(row.locator(".spark path").get_attribute("d") or "") > 200
    send({"power": 5678})
    expect(row.locator(".value")).to_have_text("5.68\u202fkW")
    expect(row.locator(".when")).to_have_text(re.compile(r"now|\d s ago"))


def test_a_device_that_is_silent_says_since_when(alices_page, device, store):
    store(device.device_id, "power", [time.time() - 400 * 86_400], [42])
    alices_page.goto("/")
    expect(alices_page.locator(".device", has_text=device.name)).to_contain_text("offline since")


def test_an_unreachable_server_is_told_and_recovers(alices_page, device, past, watch):
    watch.expect("ERR_INTERNET_DISCONNECTED")
    alices_page.goto("/")
    alices_page.context.set_offline(True)
    expect(alices_page.get_by_text("Joulebook cannot be reached")).to_be_visible()
    alices_page.context.set_offline(False)
    expect(alices_page.get_by_text("Joulebook cannot be reached")).to_be_hidden()


def test_charlie_cannot_open_alices_device(page, past, device, charlie, sign_in, watch, transactional_db):
    watch.expect("404 (Not Found)")
    sign_in(page, "charlie")
    hers = page.goto(f"/devices/{device.device_id}/")
    assert hers is not None
    assert hers.status == 404
    text = page.locator("main").inner_text()
    nobodys = page.goto("/devices/no_such_device/")
    assert nobodys is not None
    assert nobodys.status == 404
    assert page.locator("main").inner_text() == text


def test_hostile_names_are_inert(alices_page, device, store):
    from joulebook.web.devices.models import Device, Metric

    Device.objects.filter(pk=device.pk).update(name=HOSTILE)
    Metric.objects.create(device=device, name="power", display_name=HOSTILE, unit="<b>W")
    store(device.device_id, "power", [time.time() - 5, time.time() - 4], [1, 2])
    for address in ("/", f"/devices/{device.device_id}/?range=10m"):
        alices_page.goto(address)
        expect(alices_page.get_by_text(HOSTILE).first).to_be_visible()
        assert alices_page.locator("img").count() == 0
        assert "taken" not in alices_page.title().partition("</script>")[0]
    alices_page.get_by_text("Table of these points").click()
    expect(alices_page.locator("th", has_text=HOSTILE)).to_contain_text("(<b>W)")
    assert alices_page.locator("img, main b").count() == 0


@pytest.mark.parametrize(
    "address", ["/sign-in/", "/", "/profile/", "/profile/password/", "{device}", "/nowhere/"]
)
def test_no_page_is_wider_than_a_phone(
    open_context, sign_in, alice, device, past, address, watch, transactional_db
):
    watch.expect("404 (Not Found)")
    page = open_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()
    if address != "/sign-in/":
        sign_in(page, "alice")
    page.goto(address.format(device=f"/devices/{device.device_id}/"))
    if address == "{device}":
        expect(page.locator('[data-metric="power"]')).not_to_have_attribute("aria-busy", "true")
        box = page.locator('[data-metric="power"] .uplot').bounding_box()
        assert box is not None
        assert box["height"] >= 220
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for summary in page.locator("details.menu > summary").all():
        summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, summary.inner_text()
        page.keyboard.press("Escape")
