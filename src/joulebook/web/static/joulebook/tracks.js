// A metric's track: the answer's figures of every bucket, also of empty ones: coverage, and those of its kind.

import { findLowerBound } from "./points.js";
import { getStateValue } from "./words.js";

/**
 * @import { Answer, StateShare } from "./history-client.js"
 * @import { TimeWindow } from "./view.js"
 */

/** @typedef {{value: number, word: string, share: (number | null)[]}} ShareTrack a state's share of covered time */
/**
 * All buckets of one metric; every array has the same length.
 * @typedef {object} Track
 * @property {number[]} time seconds since 1970 UTC, a bucket's start
 * @property {number[]} coverage share of the bucket's requested time covered by readings
 * @property {number[] | null} increase of a counter
 * @property {number[] | null} decrease of a net register
 * @property {number[] | null} unallocated a counter's increase in a time without readings across a bucket's border
 * @property {number[] | null} spread not 0 where a rise is spread evenly over a time without readings
 * @property {number[] | null} resets
 * @property {number[] | null} glitches readings of a counter that count for nothing
 * @property {(number | null)[] | null} sum of an amount
 * @property {(number | null)[] | null} largest single amount
 * @property {number[] | null} changes of a state
 * @property {ShareTrack[] | null} states of a state, by ascending value; flags by their words
 */

/**
 * Give each state its value, and sort them: flags, which have values below zero here, by their words.
 * @param {StateShare[]} states
 * @returns {ShareTrack[]}
 */
function sortStates(states) {
  return states
    .map((state) => ({ value: getStateValue(state), word: state.word ?? "", share: state.share ?? [] }))
    .sort((a, b) => (a.value < 0 && b.value < 0 ? (a.word < b.word ? -1 : 1) : a.value - b.value));
}

/**
 * Extract one metric's track from an answer; null where the answer has single readings.
 * @param {Answer} answer
 * @param {string} metric
 * @returns {Track | null}
 */
export function extractTrack(answer, metric) {
  const series = answer.series.find((candidate) => candidate.metric === metric);
  if (!series?.coverage) return null;
  return {
    time: answer.time,
    coverage: series.coverage,
    increase: series.increase ?? null,
    decrease: series.decrease ?? null,
    unallocated: series.unallocated ?? null,
    spread: series.spread ?? null,
    resets: series.resets ?? null,
    glitches: series.glitches ?? null,
    sum: series.sum ?? null,
    largest: series.largest ?? null,
    changes: series.changes ?? null,
    states: series.states ? sortStates(series.states) : null,
  };
}

/**
 * Replace a track's buckets from `from` on by `newer`, and drop those before `oldest`.
 * @param {Track} track
 * @param {Track} newer of the same resolution
 * @param {number} from
 * @param {number} oldest
 * @returns {Track}
 */
export function extendTrack(track, newer, from, oldest) {
  const first = findLowerBound(track.time, oldest);
  const last = Math.max(first, findLowerBound(track.time, from));
  /** @template T @param {T[]} old @param {T[]} fresh */
  const join = (old, fresh) => old.slice(first, last).concat(fresh);
  /** @template T @param {T[] | null} old @param {T[] | null} fresh */
  const joined = (old, fresh) => (old && fresh ? join(old, fresh) : null);
  return {
    time: join(track.time, newer.time),
    coverage: join(track.coverage, newer.coverage),
    increase: joined(track.increase, newer.increase),
    decrease: joined(track.decrease, newer.decrease),
    unallocated: joined(track.unallocated, newer.unallocated),
    spread: joined(track.spread, newer.spread),
    resets: joined(track.resets, newer.resets),
    glitches: joined(track.glitches, newer.glitches),
    sum: joined(track.sum, newer.sum),
    largest: joined(track.largest, newer.largest),
    changes: joined(track.changes, newer.changes),
    states: track.states && newer.states ? joinStates(track, newer, join) : null,
  };
}

/**
 * Join the shares of each state. Where one side never had the state, its share of covered time is 0.
 * @param {Track} track @param {Track} newer
 * @param {<T>(old: T[], fresh: T[]) => T[]} join
 */
function joinStates(track, newer, join) {
  const all = new Map([...(track.states ?? []), ...(newer.states ?? [])].map((each) => [each.value, each]));
  /** @param {Track} side @param {number} value @returns {(number | null)[]} */
  const shareIn = (side, value) =>
    side.states?.find((state) => state.value === value)?.share ??
    side.coverage.map((covered) => (covered > 0 ? 0 : null));
  return [...all.values()]
    .sort((a, b) => (a.value < 0 && b.value < 0 ? (a.word < b.word ? -1 : 1) : a.value - b.value))
    .map((each) => ({ ...each, share: join(shareIn(track, each.value), shareIn(newer, each.value)) }));
}

/**
 * Count the seconds of a bucket inside a window: the first and the last bucket may reach beyond it.
 * @param {Track} track
 * @param {number} index
 * @param {number} bucket the greatest length of a bucket
 * @param {TimeWindow} window
 */
export function countRequestedSeconds({ time }, index, bucket, { start, end }) {
  const until = Math.min(end, time[index + 1] ?? Infinity, time[index] + bucket);
  return Math.max(0, until - Math.max(start, time[index]));
}

/**
 * Compute the share of the elapsed window covered by readings; null before the window begins.
 * @param {Track} track
 * @param {TimeWindow} window
 * @param {number} bucket
 * @param {number} now
 */
export function computeCoverage(track, window, bucket, now) {
  const elapsed = { start: window.start, end: Math.min(window.end, now) };
  let [covered, requested] = [0, 0];
  track.coverage.forEach((share, index) => {
    const seconds = countRequestedSeconds(track, index, bucket, elapsed);
    covered += share * seconds;
    requested += seconds;
  });
  return requested > 0 ? covered / requested : null;
}
