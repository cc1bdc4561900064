// What the page knows of the range it shows: one answer taken apart by metric, kept fresh by the live tail.

import { pointsOf } from "./points.js";
import { bucketSeconds } from "./resolution.js";
import { trackOf } from "./tracks.js";

/** @typedef {import("./history-client.js").Answer} Answer */
/** @typedef {import("./points.js").Points} Points */
/** @typedef {import("./view.js").View} View */

/** The server's own default, in seconds: see `silence_limit` in web/devices/metric_settings.py. */
export const LEAST_SILENCE = 300;

/** @type {Points} */
const NOTHING = { time: [], mean: [], min: null, max: null, count: null };

/** The readings on show. */
export class Sheet {
  /**
   * @param {View} view
   * @param {Answer} answer
   * @param {object} [device]
   * @param {number | null} [device.silence] seconds after which its owner calls it silent
   * @param {Map<string, number[]>} [device.replacements] when another meter took over, by metric
   */
  constructor(view, answer, { silence = null, replacements = new Map() } = {}) {
    this.silence = silence;
    this.replacements = replacements;
    this.view = view;
    this.window = { start: answer.start, end: answer.end };
    this.resolution = answer.resolution;
    this.source = answer.source;
    this.bucket = bucketSeconds(answer.resolution);
    /** @type {Map<string, string>} */
    this.units = new Map(answer.series.map((series) => [series.metric, series.unit]));
    /** @type {Map<string, Points>} */
    this.points = new Map(answer.series.map((series) => [series.metric, pointsOf(answer, series.metric)]));
    /** @type {Map<string, string>} gauge, counter or state */
    this.kinds = new Map(answer.series.map((series) => [series.metric, series.kind]));
    /** @type {Map<string, import("./tracks.js").Track | null>} */
    this.tracks = new Map(answer.series.map((series) => [series.metric, trackOf(answer, series.metric)]));
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
   * One metric as the functions of its kind take it.
   * @param {string} metric
   * @param {number} [now] the window counts until then
   */
  shown(metric, now = Infinity) {
    return {
      points: this.pointsOf(metric),
      track: this.tracks.get(metric) ?? null,
      unit: this.units.get(metric) ?? "",
      bucket: this.bucket,
      window: { start: this.window.start, end: Math.min(this.window.end, now) },
      tz: this.view.tz,
      silence: this.silence ?? LEAST_SILENCE,
      replacements: this.replacements.get(metric) ?? [],
    };
  }
}
