// On or off, or a code: for which share of the time; single readings as steps.

import { formatLength } from "./instant.js";
import { paintShares, stateStyle } from "./paint.js";
import { chartColumns, isGap, usualDistance } from "./points.js";
import { formatShare, NO_VALUE, writePlain } from "./quantity.js";
import { perBucket } from "./resolution.js";
import { askedSeconds } from "./tracks.js";

/** @typedef {import("./kinds.js").Shown} Shown */
/** @typedef {import("./tracks.js").Track} Track */

/** @type {import("./kinds.js").Kind} */
export const state = {
  words: (resolution) => perBucket(resolution, "share of"),
  columns: ({ points, track, bucket, silence }) =>
    track ? shareColumns(track) : chartColumns(points, bucket, silence),
  drawing(shown) {
    const { track, bucket } = shown;
    const binary = isBinary(valuesOf(shown));
    if (!track) {
      const label = (/** @type {number} */ tick) => (Number.isInteger(tick) ? word(tick, binary) : "");
      return { shape: "step", label, ...(binary ? { range: [-0.1, 1.1] } : {}) };
    }
    return {
      shape: "blocks",
      range: [0, 1],
      label: (tick) => `${Math.round(tick * 100)}\u202f%`,
      paint: (plot, colours) => paintShares(plot, track, { bucket, colours, binary }),
    };
  },
  value: (value, shown) => (value == null ? NO_VALUE : word(value, isBinary(valuesOf(shown)))),
  describe(shown, index) {
    const { track, columns } = shown;
    const binary = isBinary(valuesOf(shown));
    if (!track) return word(/** @type {number} */ (columns[3][index]), binary);
    const covered = track.coverage[index];
    const words = (track.states ?? [])
      .filter(({ share }) => (share[index] ?? 0) > 0)
      .map(({ value, share }) => `${word(value, binary)} ${formatShare(share[index] ?? 0)}\u202f%`);
    if (covered < 0.995) words.push(`${formatShare(covered)}\u202f% covered`);
    return words.join(" · ");
  },
  figures(shown) {
    const seconds = secondsByState(shown);
    const all = [...seconds.values()].reduce((sum, each) => sum + each, 0);
    const [label, value] = isBinary([...seconds.keys()])
      ? ["On", 1]
      : ["Mostly", [...seconds].reduce((best, each) => (each[1] > best[1] ? each : best), [NaN, -1])[0]];
    if (!all) return [{ name: "on", label: "On", text: NO_VALUE }];
    const mine = seconds.get(value) ?? 0;
    const share = `${formatShare(mine / all)}\u202f%`;
    const text = label === "On" ? share : `${writePlain(value)}: ${share}`;
    return [{ name: "on", label, text, aside: formatLength(mine) }];
  },
  legend(shown) {
    const seconds = secondsByState(shown);
    const values = [...seconds.keys()];
    if (!shown.track || isBinary(values)) return [];
    const all = [...seconds.values()].reduce((sum, each) => sum + each, 0);
    return values.map((value) => ({
      text: `${writePlain(value)} ${formatShare(all ? (seconds.get(value) ?? 0) / all : 0)}\u202f%`,
      style: stateStyle(value, values),
    }));
  },
  table(shown) {
    const { points, track } = shown;
    if (!track) return { time: points.time, figures: [{ name: "", column: points.mean }] };
    const binary = isBinary(valuesOf(shown));
    const kept = track.time.map((_, index) => index).filter((index) => track.coverage[index] > 0);
    const figures = (track.states ?? [])
      .filter(({ value }) => !binary || value === 1)
      .map(({ value, share }) => ({
        name: `share of ${word(value, binary)}`,
        column: kept.map((index) => share[index]),
        plain: true,
      }));
    const coverage = { name: "coverage", column: kept.map((index) => track.coverage[index]), plain: true };
    return { time: kept.map((index) => track.time[index]), figures: [...figures, coverage] };
  },
};

/** @param {number} value @param {boolean} binary */
const word = (value, binary) => (binary ? (value ? "on" : "off") : writePlain(value));

/** @param {number[]} values */
const isBinary = (values) => values.every((value) => value === 0 || value === 1);

/** @param {Pick<Shown, "points" | "track">} shown @returns {number[]} */
function valuesOf({ points, track }) {
  return track ? (track.states ?? []).map(({ value }) => value) : [...new Set(points.mean)];
}

/** Time, 1, 0, and the share of on (or 1 of several codes); nothing where nothing is known. @param {Track} track */
function shareColumns(track) {
  const states = track.states ?? [];
  const on = states.find(({ value }) => value === 1);
  const binary = isBinary(states.map(({ value }) => value));
  const share = track.time.map((_, index) => {
    if (!states.some((each) => each.share[index] != null)) return null;
    return binary ? (on?.share[index] ?? 0) : 1;
  });
  const fill = (/** @type {number} */ level) => share.map((each) => (each == null ? null : level));
  return /** @type {import("./kinds.js").Columns} */ ([track.time, fill(1), fill(0), share]);
}

/** For how long the metric had each of its values in the window. @param {Shown} shown */
function secondsByState({ points, track, window, bucket, silence }) {
  /** @type {Map<number, number>} */
  const seconds = new Map();
  const add = (/** @type {number} */ value, /** @type {number} */ more) =>
    seconds.set(value, (seconds.get(value) ?? 0) + more);
  if (track) {
    for (const { value, share } of track.states ?? [])
      share.forEach((each, index) =>
        add(value, (each ?? 0) * track.coverage[index] * askedSeconds(track, index, bucket, window)),
      );
  } else {
    const distance = usualDistance(points, 0);
    points.time.forEach((at, index) => {
      const next = points.time[index + 1] ?? window.end;
      add(points.mean[index], isGap(at, next, 0, distance, silence) ? 0 : next - at);
    });
  }
  return new Map([...seconds].sort(([a], [b]) => a - b));
}
