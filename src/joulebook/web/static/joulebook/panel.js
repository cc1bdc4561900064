// One metric's panel: heading, chart, readout at the cursor, summary; it fills its skeleton on the page.

import { Chart } from "./chart.js";
import { formatBucket, formatWithin } from "./instant.js";
import { getKind } from "./kinds.js";
import { paintSwatch } from "./paint.js";
import { estimateDistance } from "./points.js";
import { formatShare, NO_VALUE } from "./quantity.js";
import { summarise } from "./summary.js";

/**
 * @import { Corrected } from "./history-client.js"
 * @import { Columns, Figure, LegendEntry, PanelData } from "./kinds.js"
 * @import { Sheet } from "./sheet.js"
 */

/**
 * @typedef {object} MetricInfo
 * @property {string} metric
 * @property {string} label
 * @property {string} unit
 * @property {string} colour a name of the style sheet's
 * @property {number} [factor] from stored values to shown ones
 * @property {number[]} [replacements] times of replaced meters, in seconds since 1970 UTC
 * @property {number | null} [silence] the owner's limit in seconds: a longer time without a reading is unknown
 * @property {boolean} [coversBefore] an amount's interval ends at its reading's time
 * @property {number} [form] 0 numbers, 1 truth values, 2 texts, 3 lists of texts
 */

/**
 * Readings chosen on the chart: those of [start, end), or the one at `start`.
 * @typedef {{start: number, end: number, isPoint: boolean}} Choice
 */

const LEAST_FRESH = 60;
/** The resolution of fields for times, in seconds: a range with a reading ends so much later. */
const FIELD_STEP = 0.001;
const SWATCH = 12;

/** A panel on the page with the points of one metric. */
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
    this.getPart("label").textContent = info.label;
    const correct = /** @type {HTMLElement | null} */ (root.querySelector('[data-part="correct"] .hidden'));
    if (correct) correct.textContent = ` ${info.label}`;
    this.plotBox = this.getPart("plot");
    this.plotBox.setAttribute("aria-label", `${info.label} over time`);
    this.unit = info.unit;
    /** @type {Corrected[]} */
    this.corrected = [];
    this.pointsText = "";
    this.kind = getKind("gauge");
    /** @type {Columns} */
    this.columns = [[], [], [], []];
    this.chart = new Chart(this.plotBox, { unit: info.unit, tz: "UTC" });
    // For tests and the browser's console.
    Object.assign(this.plotBox, { chart: this.chart });
  }

  /** @param {string} name */
  getPart(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
  }

  /**
   * Draw the metric's points of a sheet.
   * @param {Sheet} sheet
   * @param {number} now
   */
  show(sheet, now) {
    this.sheet = sheet;
    this.kind = getKind(sheet.kinds.get(this.info.metric));
    this.unit = sheet.units.get(this.info.metric) ?? this.info.unit;
    this.getPart("unit").textContent = this.unit;
    this.chart.unit = this.unit;
    if (this.chart.tz !== sheet.view.tz) this.chart.setZone(sheet.view.tz);
    const bare = sheet.getMetricData(this.info.metric, now);
    this.columns = this.kind.makeColumns(bare);
    this.data = { ...bare, columns: this.columns };
    this.chart.setPoints(this.columns, sheet.bucket, sheet.window, this.kind.makeDrawing(this.data));
    this.root.removeAttribute("aria-busy");
    const empty = !this.columns[3].some((value) => value != null);
    this.#setNotice(empty ? "No readings in this range" : "");
    this.pointsText = this.kind.describePoints(sheet.resolution);
    this.getPart("resolution").textContent = empty ? "" : this.pointsText;
    this.getPart("resolution").title = `read from ${sheet.source}`;
    this.#showSummary(this.data, now);
    this.#showLegend(this.kind.makeLegend?.(this.data) ?? []);
    this.corrected = sheet.corrected.filter(({ metric }) => metric === this.info.metric);
    this.chart.setStretches(this.corrected.map((each) => ({ ...each, title: `Correction ${each.id}` })));
  }

  /**
   * Show the point at an instant, in the chart and in words.
   * @param {number | null} time
   */
  pointAt(time) {
    const index = this.chart.setCursor(time);
    this.getPart("readout").textContent = time == null || !this.sheet ? "" : this.describePoint(index, time);
  }

  /**
   * Describe a point in words: its time, and the words of its kind.
   * @param {number | null} index in the columns
   * @param {number} time of the cursor, used where it is at no point
   */
  describePoint(index, time) {
    const sheet = /** @type {Sheet} */ (this.sheet);
    if (index == null || !this.data) return `${formatBucket(time, 0, sheet.view.tz)} · no reading`;
    const at = this.columns[0][index];
    const when = formatBucket(at, sheet.bucket, sheet.view.tz);
    const numbers = this.corrected
      .filter(({ start, end }) => end >= at && (start === at || start < at + sheet.bucket))
      .map(({ id }) => id);
    const words = [when, this.kind.describePoint(this.data, index)];
    if (numbers.length) words.push(`corrected (${numbers.map((number) => `no. ${number}`).join(", ")})`);
    return words.join(" · ");
  }

  /**
   * Return the choice of the point nearest to an instant: its reading, or all readings of its bucket.
   * @param {number} time
   * @returns {Choice | null} null where no point is near
   */
  getChoiceAt(time) {
    const index = this.chart.setCursor(time);
    if (index == null || !this.data) return null;
    const start = this.columns[0][index];
    const { track, bucket } = this.data;
    if (!track) return { start, end: start + FIELD_STEP, isPoint: true };
    const next = track.time[track.time.indexOf(start) + 1] ?? Infinity;
    return { start, end: Math.min(next, start + bucket), isPoint: false };
  }

  destroy() {
    this.chart.destroy();
    this.root.remove();
  }

  /** @param {string} text */
  #setNotice(text) {
    this.getPart("notice").hidden = !text;
    this.getPart("notice").textContent = text;
  }

  /** @param {PanelData} data @param {number} now */
  #showSummary(data, now) {
    const sheet = /** @type {Sheet} */ (this.sheet);
    const { points, track, bucket } = data;
    const { coverage, last: lastPoint } = summarise(points, sheet.window, bucket, now, track);
    const latest = sheet.latest.get(this.info.metric);
    const last = latest ?? lastPoint;
    const span = sheet.window.end - sheet.window.start;
    const slack = latest ? 0 : 2 * bucket;
    const allowed = Math.max(LEAST_FRESH, 3 * estimateDistance(points, bucket)) + slack;
    const isNow = last != null && sheet.view.preset != null && now - last.time <= allowed;
    const when = last && !isNow ? formatWithin(last.time, span, sheet.view.tz) : "";
    const known = coverage == null ? NO_VALUE : `${formatShare(coverage)}\u202f%`;
    const lastLabel = isNow ? "Now" : "Last";
    this.#fill([
      { name: "now", label: lastLabel, text: this.kind.formatValue(last?.value, data), aside: when },
      ...this.kind.makeFigures(data),
      { name: "cover", label: "Cover", text: known },
    ]);
  }

  /** Fill in the figures. Existing elements stay: a screen reader keeps its place. @param {Figure[]} figures */
  #fill(figures) {
    const list = /** @type {HTMLElement} */ (this.root.querySelector(".summary"));
    const items = figures.map(({ name, label, text, aside }) => {
      const value = this.getPart(name) ?? document.createElement("dd");
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

  /** @param {LegendEntry[]} entries */
  #showLegend(entries) {
    const list = this.getPart("legend");
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
