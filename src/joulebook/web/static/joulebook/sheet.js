// What the page knows of the range it shows: one answer taken apart by metric, kept fresh by the live tail.

import { lowerBound, pointsOf } from "./points.js";
import { bucketSeconds } from "./resolution.js";

/** @typedef {import("./history-client.js").Answer} Answer */
/** @typedef {import("./points.js").Points} Points */
/** @typedef {import("./view.js").View} View */

/** @type {Points} */
const NOTHING = { time: [], mean: [], min: null, max: null, count: null };

/** The readings on show. */
export class Sheet {
  /**
   * @param {View} view
   * @param {Answer} answer
   */
  constructor(view, answer) {
    this.view = view;
    this.window = { start: answer.start, end: answer.end };
    this.resolution = answer.resolution;
    this.source = answer.source;
    this.bucket = bucketSeconds(answer.resolution);
    /** @type {Map<string, string>} */
    this.units = new Map(answer.series.map((series) => [series.metric, series.unit]));
    /** @type {Map<string, Points>} */
    this.points = new Map(answer.series.map((series) => [series.metric, pointsOf(answer, series.metric)]));
    /** @type {Map<string, {value: number, time: number}>} newest reading by metric, where the points are means */
    this.latest = new Map();
  }

  /** @returns {string[]} */
  get metrics() {
    return [...this.points.keys()];
  }

  /** The newest time known of any metric; null if there is none. */
  get newest() {
    const times = [...this.points.values()].map((points) => points.time.at(-1) ?? -Infinity);
    const newest = Math.max(-Infinity, ...times, ...[...this.latest.values()].map((reading) => reading.time));
    return Number.isFinite(newest) ? newest : null;
  }

  /** @param {string} metric */
  pointsOf(metric) {
    return this.points.get(metric) ?? NOTHING;
  }

  /**
   * How many readings stand behind a metric's point.
   * @param {string} metric
   * @param {number} time of the point
   */
  countAt(metric, time) {
    const points = this.pointsOf(metric);
    return points.count?.[lowerBound(points.time, time)] ?? 1;
  }
}
