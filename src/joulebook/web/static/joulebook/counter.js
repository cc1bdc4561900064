// A register that only grows: bars of how far it rose; what no bucket can claim is hatched and named.

import { formatWithin } from "./instant.js";
import { paintBars } from "./paint.js";
import { chartColumns } from "./points.js";
import { formatQuantity, formatShare, NO_VALUE } from "./quantity.js";
import { perBucket } from "./resolution.js";

/** @typedef {import("./kinds.js").Shown} Shown */
/** @typedef {import("./tracks.js").Track} Track */

/** @type {import("./kinds.js").Kind} */
export const counter = {
  words: (resolution) => perBucket(resolution, "increase per"),
  columns: ({ points, track, bucket, silence }) =>
    track ? barColumns(track) : chartColumns(points, bucket, silence),
  drawing: ({ track, bucket, replacements }) =>
    track
      ? {
          shape: "blocks",
          zero: true,
          paint: (plot, colours) => paintBars(plot, track, { bucket, colours, replacements }),
        }
      : { shape: "step" },
  value: (value, { unit }) => formatQuantity(value, unit),
  describe({ track, unit, columns, bucket, replacements }, index) {
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
  figures: (shown) => (shown.track ? bucketFigures(shown, shown.track) : readingFigures(shown)),
  table({ points, track }) {
    if (!track) return { time: points.time, figures: [{ name: "", column: points.mean }] };
    const kept = known(track);
    const pick = (/** @type {number[] | null} */ column) => kept.map((index) => column?.[index] ?? null);
    return {
      time: kept.map((index) => track.time[index]),
      figures: [
        { name: "increase", column: pick(track.increase) },
        { name: "unallocated", column: pick(track.unallocated) },
        { name: "resets", column: pick(track.resets), plain: true },
        { name: "coverage", column: pick(track.coverage), plain: true },
      ],
    };
  },
};

/** Buckets of which anything is known. @param {Track} track */
function known(track) {
  return track.time
    .map((_, index) => index)
    .filter((i) => track.coverage[i] > 0 || track.increase?.[i] || track.unallocated?.[i]);
}

/** Time, upper and lower end of the bar, increase; nothing where nothing is known. @param {Track} track */
function barColumns(track) {
  const rise = track.time.map(() => /** @type {number | null} */ (null));
  const [top, bottom] = [[...rise], [...rise]];
  for (const index of known(track)) {
    const increase = track.increase?.[index] ?? 0;
    const whole = increase + (track.unallocated?.[index] ?? 0);
    rise[index] = increase;
    top[index] = Math.max(0, increase, whole);
    bottom[index] = Math.min(0, increase, whole);
  }
  return /** @type {import("./kinds.js").Columns} */ ([track.time, top, bottom, rise]);
}

/** @param {Shown} shown @param {Track} track */
function bucketFigures({ unit, window, tz, replacements }, track) {
  const add = (/** @type {number[] | null} */ column) => (column ?? []).reduce((sum, value) => sum + value, 0);
  const kept = known(track);
  const [sum, lost, resets] = [add(track.increase), add(track.unallocated), add(track.resets)];
  const size = (/** @type {number} */ index) => Math.abs(track.increase?.[index] ?? 0);
  const top = kept.reduce((best, index) => (size(index) > size(best) ? index : best), kept[0]);
  const when = kept.length ? formatWithin(track.time[top], window.end - window.start, tz) : "";
  const replaced = replacements.filter((time) => time >= window.start && time < window.end).length;
  const figures = [
    { name: "sum", label: "Sum", text: kept.length ? formatQuantity(sum, unit) : NO_VALUE, aside: "" },
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

/** Of single readings the difference is the rise, unless the register went back. @param {Shown} shown */
function readingFigures({ points: { mean }, unit, replacements, window }) {
  const begunAnew = replacements.some((time) => time > window.start && time < window.end);
  const fell = mean.some((value, index) => index > 0 && value < mean[index - 1]);
  if (mean.length < 2 || begunAnew || fell)
    return [{ name: "sum", label: "Sum", text: NO_VALUE, aside: fell ? "the register went back" : "" }];
  const rise = mean[mean.length - 1] - mean[0];
  return [{ name: "sum", label: "Sum", text: formatQuantity(rise, unit), aside: "first to last reading" }];
}
