// The readings of the page's range: one answer split by metric. The live tail extends it.

import { extractPoints } from "./points.js";
import { getBucketSeconds } from "./resolution.js";
import { extractRises } from "./rises.js";
import { extractTrack } from "./tracks.js";
import { extractWords, getStateValue } from "./words.js";

/**
 * @import { Answer } from "./history-client.js"
 * @import { MetricData } from "./kinds.js"
 * @import { MetricInfo } from "./panel.js"
 * @import { Points } from "./points.js"
 * @import { Rises } from "./rises.js"
 * @import { StateWords } from "./words.js"
 * @import { Track } from "./tracks.js"
 * @import { TimeWindow, View } from "./view.js"
 */

/** The form of values that are lists of texts: see telemetry/kinds/settings.py. */
const LISTS_OF_TEXTS = 3;

/** @type {Points} */
const NO_POINTS = { time: [], mean: [], min: null, max: null, count: null };

/** The readings on show. */
export class Sheet {
  /**
   * @param {View} view
   * @param {Answer} answer
   * @param {MetricInfo[]} [infos] what the page knows of the metrics
   */
  constructor(view, answer, infos = []) {
    /** @type {Map<string, MetricInfo>} */
    this.infos = new Map(infos.map((info) => [info.metric, info]));
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
    /** @type {Map<string, string>} gauge, counter, amount or state */
    this.kinds = new Map(answer.series.map((series) => [series.metric, series.kind]));
    /** @type {Map<string, Track | null>} */
    this.tracks = new Map(answer.series.map((series) => [series.metric, extractTrack(answer, series.metric)]));
    /** @type {Map<string, Rises | null>} */
    this.rises = new Map(answer.series.map((series) => [series.metric, extractRises(answer, series.metric)]));
    /** @type {Map<string, StateWords>} */
    this.words = new Map(answer.series.map((series) => [series.metric, extractWords(series)]));
    this.corrected = answer.corrected ?? [];
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
   * Return the value of a text of the live feed: its code if the answer named it, else one below zero until the next
   * answer names it.
   * @param {string} metric
   * @param {string} text a list of flags is JSON
   */
  findValue(metric, text) {
    const words = this.words.get(metric) ?? new Map();
    const isFlags = this.infos.get(metric)?.form === LISTS_OF_TEXTS;
    const flags = isFlags ? /** @type {string[]} */ (JSON.parse(text)) : null;
    const word = flags ? flags.join(", ") || "none" : text;
    for (const [value, known] of words) if (value >= 0 && known.word === word) return value;
    const value = getStateValue({ value: null, word: text });
    this.words.set(metric, words.set(value, { word, colour: "", flags }));
    return value;
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
      silence: this.infos.get(metric)?.silence ?? null,
      coversBefore: this.infos.get(metric)?.coversBefore ?? false,
      rises: this.rises.get(metric) ?? null,
      words: this.words.get(metric) ?? new Map(),
      isFlags: this.infos.get(metric)?.form === LISTS_OF_TEXTS,
      replacements: this.infos.get(metric)?.replacements ?? [],
    };
  }
}
