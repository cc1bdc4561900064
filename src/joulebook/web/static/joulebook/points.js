// A metric's points: extracted from an answer, joined or broken by the usual distance of reports, extended live.

/**
 * @import { Answer } from "./history-client.js"
 * @import { Columns } from "./kinds.js"
 */

/**
 * One metric's points without holes; every array has the same length.
 * @typedef {object} Points
 * @property {number[]} time seconds since 1970 UTC, a bucket's start
 * @property {number[]} mean the readings themselves where count is null
 * @property {number[] | null} min null at resolution "raw"
 * @property {number[] | null} max
 * @property {number[] | null} count
 */

const GAP_FACTOR = 3;

/**
 * Extract one metric's points from an answer.
 * @param {Answer} answer
 * @param {string} metric
 * @returns {Points}
 */
export function extractPoints(answer, metric) {
  const series = answer.series.find((candidate) => candidate.metric === metric);
  const values = series?.value ?? series?.mean ?? [];
  const indices = answer.time.map((_, index) => index).filter((index) => values[index] != null);
  /** @param {(number | null)[] | undefined} column */
  const pick = (column) =>
    indices.map((index) => /** @type {number} */ (/** @type {(number | null)[]} */ (column)[index]));
  const raw = answer.resolution === "raw" || !series?.mean;
  return {
    time: indices.map((index) => answer.time[index]),
    mean: pick(values),
    min: raw ? null : pick(series?.min),
    max: raw ? null : pick(series?.max),
    count: raw ? null : pick(series?.count),
  };
}

/**
 * Estimate the usual distance between the metric's reports in seconds; 0 for fewer than two points.
 * @param {Points} points
 * @param {number} bucket the bucket's length in seconds, 0 for raw
 */
export function estimateDistance(points, bucket) {
  const describePerBucket = points.count ? computeMedian(points.count) : 1;
  if (bucket && describePerBucket > 1) return bucket / describePerBucket;
  const distances = [];
  for (let i = 1; i < points.time.length; i++) distances.push(points.time[i] - points.time[i - 1]);
  return computeMedian(distances);
}

/**
 * Return whether the line breaks between two neighbouring points. Touching buckets never break it, nor
 * does a gap of up to three times the usual distance.
 * @param {number} from
 * @param {number} to
 * @param {number} bucket
 * @param {number} distance
 * @param {number} [silence] seconds without a reading allowed in any case
 */
export function isGap(from, to, bucket, distance, silence = 0) {
  return to - from > Math.max(GAP_FACTOR * distance, bucket * 1.05, silence);
}

/**
 * Make the chart's columns: time, max, min, mean; a row of nulls in the middle of each gap breaks the line.
 * @param {Points} points
 * @param {number} bucket
 * @param {number} [silence] see `isGap`
 * @returns {Columns}
 */
export function makeCurveColumns(points, bucket, silence = 0) {
  const distance = estimateDistance(points, bucket);
  /** @type {Columns} */
  const [time, max, min, mean] = [[], [], [], []];
  points.time.forEach((at, i) => {
    const before = points.time[i - 1];
    if (i > 0 && isGap(before, at, bucket, distance, silence)) {
      time.push((before + at) / 2);
      max.push(null);
      min.push(null);
      mean.push(null);
    }
    time.push(at);
    max.push(points.max ? points.max[i] : null);
    min.push(points.min ? points.min[i] : null);
    mean.push(points.mean[i]);
  });
  return [time, max, min, mean];
}

/**
 * Replace the points from `from` on by `newer`, and drop those before `oldest`.
 * @param {Points} points
 * @param {Points} newer of the same resolution
 * @param {number} from
 * @param {number} oldest
 * @returns {Points}
 */
export function extendPoints(points, newer, from, oldest) {
  const first = findLowerBound(points.time, oldest);
  const last = Math.max(first, findLowerBound(points.time, from));
  /** @param {number[] | null} old @param {number[] | null} fresh */
  const join = (old, fresh) => (old && fresh ? old.slice(first, last).concat(fresh) : null);
  return {
    time: points.time.slice(first, last).concat(newer.time),
    mean: points.mean.slice(first, last).concat(newer.mean),
    min: join(points.min, newer.min),
    max: join(points.max, newer.max),
    count: join(points.count, newer.count),
  };
}

/**
 * Insert single readings by their times; a reading replaces another of the same time.
 * @param {Points} points at resolution "raw"
 * @param {[number, number][]} readings time and value
 * @param {number} oldest earlier points are dropped
 * @returns {Points}
 */
export function insertReadings(points, readings, oldest) {
  const first = findLowerBound(points.time, oldest);
  const [time, mean] = [points.time.slice(first), points.mean.slice(first)];
  for (const [at, value] of readings) {
    if (at < oldest) continue;
    const index = findLowerBound(time, at);
    const there = time[index] === at ? 1 : 0;
    time.splice(index, there, at);
    mean.splice(index, there, value);
  }
  return { time, mean, min: null, max: null, count: null };
}

/**
 * Return the index of the first time at or after `at`.
 * @param {number[]} time ascending
 * @param {number} at
 */
export function findLowerBound(time, at) {
  let [low, high] = [0, time.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (time[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {number[]} values */
function computeMedian(values) {
  if (!values.length) return 0;
  const sorted = Float64Array.from(values).sort();
  return sorted[sorted.length >> 1];
}
