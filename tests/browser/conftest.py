"""Fixtures for tests in a real browser: Chromium against Joulebook's own processes.

Every page that a test opens is watched: an error on its console, an exception in a script, or anything
that the content security policy had to stop fails the test.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from numpy.typing import NDArray

    from joulebook.web.devices.models import Device

# Playwright keeps an event loop on the main thread, where Django would refuse to touch its database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

PATIENCE_MS = 30_000
"""Longer than the slowest thing that a page does by itself, the list's five seconds."""
expect.set_options(timeout=PATIENCE_MS)

PASSWORD = "a long enough pass phrase"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}

_WATCH_POLICY = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`content security policy: ${event.violatedDirective} stopped ${event.blockedURI} ${event.sample}`);
});
"""


@dataclass
class Watch:
    """What went wrong on the pages of a test, and what the test expects to go wrong."""

    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect(self, text: str) -> None:
        """Let console errors pass that contain `text`: the test provokes them."""
        self.expected.append(text)

    def unexpected(self) -> list[str]:
        """Return the problems that the test did not provoke."""
        return [problem for problem in self.problems if not any(text in problem for text in self.expected)]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium, without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Collects what goes wrong on the test's pages, and fails the test for it at the end."""
    watch = Watch()
    yield watch
    assert watch.unexpected() == []


@pytest.fixture
def open_context(
    chromium: Browser, web: Any, ingest: Any, watch: Watch
) -> Iterator[Callable[..., BrowserContext]]:
    """Open a fresh browser profile whose pages are watched; options as Playwright's `new_context`."""
    opened: list[BrowserContext] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            watch.problems.append(f"console: {message.text} ({message.location.get('url')})")

    def on_page(page: Page) -> None:
        page.on("console", on_console)
        page.on("pageerror", lambda error: watch.problems.append(f"exception: {error}"))

    def make(**options: Any) -> BrowserContext:
        context = chromium.new_context(**{"base_url": web.url, "viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(_WATCH_POLICY)
        context.on("page", on_page)
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    """A page on which nobody is signed in."""
    return open_context().new_page()


@pytest.fixture
def sign_in() -> Callable[[Page, str], None]:
    """Sign a user in by the form."""

    def sign_in(page: Page, name: str) -> None:
        page.goto("/sign-in/")
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")

    return sign_in


@pytest.fixture
def alices_page(
    transactional_db: None, alice: User, page: Page, sign_in: Callable[[Page, str], None]
) -> Page:
    """A page on which Alice is signed in."""
    sign_in(page, "alice")
    return page


@pytest.fixture
def store(writer: psycopg.Connection) -> Callable[[str, str, Sequence[float], Sequence[float]], None]:
    """Store readings of a device as the writer does: times in seconds since 1970 UTC."""
    from joulebook.telemetry.batch import Batch
    from joulebook.telemetry.series import ensure_series
    from joulebook.telemetry.writer import write_batch

    def store(device_id: str, metric: str, times: Sequence[float], values: Sequence[float]) -> None:
        series = ensure_series(writer, [(device_id, metric)])[device_id, metric]
        instants = np.round(np.asarray(times, np.float64) * 1_000_000).astype(np.int64)
        ids = np.full(len(instants), series, np.int32)
        write_batch(writer, Batch(ids, instants, np.asarray(values, np.float64)))

    return store


@dataclass(frozen=True)
class Past:
    """What a test's device has sent so far: `power` each second, `grid.voltage` every ten."""

    now: int
    power_time: NDArray[np.int64]
    power: NDArray[np.float64]


@pytest.fixture
def past(device: Device, store: Callable[..., None]) -> Past:
    """Give Alice's device six hours until now, with a silence of half an hour three hours ago."""
    now = int(time.time())
    seconds = np.arange(now - 6 * 3600, now)
    seconds = seconds[(seconds < now - 3 * 3600) | (seconds >= now - 3 * 3600 + 1800)]
    power = np.round(900 + 400 * np.sin(seconds / 700), 1)
    power[seconds == now - 5 * 3600] = 9000.0
    store(device.device_id, "power", seconds.tolist(), power.tolist())
    tens = np.arange((now - 6 * 3600) // 10 * 10, now, 10)
    store(device.device_id, "grid.voltage", tens.tolist(), (230 + np.sin(tens / 300)).round(1).tolist())
    return Past(now, seconds, power)


@pytest.fixture
def send(ingest: Any, device_token: str) -> Callable[[dict[str, Any]], None]:
    """Send a packet as Alice's device does: over HTTP, with its token."""

    def send(packet: dict[str, Any]) -> None:
        response = httpx.post(
            f"{ingest.url}/api/readings", json=packet, headers={"Authorization": f"Bearer {device_token}"}
        )
        assert response.status_code == 200, response.text

    return send
