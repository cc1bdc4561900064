"""The form on a device's page that exports readings: by mouse, by keys, on a phone, and without a script."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from playwright.sync_api import BrowserContext, Page, expect

from .conftest import PHONE

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

    from .conftest import Past, Watch

SignIn = Callable[[Page, str], None]


def export_menu(page: Page) -> None:
    page.locator("summary", has_text="Export").click()


def saved(page: Page) -> Path:
    """Press the form's button and return the file that the browser saves."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export readings").click()
    return Path(waiting.value.path())


def test_the_range_that_is_shown_is_exported(device: Device, past: Past, alices_page: Page) -> None:
    page = alices_page
    page.goto(f"/devices/{device.device_id}/?range=1h")
    expect(page.locator('[data-part="panel"]').first).not_to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="6h", exact=True).click()
    page.wait_for_url("**range=6h**")
    export_menu(page)
    expect(page.locator("[data-export-shown]")).to_contain_text("–")
    page.get_by_label("Format").select_option("Parquet")
    table = pl.read_parquet(saved(page))
    assert table.columns == ["time", "grid.voltage", "power"]
    assert 0 <= len(past.power) - table["power"].count() < 120
    expect(page.locator("details.export")).not_to_have_attribute("open", "")


def test_a_range_of_ones_own_is_entered_by_keys_alone(device: Device, past: Past, alices_page: Page) -> None:
    page = alices_page
    page.goto(f"/devices/{device.device_id}/?tz=UTC")
    page.locator("summary", has_text="Export").focus()
    page.keyboard.press("Enter")
    begin = datetime.fromtimestamp(past.now - 5 * 3600, UTC)
    until = datetime.fromtimestamp(past.now - 5 * 3600 + 3, UTC)
    page.locator("#export-begin").fill(f"{begin:%Y-%m-%dT%H:%M:%S}")
    page.locator("#export-until").fill(f"{until:%Y-%m-%dT%H:%M:%S}")
    expect(page.get_by_label("From a time to another")).to_be_checked()
    page.get_by_label("Layout").select_option("A row for each reading")
    page.get_by_role("button", name="Export readings").focus()
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    lines = Path(waiting.value.path()).read_text().splitlines()
    assert lines[0] == '"time","metric",value'
    assert f"{begin:%Y-%m-%dT%H:%M:%SZ},power,9000.0" in lines
    assert sum(",power," in line for line in lines) == 3
    assert waiting.value.suggested_filename.endswith(".csv")


def test_the_form_fits_a_phone(
    device: Device, past: Past, alice: User, open_context: Callable[..., BrowserContext], sign_in: SignIn,
    transactional_db: None,
) -> None:  # fmt: skip
    page = open_context(viewport=PHONE, has_touch=True).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{device.device_id}/")
    export_menu(page)
    button = page.get_by_role("button", name="Export readings")
    button.scroll_into_view_if_needed()
    for part in (button, page.locator("#export-begin")):
        box = part.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_label("Everything").check()
    assert len(saved(page).read_text().splitlines()) > len(past.power)


def test_it_works_without_a_script(
    device: Device, past: Past, alice: User, open_context: Callable[..., BrowserContext], sign_in: SignIn,
    transactional_db: None, watch: Watch,
) -> None:  # fmt: skip
    watch.expect("400 (Bad Request)")
    page = open_context(java_script_enabled=False).new_page()
    sign_in(page, "alice")
    page.goto(f"/devices/{device.device_id}/")
    export_menu(page)
    page.get_by_label("From a time to another").check()
    page.get_by_role("button", name="Export readings").click()
    expect(page.get_by_role("alert")).to_have_text("From: enter a date and a time")
    expect(page.get_by_label("From a time to another")).to_be_checked()
    page.get_by_label("As shown").check()
    assert len(saved(page).read_text().splitlines()) > len(past.power)
