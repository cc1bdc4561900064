// A metric's points: extracted from an answer, joined or broken by the usual distance of reports, extended live.

/**
 * @import { Answer } from "./history-client.js"
 * @import { Columns } from "./kinds.js"
 * @import { Track } from "./tracks.js"
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
/** A distance is compared with so many before it and after it. */
const NEIGHBOURS = 5;

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
 * Find the unknown times between single readings by the server's rule: longer than the owner's limit, or without
 * one than three times the larger of the medians of the five distances before and the five after.
 * @param {number[]} time
 * @param {number | null} silence the owner's limit in seconds
 * @returns {boolean[]} for each reading whether the time from it to the next one is unknown
 */
export function findSilences(time, silence) {
  const distances = time.slice(1).map((at, index) => at - time[index]);
  return distances.map((distance, index) => {
    if (silence != null) return distance > silence;
    const before = distances.slice(Math.max(0, index - NEIGHBOURS), index);
    const usual = Math.max(computeMedian(before), computeMedian(distances.slice(index + 1, index + 1 + NEIGHBOURS)));
    return usual > 0 && distance > GAP_FACTOR * usual;
  });
}

/**
 * Find the gaps behind the points. Of buckets the server's coverage decides; without it touching buckets have no
 * gap, nor have others within three times their usual distance.
 * @param {Points} points
 * @param {number} bucket
 * @param {number | null} silence see `findSilences`
 * @param {Track | null} track
 * @returns {boolean[]} for each point whether the line breaks behind it
 */
export function findGaps(points, bucket, silence, track) {
  const { time } = points;
  if (!bucket) return findSilences(time, silence);
  if (track) {
    let at = 0;
    return time.slice(1).map((next, index) => {
      while (track.time[at] <= time[index]) at += 1;
      let unknown = false;
      for (; track.time[at] < next; at += 1) unknown ||= track.coverage[at] === 0;
      return unknown;
    });
  }
  const longest = Math.max(GAP_FACTOR * estimateDistance(points, bucket), bucket * 1.05);
  return time.slice(1).map((next, index) => next - time[index] > longest);
}

/**
 * Make the chart's columns: time, max, min, mean; a row of nulls in the middle of each gap breaks the line.
 * @param {Points} points
 * @param {number} bucket
 * @param {number | null} [silence] see `findSilences`
 * @param {Track | null} [track]
 * @returns {Columns}
 */
export function makeCurveColumns(points, bucket, silence = null, track = null) {
  const gaps = findGaps(points, bucket, silence, track);
  /** @type {Columns} */
  const [time, max, min, mean] = [[], [], [], []];
  points.time.forEach((at, i) => {
    const before = points.time[i - 1];
    if (gaps[i - 1]) {
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
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
