// A register that only grows: bars of its increase; an increase across several buckets is hatched and named.

import { formatWithin } from "./instant.js";
import { paintBars } from "./paint.js";
import { makeCurveColumns } from "./points.js";
import { formatQuantity, formatShare, NO_VALUE } from "./quantity.js";
import { describePerBucket } from "./resolution.js";

/**
 * @import { Columns, Kind, MetricData } from "./kinds.js"
 * @import { Track } from "./tracks.js"
 */

/** @type {Kind} */
export const counter = {
  describePoints: (resolution) => describePerBucket(resolution, "increase per"),
  makeColumns: ({ points, track, bucket, silence }) =>
    track ? makeBarColumns(track) : makeCurveColumns(points, bucket, silence),
  makeDrawing: ({ track, bucket, replacements }) =>
    track
      ? {
          shape: "blocks",
          zero: true,
          paint: (plot, colours) => paintBars(plot, track, { bucket, colours, replacements }),
        }
      : { shape: "step" },
  formatValue: (value, { unit }) => formatQuantity(value, unit),
  describePoint({ track, unit, columns, bucket, replacements }, index) {
    if (!track) return formatQuantity(columns[3][index], unit);
    const begin = track.time[index];
    const end = Math.min(track.time[index + 1] ?? Infinity, begin + bucket);
    const [lost, resets] = [track.unallocated?.[index] ?? 0, track.resets?.[index] ?? 0];
    const words = [formatQuantity(track.increase?.[index], unit)];
    if (lost) words.push(`${formatQuantity(lost, unit)} unallocated`);
    if (resets) words.push(resets === 1 ? "1 reset" : `${resets} resets`);
    if (replacements.some((time) => time >= begin && time < end)) words.push("meter replaced");
    if (track.coverage[index] < 0.995) words.push(`${formatShare(track.coverage[index])}\u202f% covered`);
    return words.join(" · ");
  },
  makeFigures: (data) => (data.track ? makeBucketFigures(data, data.track) : makeReadingFigures(data)),
  makeTableColumns({ points, track }) {
    if (!track) return { time: points.time, figures: [{ name: "", column: points.mean }] };
    const known = findKnownBuckets(track);
    const pick = (/** @type {number[] | null} */ column) => known.map((index) => column?.[index] ?? null);
    return {
      time: known.map((index) => track.time[index]),
      figures: [
        { name: "increase", column: pick(track.increase) },
        { name: "unallocated", column: pick(track.unallocated) },
        { name: "resets", column: pick(track.resets), plain: true },
        { name: "coverage", column: pick(track.coverage), plain: true },
      ],
    };
  },
};

/** Return the indices of buckets with coverage or an increase. @param {Track} track */
function findKnownBuckets(track) {
  return track.time
    .map((_, index) => index)
    .filter((i) => track.coverage[i] > 0 || track.increase?.[i] || track.unallocated?.[i]);
}

/**
 * Make columns of time, upper and lower end of the bar, and increase; null in unknown buckets.
 * @param {Track} track
 */
function makeBarColumns(track) {
  const rise = track.time.map(() => /** @type {number | null} */ (null));
  const [top, bottom] = [[...rise], [...rise]];
  for (const index of findKnownBuckets(track)) {
    const increase = track.increase?.[index] ?? 0;
    const whole = increase + (track.unallocated?.[index] ?? 0);
    rise[index] = increase;
    top[index] = Math.max(0, increase, whole);
    bottom[index] = Math.min(0, increase, whole);
  }
  return /** @type {Columns} */ ([track.time, top, bottom, rise]);
}

/** @param {MetricData} data @param {Track} track */
function makeBucketFigures({ unit, window, tz, replacements }, track) {
  const add = (/** @type {number[] | null} */ column) => (column ?? []).reduce((sum, value) => sum + value, 0);
  const known = findKnownBuckets(track);
  const [sum, lost, resets] = [add(track.increase), add(track.unallocated), add(track.resets)];
  const size = (/** @type {number} */ index) => Math.abs(track.increase?.[index] ?? 0);
  const top = known.reduce((best, index) => (size(index) > size(best) ? index : best), known[0]);
  const when = known.length ? formatWithin(track.time[top], window.end - window.start, tz) : "";
  const replaced = replacements.filter((time) => time >= window.start && time < window.end).length;
  const figures = [
    { name: "sum", label: "Sum", text: known.length ? formatQuantity(sum, unit) : NO_VALUE, aside: "" },
    { name: "peak", label: "Most", text: formatQuantity(track.increase?.[top], unit), aside: when },
  ];
  if (lost)
    figures.push({
      name: "unallocated",
      label: "Unallocated",
      text: formatQuantity(lost, unit),
      aside: "while nothing was heard",
    });
  if (resets) figures.push({ name: "resets", label: "Resets", text: String(resets), aside: "" });
  if (replaced) figures.push({ name: "replaced", label: "Replaced", text: String(replaced), aside: "" });
  return figures;
}

/** Sum single readings: the last less the first, unless the register went back. @param {MetricData} data */
function makeReadingFigures({ points: { mean }, unit, replacements, window }) {
  const begunAnew = replacements.some((time) => time > window.start && time < window.end);
  const fell = mean.some((value, index) => index > 0 && value < mean[index - 1]);
  if (mean.length < 2 || begunAnew || fell)
    return [{ name: "sum", label: "Sum", text: NO_VALUE, aside: fell ? "the register went back" : "" }];
  const rise = mean[mean.length - 1] - mean[0];
  return [{ name: "sum", label: "Sum", text: formatQuantity(rise, unit), aside: "first to last reading" }];
}
