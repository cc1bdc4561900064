// How long a state had which value: from its single readings, or from the shares of buckets.

import { formatPlain } from "./quantity.js";
import { estimateDistance, findSilences } from "./points.js";
import { countRequestedSeconds } from "./tracks.js";

/** @import { MetricData } from "./kinds.js" */
/** @typedef {{from: number, to: number, value: number}} Stay a stretch with one value, as far as it is known */

/**
 * Find the stays behind single readings; neighbours of one value are one stay.
 * @param {MetricData} data
 * @returns {Stay[]}
 */
export function findStays({ points: { time, mean }, points, window, silence }) {
  const silent = findSilences(time, silence);
  const usual = estimateDistance(points, 0);
  /** @type {Stay[]} */
  const stays = [];
  time.forEach((from, index) => {
    const isNewest = index === time.length - 1;
    const end = isNewest ? Math.max(from, window.end) : time[index + 1];
    const isLost = isNewest ? end - from > (silence ?? 3 * usual) : silent[index];
    const to = isLost ? from : end;
    const before = stays.at(-1);
    if (before && before.value === mean[index] && before.to === from) before.to = to;
    else stays.push({ from, to, value: mean[index] });
  });
  return stays;
}

/**
 * Return the flags of a list of flags; null where the list is not known yet.
 * @param {MetricData} data
 * @param {number} value the code of the list
 * @returns {string[] | null}
 */
export const readFlags = ({ words }, value) => words.get(value)?.flags ?? null;

/** Write a state: by its word, else as on or off, else as its number. @param {number} value @param {MetricData} data */
export function formatState(value, data) {
  if (data.isFlags && !data.track) return readFlags(data, value)?.join(", ") || "none";
  const word = data.words.get(value)?.word;
  if (word) return word;
  return isBinary(listValues(data)) ? (value ? "on" : "off") : formatPlain(value);
}

/** Return whether all values are on or off. @param {number[]} values */
export const isBinary = (values) => values.every((value) => value === 0 || value === 1);

/** Return whether a state's values have words or colours, or are flags: it is drawn as a timeline. @param {MetricData} data */
export const isTimeline = ({ words, isFlags }) =>
  isFlags || [...words.values()].some(({ word, colour }) => word || colour);

/** List the states in the data. @param {MetricData} data @returns {number[]} */
export function listValues({ points, track }) {
  return track ? (track.states ?? []).map(({ value }) => value) : [...new Set(points.mean)].sort((a, b) => a - b);
}

/**
 * Sum the seconds of each state in the window: flags by their words, others by their values in ascending order.
 * @template {number | string} K
 * @param {MetricData} data
 * @param {(value: number) => K[]} toKeys
 * @returns {Map<K, number>}
 */
export function sumSeconds(data, toKeys) {
  const { track, window, bucket } = data;
  /** @type {Map<K, number>} */
  const seconds = new Map();
  const add = (/** @type {number} */ value, /** @type {number} */ more) => {
    for (const key of toKeys(value)) seconds.set(key, (seconds.get(key) ?? 0) + more);
  };
  for (const value of listValues(data)) add(value, 0);
  if (!track) findStays(data).forEach(({ from, to, value }) => add(value, Math.max(0, to - Math.max(from, window.start))));
  for (const { value, share } of track?.states ?? [])
    share?.forEach((each, index) =>
      add(
        value,
        (each ?? 0) * (track?.coverage[index] ?? 0) * countRequestedSeconds(/** @type {any} */ (track), index, bucket, window),
      ),
    );
  return seconds;
}

/** Sum the known seconds of the window. @param {MetricData} data */
export function sumKnownSeconds(data) {
  const { track, window, bucket } = data;
  if (!track) return findStays(data).reduce((sum, { from, to }) => sum + Math.max(0, to - Math.max(from, window.start)), 0);
  return track.coverage.reduce(
    (sum, covered, index) => sum + covered * countRequestedSeconds(track, index, bucket, window),
    0,
  );
}
