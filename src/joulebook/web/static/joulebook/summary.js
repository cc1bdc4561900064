// The figures below a chart: latest, mean, peak and how much of the window readings cover.

import { isGap, usualDistance } from "./points.js";
import { coverOf } from "./tracks.js";

/** @typedef {import("./points.js").Points} Points */
/**
 * @typedef {object} Summary
 * @property {{value: number, time: number} | null} last
 * @property {number | null} mean of all readings in the window
 * @property {{value: number, time: number} | null} peak the greatest reading, not the greatest mean
 * @property {number | null} cover share of the window, 0 to 1
 */

/**
 * Sum up what a chart shows.
 * @param {Points} points
 * @param {{start: number, end: number}} window
 * @param {number} bucket seconds; 0 for raw
 * @param {number} now
 * @param {import("./tracks.js").Track | null} [track] what the answer says of every bucket
 * @returns {Summary}
 */
export function summarise(points, window, bucket, now, track = null) {
  const { time, mean, max, count } = points;
  if (!time.length) return { last: null, mean: null, peak: null, cover: null };
  const highs = max ?? mean;
  let [sum, readings, top] = [0, 0, 0];
  for (let i = 0; i < time.length; i++) {
    const weight = count ? count[i] : 1;
    sum += mean[i] * weight;
    readings += weight;
    if (highs[i] > highs[top]) top = i;
  }
  const end = time.length - 1;
  return {
    last: { value: mean[end], time: time[end] },
    mean: readings ? sum / readings : null,
    peak: { value: highs[top], time: time[top] },
    cover: track ? coverOf(track, window, bucket, now) : cover(points, window, bucket, now),
  };
}

/**
 * Share of the elapsed window in which the metric reported as it usually does.
 * @param {Points} points
 * @param {{start: number, end: number}} window
 * @param {number} bucket
 * @param {number} now
 */
function cover(points, window, bucket, now) {
  const end = Math.min(window.end, now);
  const distance = usualDistance(points, bucket);
  if (end <= window.start || !distance) return null;
  let covered = 0;
  points.time.forEach((at, i) => {
    if (points.count && distance < bucket) covered += Math.min(bucket, points.count[i] * distance);
    else {
      const next = points.time[i + 1] ?? end;
      covered += isGap(at, next, bucket, distance) ? Math.max(distance, bucket) : next - at;
    }
  });
  return Math.min(1, covered / (end - window.start));
}
