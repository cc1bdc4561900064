// What an answer says of every bucket, also of one without readings: coverage, and what a kind adds to it.

import { lowerBound } from "./points.js";

/** @typedef {import("./history-client.js").Answer} Answer */
/**
 * One metric's buckets without exception; every array has the same length.
 * @typedef {object} Track
 * @property {number[]} time seconds since 1970 UTC, a bucket's start
 * @property {number[]} coverage share of the asked time of the bucket that readings cover
 * @property {number[] | null} increase of a counter
 * @property {number[] | null} unallocated what a counter rose by while nothing was heard across a border
 * @property {number[] | null} resets
 * @property {{value: number, share: (number | null)[]}[] | null} states of a state, by ascending value
 */

/**
 * Take one metric's track out of an answer; null where the answer has single readings.
 * @param {Answer} answer
 * @param {string} metric
 * @returns {Track | null}
 */
export function trackOf(answer, metric) {
  const series = answer.series.find((candidate) => candidate.metric === metric);
  if (!series?.coverage) return null;
  return {
    time: answer.time,
    coverage: series.coverage,
    increase: series.increase ?? null,
    unallocated: series.unallocated ?? null,
    resets: series.resets ?? null,
    states: series.states ? [...series.states].sort((a, b) => a.value - b.value) : null,
  };
}

/**
 * Replace what a track knows from `from` on by `newer`, and drop what lies before `oldest`.
 * @param {Track} track
 * @param {Track} newer of the same resolution
 * @param {number} from
 * @param {number} oldest
 * @returns {Track}
 */
export function extendedTrack(track, newer, from, oldest) {
  const first = lowerBound(track.time, oldest);
  const last = Math.max(first, lowerBound(track.time, from));
  /** @template T @param {T[]} old @param {T[]} fresh */
  const join = (old, fresh) => old.slice(first, last).concat(fresh);
  /** @param {number[] | null} old @param {number[] | null} fresh */
  const joined = (old, fresh) => (old && fresh ? join(old, fresh) : null);
  return {
    time: join(track.time, newer.time),
    coverage: join(track.coverage, newer.coverage),
    increase: joined(track.increase, newer.increase),
    unallocated: joined(track.unallocated, newer.unallocated),
    resets: joined(track.resets, newer.resets),
    states: track.states && newer.states ? joinedStates(track, newer, join) : null,
  };
}

/**
 * A state that either side never had took none of its covered time there.
 * @param {Track} track @param {Track} newer
 * @param {<T>(old: T[], fresh: T[]) => T[]} join
 */
function joinedStates(track, newer, join) {
  const values = new Set([...(track.states ?? []), ...(newer.states ?? [])].map(({ value }) => value));
  /** @param {Track} side @param {number} value @returns {(number | null)[]} */
  const shareIn = (side, value) =>
    side.states?.find((state) => state.value === value)?.share ??
    side.coverage.map((covered) => (covered > 0 ? 0 : null));
  return [...values]
    .sort((a, b) => a - b)
    .map((value) => ({ value, share: join(shareIn(track, value), shareIn(newer, value)) }));
}

/**
 * Seconds of a bucket that lie in a window: the outermost ones may reach beyond it.
 * @param {Track} track
 * @param {number} index
 * @param {number} bucket the greatest length of a bucket
 * @param {{start: number, end: number}} window
 */
export function askedSeconds({ time }, index, bucket, { start, end }) {
  const until = Math.min(end, time[index + 1] ?? Infinity, time[index] + bucket);
  return Math.max(0, until - Math.max(start, time[index]));
}

/**
 * Share of the elapsed window of which readings tell; null where none of it has passed.
 * @param {Track} track
 * @param {{start: number, end: number}} window
 * @param {number} bucket
 * @param {number} now
 */
export function coverOf(track, window, bucket, now) {
  const elapsed = { start: window.start, end: Math.min(window.end, now) };
  let [covered, asked] = [0, 0];
  track.coverage.forEach((share, index) => {
    const seconds = askedSeconds(track, index, bucket, elapsed);
    covered += share * seconds;
    asked += seconds;
  });
  return asked > 0 ? covered / asked : null;
}
