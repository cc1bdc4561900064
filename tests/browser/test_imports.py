"""Importing a file in the browser: dropped, corrected, mapped, watched, read about, seen, and undone."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ..integration.worker_process import keeping
from .charts import chart_data

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

    from .conftest import Watch

SignIn = Callable[[Page, str], None]

_DROP = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "text/csv" }));
  document.querySelector('[data-part="drop"]').dispatchEvent(
    new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def meter_file() -> bytes:
    """A night in autumn as a German meter writes it: Windows-1252, commas, and an hour that comes twice."""
    clocks = [(hour, minute) for hour in (0, 1, 2, 2, 3, 4) for minute in (0, 15, 30, 45)]
    rows = [
        f"26.10.2025;{hour:02d}:{minute:02d};{1 + at / 100:.2f};;".replace(".", ",").replace(
            "26,10,2025", "26.10.2025"
        )
        for at, (hour, minute) in enumerate(clocks)
    ]
    rows[5] = "26.10.2025;01:15;1,O5;;Störung"
    return ("Zähler;Haus 7\nDatum;Uhrzeit;Leistung [kW];Gas;Bemerkung\n" + "\n".join(rows) + "\n").encode(
        "cp1252"
    )


@pytest.fixture
def worker(telemetry: dict[str, str]) -> Callable[[], Any]:
    """Give a worker of imports, at work as long as the block lasts that it is used in."""
    return partial(keeping, telemetry["writer"])


def count_stored(writer: Any, device: Device) -> int:
    query = "SELECT count(*) FROM readings JOIN series ON series.id = series_id WHERE device_id = %s"
    return int(writer.execute(query, [device.device_id]).fetchone()[0])


def test_a_file_is_dropped_corrected_mapped_imported_seen_and_undone(
    alices_page: Page, device: Device, worker: Callable[[], Any], writer: Any
) -> None:
    page = alices_page
    page.get_by_role("link", name="Imports").click()
    expect(page.get_by_text("No imports yet")).to_be_visible()
    page.evaluate(_DROP, ["Zähler Haus 7.csv", list(meter_file())])
    expect(page.locator('[data-part="chosen"] li')).to_contain_text("Zähler Haus 7.csv")
    page.get_by_role("button", name="Preview").click()
    page.wait_for_url(re.compile(r"/imports/\d+/$"))

    confirm = page.get_by_role("button", name="Import", exact=True)
    expect(confirm).to_be_disabled()
    expect(page.get_by_text("Choose the device of these readings.")).to_be_visible()
    page.get_by_label("Readings of").select_option(label=device.name)
    table = page.locator("#preview-table")
    expect(table).to_contain_text("2025-10-26 02:00:00 +02:00")
    expect(table).to_contain_text("2025-10-26 02:00:00 +01:00")
    expect(table).to_contain_text("1,O5 not a number")
    expect(page.get_by_label("Times mark")).to_be_hidden()
    page.get_by_role("heading", name="How the file is read").click()
    expect(page.get_by_label("Encoding")).to_have_attribute("placeholder", "cp1252")

    page.get_by_label("Times mark").select_option(label="the end of an interval")
    expect(table).to_contain_text("2025-10-25 23:45:00 +02:00")
    page.get_by_label("Metric of Leistung [kW]").fill("power")
    page.get_by_label("Unit of Leistung [kW]").fill("W")
    page.get_by_label("Leistung [kW] is multiplied by").fill("1000")
    page.get_by_role("checkbox", name="Gas").uncheck()
    expect(table).to_contain_text("1190")
    expect(page.get_by_text("1 metric of Home battery")).to_be_visible()
    expect(page.get_by_label("Leistung [kW] is multiplied by")).to_have_value("1000")

    confirm.click()
    expect(page.get_by_role("heading", name="Waiting for its turn")).to_be_visible()
    assert count_stored(writer, device) == 0
    with worker():
        expect(page.get_by_role("heading", name="Report")).to_be_visible()
        expect(page.locator(".sums")).to_contain_text("24 read = 24 imported + 0 rejected")
        expect(page.locator(".sums")).to_contain_text("24 = 23 stored + 0 replaced + 0 there already")
        expect(page.locator("#problems")).to_contain_text("value_type")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="All of them as CSV").click()
        assert '8,Leistung [kW],value_type,"1,O5"' in waiting.value.path().read_text()
        assert count_stored(writer, device) == 23

        page.locator("#columns").get_by_role("link", name=device.name).click()
        expect(page.locator('[data-metric="power"]')).to_be_visible()
        page.wait_for_function(
            """() => document.querySelector('[data-metric="power"] [data-part="plot"]')?.chart"""
        )
        drawn = [value for value in chart_data(page, "power")["mean"] if value is not None]
        assert len(drawn) == 23
        assert max(drawn) == pytest.approx(1230)

        page.go_back()
        page.get_by_role("link", name="Undo").click()
        expect(page.get_by_text("23 readings of Home battery will be removed")).to_be_visible()
        page.get_by_role("button", name="Undo the import").click()
        expect(page.get_by_text("its readings are removed")).to_be_visible()
    assert count_stored(writer, device) == 0
    page.get_by_role("navigation").get_by_role("link", name="Imports").click()
    expect(page.locator(".imports li")).to_contain_text("undone")


def test_everything_goes_without_a_script(
    open_context: Callable[..., BrowserContext], sign_in: SignIn, alice: User, device: Device,
    worker: Callable[[], Any], writer: Any, transactional_db: None, watch: Watch,
) -> None:  # fmt: skip
    watch.expect("400 (Bad Request)")
    page = open_context(java_script_enabled=False).new_page()
    sign_in(page, "alice")
    page.goto(f"/imports/?device={device.device_id}")
    content = "Date,Power\n" + "".join(f"03/04/2024 {hour:02d}:00,{hour}.5\n" for hour in range(10))
    page.locator('input[type="file"]').set_input_files(
        {"name": "a.csv", "mimeType": "text/csv", "buffer": content.encode()}
    )
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Answer the open questions about the file.")
    page.get_by_label("4 March 2024").check()
    page.get_by_label("Metric of Power").fill("power")
    page.get_by_role("button", name="Show again").last.click()
    expect(page.locator("#preview-table")).to_contain_text("2024-03-04 09:00:00 +01:00")
    expect(page.get_by_label("Metric of Power")).to_have_value("power")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="Waiting for its turn")).to_be_visible()
    with worker():
        expect(page.locator(".sums")).to_contain_text("10 stored")
    assert count_stored(writer, device) == 10


@pytest.fixture
def draft(alice: User, device: Device, transactional_db: None) -> Any:
    """A draft with long names, as loggers have them."""
    from joulebook.web.imports.operations import create_draft
    from joulebook.web.imports.uploads.files import upload_writer

    header = "time," + ",".join(f'"Temp, °C (LGR S/N: {"2" * 40}, SEN: {n})"' for n in range(3))
    with upload_writer() as writing:
        writing.write((header + "\n" + "".join(f"2024-01-13 {h:02d}:00,1,2,x\n" for h in range(20))).encode())
        upload = writing.finish()
    return create_draft(alice, upload, name="a" * 200 + ".csv", device=device)


def test_no_page_of_imports_is_wider_than_a_phone(
    open_context: Callable[..., BrowserContext], sign_in: SignIn, alice: User, draft: Any
) -> None:
    page = open_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True).new_page()
    sign_in(page, "alice")
    for address in ("/imports/", f"/imports/{draft.pk}/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address


def test_typing_goes_on_while_the_preview_is_drawn(alices_page: Page, draft: Any) -> None:
    page = alices_page
    page.goto(f"/imports/{draft.pk}/")
    page.locator("#save-profile summary").click()
    unit = page.locator("#unit-0")
    unit.click()
    page.keyboard.press("Control+A")
    for letter in "kelvins":
        page.keyboard.type(letter)
        page.wait_for_timeout(130)
    page.keyboard.press("Enter")
    expect(page.locator("#preview-table th").nth(2)).to_contain_text("kelvins")
    expect(page).to_have_url(re.compile(rf"/imports/{draft.pk}/$"))
    expect(unit).to_have_value("kelvins")
    expect(unit).to_be_focused()
    expect(page.locator("#save-profile")).to_have_attribute("open", "")
