// The figures below a chart: latest, mean, peak and the window's coverage.

import { estimateDistance, findGaps } from "./points.js";
import { computeCoverage } from "./tracks.js";

/**
 * @import { Points } from "./points.js"
 * @import { Track } from "./tracks.js"
 * @import { TimeWindow } from "./view.js"
 */

/**
 * @typedef {object} Summary
 * @property {{value: number, time: number} | null} last
 * @property {number | null} mean of all readings in the window
 * @property {{value: number, time: number} | null} peak the greatest reading, not the greatest mean
 * @property {number | null} coverage share of the window, 0 to 1
 */

/**
 * Sum up the points in a window.
 * @param {Points} points
 * @param {TimeWindow} window
 * @param {number} bucket seconds; 0 for raw
 * @param {number} now
 * @param {Track | null} [track] the coverage by the server; without it the points give an estimate
 * @returns {Summary}
 */
export function summarise(points, window, bucket, now, track = null) {
  const { time, mean, max, count } = points;
  if (!time.length) return { last: null, mean: null, peak: null, coverage: null };
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
    coverage: track ? computeCoverage(track, window, bucket, now) : estimateCoverage(points, window, bucket, now),
  };
}

/**
 * Estimate the share of the elapsed window with reports at the metric's usual distance.
 * @param {Points} points
 * @param {TimeWindow} window
 * @param {number} bucket
 * @param {number} now
 */
function estimateCoverage(points, window, bucket, now) {
  const end = Math.min(window.end, now);
  const distance = estimateDistance(points, bucket);
  if (end <= window.start || !distance) return null;
  const gaps = findGaps(points, bucket, null, null);
  let covered = 0;
  points.time.forEach((at, i) => {
    if (points.count && distance < bucket) covered += Math.min(bucket, points.count[i] * distance);
    else {
      const step = (points.time[i + 1] ?? end) - at;
      const isLost = gaps[i] ?? step > 3 * distance;
      covered += isLost ? Math.max(distance, bucket) : step;
    }
  });
  return Math.min(1, covered / (end - window.start));
}
