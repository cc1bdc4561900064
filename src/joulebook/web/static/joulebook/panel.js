// One metric's panel: heading, chart, readout under the cursor, summary; filled in place of its skeleton.

import { Chart } from "./chart.js";
import { formatBucket, formatWithin } from "./instant.js";
import { chartColumns, usualDistance } from "./points.js";
import { formatQuantity, NO_VALUE } from "./quantity.js";
import { describeResolution } from "./resolution.js";
import { summarise } from "./summary.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {{metric: string, label: string, unit: string, colour: string, factor?: number}} MetricInfo */

const LEAST_FRESH = 60;

/** A panel on the page and the points that it shows. */
export class Panel {
  /**
   * @param {HTMLElement} root made from devices/_panel.html
   * @param {MetricInfo} info
   */
  constructor(root, info) {
    this.root = root;
    this.info = info;
    root.dataset.metric = info.metric;
    root.dataset.colour = info.colour;
    this.part("label").textContent = info.label;
    this.plotBox = this.part("plot");
    this.plotBox.setAttribute("aria-label", `${info.label} over time`);
    this.unit = info.unit;
    /** @type {ReturnType<typeof chartColumns>} */
    this.columns = [[], [], [], []];
    this.chart = new Chart(this.plotBox, { unit: info.unit, tz: "UTC" });
    // For tests, and for whoever opens the browser's console.
    Object.assign(this.plotBox, { chart: this.chart });
  }

  /** @param {string} name */
  part(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
  }

  /**
   * Draw the metric's points of a sheet.
   * @param {Sheet} sheet
   * @param {number} now
   */
  show(sheet, now) {
    this.sheet = sheet;
    this.unit = sheet.units.get(this.info.metric) ?? this.info.unit;
    this.part("unit").textContent = this.unit;
    this.chart.unit = this.unit;
    if (this.chart.tz !== sheet.view.tz) this.chart.setZone(sheet.view.tz);
    const points = sheet.pointsOf(this.info.metric);
    this.columns = chartColumns(points, sheet.bucket);
    this.chart.setPoints(this.columns, sheet.bucket, sheet.window);
    this.root.removeAttribute("aria-busy");
    this.#setNotice(points.time.length ? "" : "No readings in this range");
    this.part("resolution").textContent = points.time.length ? describeResolution(sheet.resolution) : "";
    this.part("resolution").title = `read from ${sheet.source}`;
    this.#showSummary(now);
  }

  /**
   * Show what lies at an instant, in the chart and in words.
   * @param {number | null} time
   */
  pointAt(time) {
    const index = this.chart.setCursor(time);
    this.part("readout").textContent = time == null || !this.sheet ? "" : this.describe(index, time);
  }

  /**
   * The point in words: time, value or mean, least and greatest, how many readings.
   * @param {number | null} index in the columns
   * @param {number} time of the cursor, where there is no point
   */
  describe(index, time) {
    const sheet = /** @type {Sheet} */ (this.sheet);
    const [times, max, min, mean] = this.columns;
    if (index == null) return `${formatBucket(time, 0, sheet.view.tz)} · no reading`;
    const value = (/** @type {number | null} */ number) => formatQuantity(number, this.unit);
    const when = formatBucket(times[index], sheet.bucket, sheet.view.tz);
    if (max[index] == null) return `${when} · ${value(mean[index])}`;
    const count = sheet.countAt(this.info.metric, times[index]);
    const readings = count === 1 ? "1 reading" : `${formatQuantity(count)} readings`;
    return `${when} · mean ${value(mean[index])} · ${value(min[index])} to ${value(max[index])} · ${readings}`;
  }

  destroy() {
    this.chart.destroy();
    this.root.remove();
  }

  /** @param {string} text */
  #setNotice(text) {
    this.part("notice").hidden = !text;
    this.part("notice").textContent = text;
  }

  /** @param {number} now */
  #showSummary(now) {
    const sheet = /** @type {Sheet} */ (this.sheet);
    const points = sheet.pointsOf(this.info.metric);
    const { mean, peak, cover, last: lastPoint } = summarise(points, sheet.window, sheet.bucket, now);
    const latest = sheet.latest.get(this.info.metric);
    const last = latest ?? lastPoint;
    const span = sheet.window.end - sheet.window.start;
    const slack = latest ? 0 : 2 * sheet.bucket;
    const allowed = Math.max(LEAST_FRESH, 3 * usualDistance(points, sheet.bucket)) + slack;
    const isNow = last != null && sheet.view.preset != null && now - last.time <= allowed;
    const when = (/** @type {number} */ time) => formatWithin(time, span, sheet.view.tz);
    this.part("now-label").textContent = isNow ? "Now" : "Last";
    this.#fill("now", last?.value, last && !isNow ? when(last.time) : "");
    this.#fill("mean", mean);
    this.#fill("peak", peak?.value, peak ? when(peak.time) : "");
    this.part("cover").textContent = cover == null ? NO_VALUE : `${formatShare(cover)}\u202f%`;
  }

  /** @param {string} name @param {number | null | undefined} value @param {string} [aside] */
  #fill(name, value, aside = "") {
    const small = document.createElement("small");
    small.textContent = aside;
    this.part(name).replaceChildren(formatQuantity(value, this.unit), ...(aside ? [" ", small] : []));
  }
}

/** Never "100" unless nothing is missing. @param {number} share */
function formatShare(share) {
  return share > 0.995 && share < 0.9995 ? "99" : String(Math.round(share * 100));
}
