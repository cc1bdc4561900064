// One metric's chart: uPlot draws its curve, steps or bars as the metric's kind asks; it makes no requests.

import uPlot from "../vendor/uPlot.esm.js";
import { labelTicks, placeTicks } from "./instant.js";
import { paintStretches } from "./paint.js";
import { findLowerBound } from "./points.js";
import { makeTickFormatter } from "./quantity.js";

/**
 * @import { Columns, Drawing } from "./kinds.js"
 * @import { Colours } from "./paint.js"
 * @import { TimeWindow } from "./view.js"
 */

/** @typedef {TimeWindow & {title: string}} Stretch */

/** In pixels; wide enough for most labels, so the plotting areas of a page's charts line up. */
const AXIS_WIDTH = 68;
const LABEL_CHARACTER = 6.6;
const AXIS_HEIGHT = 44;
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
/** Units of power: their axis begins at zero. A meter's register or a voltage does not need it. */
const ZERO_BASED = /^[kM]?(W|VA|var)$/;
const MEAN = 3;
/** @type {Drawing} */
const LINE = { shape: "line" };
const LINES = { line: uPlot.paths.linear?.(), step: uPlot.paths.stepped?.({ align: 1 }) };
/** By state; 0 is most often off or rest and has the quiet colour. */
const STATE_COLOUR_NAMES = ["field", "load", "warm", "battery", "volt", "solar", "sky", "grid-power"];
/** The cursor finds a point within so many pixels, or within its bucket. */
const REACH = 16;

/** A chart in a box of the page; its owner sets window, points and cursor. */
export class Chart {
  /**
   * @param {HTMLElement} host an empty box; the chart takes its size
   * @param {{unit: string, tz: string}} options
   */
  constructor(host, { unit, tz }) {
    this.host = host;
    this.unit = unit;
    this.tz = tz;
    /** @type {TimeWindow} */
    this.window = { start: 0, end: 1 };
    this.bucket = 0;
    this.drawing = LINE;
    /** @type {number | null} */
    this.index = null;
    /** @type {TimeWindow | null} */
    this.selection = null;
    /** @type {Stretch[]} */
    this.stretches = [];
    this.colours = this.#readColours();
    this.plot = new uPlot(this.#makeOptions(), [[], [], [], []], host);
    this.marks = Object.assign(document.createElement("div"), { className: "marks" });
    this.surface.append(this.marks);
    this.resizer = new ResizeObserver(() => this.#fit());
    this.resizer.observe(host);
  }

  /** The element above the plotting area; it receives the pointers' events. */
  get surface() {
    return this.plot.over;
  }

  get canvas() {
    return this.plot.ctx.canvas;
  }

  /**
   * Show columns in a window.
   * @param {Columns} columns
   * @param {number} bucket
   * @param {TimeWindow} window
   * @param {Drawing} [drawing]
   */
  setPoints(columns, bucket, window, drawing = LINE) {
    this.bucket = bucket;
    this.window = window;
    this.drawing = drawing;
    this.plot.batch(() => {
      this.plot.setData(columns, false);
      this.plot.setScale("x", { min: window.start, max: window.end });
    });
    this.#shade();
  }

  /** Show the same points in another window. @param {TimeWindow} window */
  setWindow(window) {
    this.window = window;
    this.plot.setScale("x", { min: window.start, max: window.end });
    this.#shade();
  }

  /** @param {string} tz */
  setZone(tz) {
    this.tz = tz;
    this.plot.redraw(false, true);
  }

  /** Return the instant at a pointer's position. @param {number} clientX */
  timeAt(clientX) {
    const box = this.surface.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (clientX - box.left) / box.width));
    return this.window.start + share * (this.window.end - this.window.start);
  }

  /**
   * Move the cursor to an instant, or hide it; the nearest point within reach is marked.
   * @param {number | null} time
   * @returns {number | null} the index of that point in the columns
   */
  setCursor(time) {
    this.index = time == null ? null : this.#findNearest(time);
    const left = time == null ? -10 : this.plot.valToPos(time, "x");
    this.plot.setCursor({ left, top: time == null ? -10 : 0 }, false);
    return this.index;
  }

  /**
   * Shade a stretch of time, or nothing; it stays where it is in time when the window changes.
   * @param {number | null} from
   * @param {number} [to]
   */
  setSelection(from, to = 0) {
    this.selection = from == null ? null : { start: Math.min(from, to), end: Math.max(from, to) };
    this.#shade();
  }

  /** Mark stretches of time with corrected readings. @param {Stretch[]} stretches */
  setStretches(stretches) {
    this.stretches = stretches;
    this.marks.replaceChildren(
      ...stretches.map(({ title }) => Object.assign(document.createElement("span"), { title })),
    );
    this.#shade();
    this.plot.redraw(false, false);
  }

  /** Draw again in the present colours of the style sheet. */
  redraw() {
    this.colours = this.#readColours();
    this.plot.redraw(true, true);
  }

  destroy() {
    this.resizer.disconnect();
    this.plot.destroy();
  }

  /** Place the marks and the selection where they are in the window. */
  #shade() {
    const { width } = this.surface.getBoundingClientRect();
    const place = (/** @type {number} */ time) =>
      Math.max(0, Math.min(width, this.plot.valToPos(time, "x")));
    this.stretches.forEach(({ start, end }, index) => {
      const { style } = /** @type {HTMLElement} */ (this.marks.children[index]);
      style.left = `${place(start)}px`;
      style.width = `${place(end) - place(start)}px`;
      style.display = end > this.window.start && start < this.window.end ? "" : "none";
    });
    if (!this.selection) return this.plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    const [left, right] = [this.selection.start, this.selection.end].map(place);
    const height = this.surface.clientHeight;
    return this.plot.setSelect({ left, width: Math.max(2, right - left), top: 0, height }, false);
  }

  /** @returns {Colours & {band: string, edge: string}} */
  #readColours() {
    const style = getComputedStyle(this.host);
    const read = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    return {
      line: read("--series"),
      band: read("--series-band"),
      edge: read("--series-edge"),
      ink: read("--muted"),
      grid: read("--grid"),
      ground: read("--surface"),
      states: STATE_COLOUR_NAMES.map((name) => read(`--${name}`)),
    };
  }

  /** @param {number} time */
  #findNearest(time) {
    const times = this.plot.data[0];
    const after = findLowerBound(/** @type {number[]} */ (times), time);
    const inBucket = after > 0 && times[after] !== time && time - times[after - 1] < this.bucket;
    const index =
      inBucket || after === times.length || (after > 0 && time - times[after - 1] < times[after] - time)
        ? after - 1
        : after;
    if (index < 0) return null;
    const perPixel = (this.window.end - this.window.start) / Math.max(1, this.surface.clientWidth);
    const reach = Math.max(this.bucket, REACH * perPixel);
    return this.plot.data[MEAN][index] != null && Math.abs(times[index] - time) <= reach ? index : null;
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (width && height && (width !== this.plot.width || height !== this.plot.height))
      this.plot.setSize({ width, height });
    this.#shade();
  }

  /** @returns {uPlot.Options} */
  #makeOptions() {
    const colour = (/** @type {"line" | "band" | "edge" | "ink" | "grid" | "ground"} */ name) => () =>
      this.colours[name];
    const axis = {
      stroke: colour("ink"),
      font: FONT,
      ticks: { show: false },
      grid: { stroke: colour("grid"), width: 1 },
    };
    /** @type {uPlot.Series.PathBuilder} */
    const paths = (plot, series, from, to) => {
      const { shape } = this.drawing;
      return shape === "blocks" ? null : (LINES[shape]?.(plot, series, from, to) ?? null);
    };
    const edge = { stroke: colour("edge"), width: 1, points: { show: false }, paths };
    return {
      width: Math.max(100, this.host.clientWidth),
      height: Math.max(100, this.host.clientHeight),
      padding: [10, 12, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: true, range: () => [this.window.start, this.window.end] },
        y: { range: (_, low, high) => this.#chooseValueRange(low, high) },
      },
      axes: [
        {
          ...axis,
          size: AXIS_HEIGHT,
          gap: 8,
          space: 70,
          splits: (_, __, low, high, step) => placeTicks(low, high, step, this.tz),
          values: (_, ticks, __, ___, step) => labelTicks(ticks, step, this.tz),
        },
        {
          ...axis,
          size: (_, labels) => measureLabels(labels),
          space: 36,
          values: (plot, ticks) => this.#labelValues(plot, ticks),
          splits: (_, __, low, high, step) => this.drawing.ticks ?? placeSteps(low, high, step),
        },
      ],
      series: [
        {},
        edge,
        edge,
        {
          stroke: colour("line"),
          width: 1.5,
          paths,
          points: {
            show: false,
            size: 5,
            width: 0,
            fill: colour("line"),
            filter: (plot) => (this.drawing.shape === "blocks" ? null : findLonePoints(plot)),
          },
        },
      ],
      bands: [{ series: [1, 2], fill: colour("band") }],
      cursor: {
        y: false,
        drag: { x: false, y: false, setScale: false },
        // Pointers are watched by gestures.js, for all charts of a page at once.
        bind: Object.fromEntries(
          ["mousedown", "mouseup", "click", "dblclick", "mousemove", "mouseleave", "mouseenter"].map(
            (name) => [name, () => null],
          ),
        ),
        dataIdx: (_, series) => (series === MEAN && this.drawing.shape !== "blocks" ? this.index : null),
        points: { size: 9, width: 2, fill: colour("ground"), stroke: colour("line") },
      },
      hooks: {
        draw: [
          (plot) => {
            paintStretches(plot, this.stretches, this.colours);
            if (this.drawing.paint) this.drawing.paint(plot, this.colours);
            else this.#drawLoneBands(plot);
          },
        ],
      },
    };
  }

  /** Label the ticks of the values; an empty chart has no labels. @param {uPlot} plot @param {number[]} ticks */
  #labelValues(plot, ticks) {
    if (!plot.data[0].length) return ticks.map(() => "");
    return ticks.map(this.drawing.label ?? makeTickFormatter(this.unit, ticks));
  }

  /** @param {number | null} low @param {number | null} high @returns {uPlot.Range.MinMax} */
  #chooseValueRange(low, high) {
    if (this.drawing.range) return [...this.drawing.range];
    if (low == null || high == null) return [0, 1];
    const withZero = this.drawing.zero || ZERO_BASED.test(this.unit);
    const [from, to] = withZero ? [Math.min(0, low), Math.max(0, high)] : [low, high];
    return uPlot.rangeNum(from, to, 0.1, true);
  }

  /** Draw the band at points between two gaps as a line: uPlot gives it no width there. @param {uPlot} plot */
  #drawLoneBands(plot) {
    const [times, max, min] = plot.data;
    const lone = findLonePoints(plot) ?? [];
    plot.ctx.save();
    plot.ctx.fillStyle = this.colours.edge;
    for (const i of lone) {
      const [high, low] = [max[i], min[i]];
      if (high == null || low == null) continue;
      const [x, top, bottom] = [
        plot.valToPos(times[i], "x", true),
        plot.valToPos(high, "y", true),
        plot.valToPos(low, "y", true),
      ];
      plot.ctx.fillRect(x - 1, top, 2, bottom - top);
    }
    plot.ctx.restore();
  }
}

/** @param {string[] | null} labels */
function measureLabels(labels) {
  const longest = Math.max(0, ...(labels ?? []).map((label) => label.length));
  return Math.max(AXIS_WIDTH, Math.ceil(longest * LABEL_CHARACTER) + 12);
}

/** List the multiples of a step from `low` to `high`. @param {number} low @param {number} high @param {number} step */
function placeSteps(low, high, step) {
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.max(0, Math.floor(high / step + 1e-9) - first + 1);
  return Array.from({ length: count }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Find the indices of points between two gaps, which no line reaches, in the window. @param {uPlot} plot */
function findLonePoints(plot) {
  const mean = plot.data[MEAN];
  const [first, last] = plot.series[0]?.idxs ?? [0, -1];
  const found = [];
  for (let i = first; i <= last; i++) {
    if (mean[i] != null && mean[i - 1] == null && mean[i + 1] == null) found.push(i);
  }
  return found.length ? found : null;
}
