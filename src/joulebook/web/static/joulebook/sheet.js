// The readings of the page's range: one answer split by metric. The live tail extends it.

import { extractPoints } from "./points.js";
import { getBucketSeconds } from "./resolution.js";
import { extractTrack } from "./tracks.js";

/**
 * @import { Answer } from "./history-client.js"
 * @import { MetricData } from "./kinds.js"
 * @import { Points } from "./points.js"
 * @import { Track } from "./tracks.js"
 * @import { TimeWindow, View } from "./view.js"
 */

/** The server's own default, in seconds: see `silence_limit` in web/devices/metric_settings.py. */
export const LEAST_SILENCE = 300;

/** @type {Points} */
const NO_POINTS = { time: [], mean: [], min: null, max: null, count: null };

/** The readings on show. */
export class Sheet {
  /**
   * @param {View} view
   * @param {Answer} answer
   * @param {object} [device]
   * @param {number | null} [device.silence] its owner's limit in seconds; after it the device is silent
   * @param {Map<string, number[]>} [device.replacements] times of replaced meters, by metric
   */
  constructor(view, answer, { silence = null, replacements = new Map() } = {}) {
    this.silence = silence;
    this.replacements = replacements;
    this.view = view;
    /** @type {TimeWindow} */
    this.window = { start: answer.start, end: answer.end };
    this.resolution = answer.resolution;
    this.source = answer.source;
    this.bucket = getBucketSeconds(answer.resolution);
    /** @type {Map<string, string>} */
    this.units = new Map(answer.series.map((series) => [series.metric, series.unit]));
    /** @type {Map<string, Points>} */
    this.points = new Map(answer.series.map((series) => [series.metric, extractPoints(answer, series.metric)]));
    /** @type {Map<string, string>} gauge, counter or state */
    this.kinds = new Map(answer.series.map((series) => [series.metric, series.kind]));
    /** @type {Map<string, Track | null>} */
    this.tracks = new Map(answer.series.map((series) => [series.metric, extractTrack(answer, series.metric)]));
    /** @type {Map<string, {value: number, time: number}>} newest readings by metric; needed where the points are means */
    this.latest = new Map();
  }

  /** @returns {string[]} */
  get metrics() {
    return [...this.points.keys()];
  }

  /** The newest time of all metrics' readings; null if there are none. */
  get newest() {
    const times = [...this.points.values()].map((points) => points.time.at(-1) ?? -Infinity);
    const newest = Math.max(-Infinity, ...times, ...[...this.latest.values()].map((reading) => reading.time));
    return Number.isFinite(newest) ? newest : null;
  }

  /** @param {string} metric */
  getPoints(metric) {
    return this.points.get(metric) ?? NO_POINTS;
  }

  /**
   * Collect one metric's data for the functions of its kind.
   * @param {string} metric
   * @param {number} [now] end of the elapsed window
   * @returns {MetricData}
   */
  getMetricData(metric, now = Infinity) {
    return {
      points: this.getPoints(metric),
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
