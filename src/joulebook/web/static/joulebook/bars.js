// Bars of what flowed: one for each bucket, or for each single interval, with columns and figures made of them.

import { formatLength, formatWithin } from "./instant.js";
import { estimateDistance, findSilences } from "./points.js";
import { formatQuantity, NO_VALUE } from "./quantity.js";
import { countRequestedSeconds } from "./tracks.js";

/**
 * @import { Columns, Figure, MetricData } from "./kinds.js"
 * @import { Points } from "./points.js"
 * @import { Track } from "./tracks.js"
 */
/**
 * One bar over [from, to); sizes are in the metric's unit.
 * @typedef {object} Bar
 * @property {number} time of its point: a bucket's start or a reading's time
 * @property {number} from
 * @property {number} to
 * @property {number} flow above zero if positive; a net register's is its increase alone
 * @property {number} [back] a net register's decrease, drawn below zero
 * @property {number} [lost] rose at an unknown time: hatched on top
 * @property {number} [resets]
 * @property {number} [glitches] readings that count for nothing
 * @property {boolean} [isSpread] part of a rise that is spread evenly over a silence
 */

/**
 * Make a bar for each of a track's buckets.
 * @param {Track} track
 * @param {number} bucket
 * @param {(index: number) => Omit<Bar, "time" | "from" | "to"> | null} read null: nothing is known of the bucket
 * @returns {Bar[]}
 */
export function makeBucketBars(track, bucket, read) {
  const whole = { start: -Infinity, end: Infinity };
  return track.time.flatMap((time, index) => {
    const sizes = read(index);
    if (!sizes) return [];
    return [{ time, from: time, to: time + countRequestedSeconds(track, index, bucket, whole), ...sizes }];
  });
}

/**
 * Make a bar for each single reading: over the time until the next one, or since the one before. A bar beside a
 * silence has the usual width.
 * @param {Points} points
 * @param {object} options
 * @param {number | null} options.silence see `findSilences`
 * @param {boolean} options.isBefore the reading's time ends its interval
 * @param {(index: number) => Omit<Bar, "time" | "from" | "to">} options.read
 * @param {boolean} [options.acrossSilences] the bar reaches over a silence
 * @returns {Bar[]}
 */
export function makeReadingBars(points, { silence, isBefore, read, acrossSilences = false }) {
  const { time } = points;
  const silent = acrossSilences ? [] : findSilences(time, silence);
  const usual = estimateDistance(points, 0) || 1;
  return time.map((at, index) => {
    const [from, to] = isBefore
      ? [index === 0 || silent[index - 1] ? at - usual : time[index - 1], at]
      : [at, index === time.length - 1 || silent[index] ? at + usual : time[index + 1]];
    return { time: at, from, to, ...read(index) };
  });
}

/**
 * Make the chart's columns: the bars' times, upper ends, lower ends and flows; null where `times` have no bar.
 * @param {number[]} times
 * @param {Bar[]} bars
 * @returns {Columns}
 */
export function makeBarColumns(times, bars) {
  const byTime = new Map(bars.map((bar) => [bar.time, bar]));
  const pick = (/** @type {(bar: Bar) => number} */ read) =>
    times.map((time) => {
      const bar = byTime.get(time);
      return bar ? read(bar) : null;
    });
  return [times, pick((bar) => getEnds(bar)[1]), pick((bar) => getEnds(bar)[0]), pick(getNet)];
}

/** Return a bar's lower and upper end. @param {Bar} bar @returns {[number, number]} */
export function getEnds({ flow, back = 0, lost = 0 }) {
  return [Math.min(0, flow, flow + lost) - back, Math.max(0, flow, flow + lost)];
}

/** Return what flowed in and out of a bar together. @param {Bar} bar */
export const getNet = ({ flow, back = 0 }) => flow - back;

/**
 * Make the figures of the bars: their sum, and the largest.
 * @param {Bar[]} bars
 * @param {MetricData} data
 * @param {string} largest the label of the largest
 * @returns {Figure[]}
 */
export function makeBarFigures(bars, { unit, window, tz }, largest) {
  const sum = bars.reduce((total, bar) => total + getNet(bar), 0);
  const top = bars.reduce(
    (best, bar) => (best && Math.abs(getNet(best)) >= Math.abs(getNet(bar)) ? best : bar),
    /** @type {Bar | null} */ (null),
  );
  const when = top ? formatWithin(top.time, window.end - window.start, tz) : "";
  return [
    { name: "sum", label: "Sum", text: top ? formatQuantity(sum, unit) : NO_VALUE, aside: "" },
    { name: "peak", label: largest, text: formatQuantity(top ? getNet(top) : null, unit), aside: when },
  ];
}

/** Write a bar's length of time. @param {Bar} bar */
export const formatBarLength = ({ from, to }) => formatLength(to - from);
