// On and off, or a code: shares of the time in each bucket; single readings as steps.

import { formatLength } from "./instant.js";
import { chooseStateStyle, paintShares } from "./paint.js";
import { estimateDistance, isGap, makeCurveColumns } from "./points.js";
import { formatPlain, formatShare, NO_VALUE } from "./quantity.js";
import { describePerBucket } from "./resolution.js";
import { countRequestedSeconds } from "./tracks.js";

/**
 * @import { Columns, Kind, MetricData } from "./kinds.js"
 * @import { Track } from "./tracks.js"
 */

/** @type {Kind} */
export const state = {
  describePoints: (resolution) => describePerBucket(resolution, "share of"),
  makeColumns: ({ points, track, bucket, silence }) =>
    track ? makeShareColumns(track) : makeCurveColumns(points, bucket, silence),
  makeDrawing(data) {
    const { track, bucket } = data;
    const binary = isBinary(listValues(data));
    if (!track) {
      const label = (/** @type {number} */ tick) => (Number.isInteger(tick) ? formatState(tick, binary) : "");
      return { shape: "step", label, ...(binary ? { range: [-0.1, 1.1] } : {}) };
    }
    return {
      shape: "blocks",
      range: [0, 1],
      label: (tick) => `${Math.round(tick * 100)}\u202f%`,
      paint: (plot, colours) => paintShares(plot, track, { bucket, colours, binary }),
    };
  },
  formatValue: (value, data) => (value == null ? NO_VALUE : formatState(value, isBinary(listValues(data)))),
  describePoint(data, index) {
    const { track, columns } = data;
    const binary = isBinary(listValues(data));
    if (!track) return formatState(/** @type {number} */ (columns[3][index]), binary);
    const covered = track.coverage[index];
    const words = (track.states ?? [])
      .filter(({ share }) => (share[index] ?? 0) > 0)
      .map(({ value, share }) => `${formatState(value, binary)} ${formatShare(share[index] ?? 0)}\u202f%`);
    if (covered < 0.995) words.push(`${formatShare(covered)}\u202f% covered`);
    return words.join(" · ");
  },
  makeFigures(data) {
    const seconds = sumSecondsByState(data);
    const all = [...seconds.values()].reduce((sum, each) => sum + each, 0);
    const [label, value] = isBinary([...seconds.keys()])
      ? ["On", 1]
      : ["Mostly", [...seconds].reduce((best, each) => (each[1] > best[1] ? each : best), [NaN, -1])[0]];
    if (!all) return [{ name: "on", label: "On", text: NO_VALUE }];
    const mine = seconds.get(value) ?? 0;
    const share = `${formatShare(mine / all)}\u202f%`;
    const text = label === "On" ? share : `${formatPlain(value)}: ${share}`;
    return [{ name: "on", label, text, aside: formatLength(mine) }];
  },
  makeLegend(data) {
    const seconds = sumSecondsByState(data);
    const values = [...seconds.keys()];
    if (!data.track || isBinary(values)) return [];
    const all = [...seconds.values()].reduce((sum, each) => sum + each, 0);
    return values.map((value) => ({
      text: `${formatPlain(value)} ${formatShare(all ? (seconds.get(value) ?? 0) / all : 0)}\u202f%`,
      style: chooseStateStyle(value, values),
    }));
  },
  makeTableColumns(data) {
    const { points, track } = data;
    if (!track) return { time: points.time, figures: [{ name: "", column: points.mean }] };
    const binary = isBinary(listValues(data));
    const indices = track.time.map((_, index) => index).filter((index) => track.coverage[index] > 0);
    const figures = (track.states ?? [])
      .filter(({ value }) => !binary || value === 1)
      .map(({ value, share }) => ({
        name: `share of ${formatState(value, binary)}`,
        column: indices.map((index) => share[index]),
        plain: true,
      }));
    const coverage = { name: "coverage", column: indices.map((index) => track.coverage[index]), plain: true };
    return { time: indices.map((index) => track.time[index]), figures: [...figures, coverage] };
  },
};

/** Write a state in words. @param {number} value @param {boolean} binary */
const formatState = (value, binary) => (binary ? (value ? "on" : "off") : formatPlain(value));

/** Return whether all values are on or off. @param {number[]} values */
const isBinary = (values) => values.every((value) => value === 0 || value === 1);

/** List the states in the data. @param {MetricData} data @returns {number[]} */
function listValues({ points, track }) {
  return track ? (track.states ?? []).map(({ value }) => value) : [...new Set(points.mean)];
}

/**
 * Make columns of time, 1, 0 and the share of on (1 for several codes); null in buckets without readings.
 * @param {Track} track
 */
function makeShareColumns(track) {
  const states = track.states ?? [];
  const on = states.find(({ value }) => value === 1);
  const binary = isBinary(states.map(({ value }) => value));
  const share = track.time.map((_, index) => {
    if (!states.some((each) => each.share[index] != null)) return null;
    return binary ? (on?.share[index] ?? 0) : 1;
  });
  const fill = (/** @type {number} */ level) => share.map((each) => (each == null ? null : level));
  return /** @type {Columns} */ ([track.time, fill(1), fill(0), share]);
}

/** Sum the seconds of each state in the window, by ascending state. @param {MetricData} data */
function sumSecondsByState({ points, track, window, bucket, silence }) {
  /** @type {Map<number, number>} */
  const seconds = new Map();
  const add = (/** @type {number} */ value, /** @type {number} */ more) =>
    seconds.set(value, (seconds.get(value) ?? 0) + more);
  if (track) {
    for (const { value, share } of track.states ?? [])
      share.forEach((each, index) =>
        add(value, (each ?? 0) * track.coverage[index] * countRequestedSeconds(track, index, bucket, window)),
      );
  } else {
    const distance = estimateDistance(points, 0);
    points.time.forEach((at, index) => {
      const next = points.time[index + 1] ?? window.end;
      add(points.mean[index], isGap(at, next, 0, distance, silence) ? 0 : next - at);
    });
  }
  return new Map([...seconds].sort(([a], [b]) => a - b));
}
