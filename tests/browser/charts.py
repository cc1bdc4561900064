"""What tests ask of a chart on a page: its data, its pixels, its window, and a drag across it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

_DATA = """metric => {
  const { chart } = document.querySelector(`[data-metric="${metric}"] [data-part="plot"]`);
  const [time, max, min, mean] = chart.plot.data;
  return { time, max, min, mean, window: chart.window };
}"""
_COLOURED_PIXELS = """metric => {
  const panel = document.querySelector(`[data-metric="${metric}"]`);
  const { canvas, colours } = panel.querySelector('[data-part="plot"]').chart;
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const probe = copy.getContext("2d", { willReadFrequently: true });
  probe.fillStyle = colours.line;
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
  probe.clearRect(0, 0, 1, 1);
  probe.drawImage(canvas, 0, 0);
  const { data } = probe.getImageData(0, 0, canvas.width, canvas.height);
  const columns = new Set();
  for (let i = 0; i < data.length; i += 4) {
    const near = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 40;
    if (near && data[i + 3] > 200) columns.add((i / 4) % canvas.width);
  }
  return columns.size / canvas.width;
}"""


def wait_for_chart(page: Page, metric: str = "power") -> None:
    """Return when a metric's panel shows its answer."""
    expect(panel(page, metric)).not_to_have_attribute("aria-busy", "true")
    expect(page.locator('[data-part="panels"]')).to_have_attribute("aria-busy", "false")


def panel(page: Page, metric: str) -> Any:
    """Return a metric's panel."""
    return page.locator(f'[data-part="panel"][data-metric="{metric}"]')


def chart_data(page: Page, metric: str = "power") -> dict[str, Any]:
    """Return what uPlot was given: time, max, min, mean, and the window of the time axis."""
    found: dict[str, Any] = page.evaluate(_DATA, metric)
    return found


def share_of_columns_with_curve(page: Page, metric: str = "power") -> float:
    """Return the share of the canvas' pixel columns that hold the series' own colour."""
    return float(page.evaluate(_COLOURED_PIXELS, metric))


def span(page: Page, metric: str = "power") -> float:
    """Return the length of the shown window in seconds."""
    window = chart_data(page, metric)["window"]
    return float(window["end"] - window["start"])


def drag(page: Page, start: float, end: float, *, metric: str = "power") -> None:
    """Drag across a chart from one share of its width to another, as a hand does."""
    box = panel(page, metric).locator(".u-over").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * start, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * (start + end) / 2, y, steps=5)
    page.mouse.move(box["x"] + box["width"] * end, y, steps=5)
    page.mouse.up()


def resolution(page: Page, metric: str = "power") -> str:
    """Return what the panel says about its points, with plain blanks."""
    text = panel(page, metric).locator('[data-part="resolution"]').inner_text()
    return str(text).replace("\u202f", " ")
