// One metric's panel: heading, chart, readout under the cursor, summary; filled in place of its skeleton.

import { Chart } from "./chart.js";
import { formatBucket, formatWithin } from "./instant.js";
import { kindNamed } from "./kinds.js";
import { paintSwatch } from "./paint.js";
import { usualDistance } from "./points.js";
import { formatShare, NO_VALUE } from "./quantity.js";
import { summarise } from "./summary.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {{metric: string, label: string, unit: string, colour: string, factor?: number, replacements?: number[]}} MetricInfo */

const LEAST_FRESH = 60;
const SWATCH = 12;

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
    this.words = "";
    this.kind = kindNamed("gauge");
    /** @type {import("./kinds.js").Columns} */
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
    this.kind = kindNamed(sheet.kinds.get(this.info.metric));
    this.unit = sheet.units.get(this.info.metric) ?? this.info.unit;
    this.part("unit").textContent = this.unit;
    this.chart.unit = this.unit;
    if (this.chart.tz !== sheet.view.tz) this.chart.setZone(sheet.view.tz);
    const bare = sheet.shown(this.info.metric, now);
    this.columns = this.kind.columns(bare);
    this.shown = { ...bare, columns: this.columns };
    this.chart.setPoints(this.columns, sheet.bucket, sheet.window, this.kind.drawing(this.shown));
    this.root.removeAttribute("aria-busy");
    const empty = !this.columns[3].some((value) => value != null);
    this.#setNotice(empty ? "No readings in this range" : "");
    this.words = this.kind.words(sheet.resolution);
    this.part("resolution").textContent = empty ? "" : this.words;
    this.part("resolution").title = `read from ${sheet.source}`;
    this.#showSummary(this.shown, now);
    this.#showLegend(this.kind.legend?.(this.shown) ?? []);
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
   * The point in words: its time, and what its kind tells of it.
   * @param {number | null} index in the columns
   * @param {number} time of the cursor, where there is no point
   */
  describe(index, time) {
    const sheet = /** @type {Sheet} */ (this.sheet);
    if (index == null || !this.shown) return `${formatBucket(time, 0, sheet.view.tz)} · no reading`;
    const when = formatBucket(this.columns[0][index], sheet.bucket, sheet.view.tz);
    return `${when} · ${this.kind.describe(this.shown, index)}`;
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

  /** @param {import("./kinds.js").Shown} shown @param {number} now */
  #showSummary(shown, now) {
    const sheet = /** @type {Sheet} */ (this.sheet);
    const { points, track, bucket } = shown;
    const { cover, last: lastPoint } = summarise(points, sheet.window, bucket, now, track);
    const latest = sheet.latest.get(this.info.metric);
    const last = latest ?? lastPoint;
    const span = sheet.window.end - sheet.window.start;
    const slack = latest ? 0 : 2 * bucket;
    const allowed = Math.max(LEAST_FRESH, 3 * usualDistance(points, bucket)) + slack;
    const isNow = last != null && sheet.view.preset != null && now - last.time <= allowed;
    const when = last && !isNow ? formatWithin(last.time, span, sheet.view.tz) : "";
    const known = cover == null ? NO_VALUE : `${formatShare(cover)}\u202f%`;
    const lastLabel = isNow ? "Now" : "Last";
    this.#fill([
      { name: "now", label: lastLabel, text: this.kind.value(last?.value, shown), aside: when },
      ...this.kind.figures(shown),
      { name: "cover", label: "Cover", text: known },
    ]);
  }

  /** Keep the elements that stay, so that a reader's place is not lost. @param {import("./kinds.js").Figure[]} figures */
  #fill(figures) {
    const list = /** @type {HTMLElement} */ (this.root.querySelector(".summary"));
    const items = figures.map(({ name, label, text, aside }) => {
      const value = this.part(name) ?? document.createElement("dd");
      value.dataset.part = name;
      const item = value.parentElement ?? document.createElement("div");
      const term = item.querySelector("dt") ?? document.createElement("dt");
      term.textContent = label;
      const small = Object.assign(document.createElement("small"), { textContent: aside ?? "" });
      value.replaceChildren(text, ...(aside ? [" ", small] : []));
      item.replaceChildren(term, value);
      return item;
    });
    list.replaceChildren(...items);
  }

  /** @param {{text: string, style: import("./paint.js").StateStyle}[]} entries */
  #showLegend(entries) {
    const list = this.part("legend");
    list.hidden = !entries.length;
    list.replaceChildren(
      ...entries.map(({ text, style }) => {
        const swatch = Object.assign(document.createElement("canvas"), { width: SWATCH, height: SWATCH });
        paintSwatch(swatch, style, this.chart.colours);
        const item = document.createElement("li");
        item.append(swatch, ` ${text}`);
        return item;
      }),
    );
  }
}
