// A register: bars of its increase, of a net register up and down; an increase at an unknown time is hatched.

import { formatBarLength, getNet, makeBarColumns, makeBarFigures, makeBucketBars, makeReadingBars } from "./bars.js";
import { paintBars } from "./paint.js";
import { formatQuantity, formatShare } from "./quantity.js";
import { describePerBucket } from "./resolution.js";

/**
 * @import { Bar } from "./bars.js"
 * @import { Figure, Kind, MetricData } from "./kinds.js"
 * @import { Points } from "./points.js"
 * @import { Rise, Rises } from "./rises.js"
 * @import { Track } from "./tracks.js"
 */

/** @type {Kind} */
export const counter = {
  describePoints: (resolution) => describePerBucket(resolution, "increase per", "increase since the reading before"),
  makeColumns: (data) => makeBarColumns(data.track?.time ?? data.points.time, makeBars(data)),
  makeDrawing(data) {
    const bars = makeBars(data);
    return {
      shape: "blocks",
      zero: true,
      paint: (plot, colours) => paintBars(plot, bars, { colours, replacements: data.replacements }),
    };
  },
  formatValue: (value, { unit }) => formatQuantity(value, unit),
  describePoint(data, index) {
    const { track, unit, columns, points, replacements } = data;
    const bar = makeBars(data).find(({ time }) => time === columns[0][index]);
    if (!bar) return "";
    const value = (/** @type {number} */ number) => formatQuantity(number, unit);
    const words = bar.back
      ? [`${value(getNet(bar))} net`, `${value(bar.flow)} up`, `${value(bar.back)} down`]
      : [value(bar.flow)];
    if (bar.lost) words.push(`${value(bar.lost)} unallocated`);
    if (bar.isSpread) words.push("spread over a silence");
    if (bar.resets) words.push(bar.resets === 1 ? "1 reset" : `${bar.resets} resets`);
    if (bar.glitches) words.push(bar.glitches === 1 ? "1 glitch" : `${bar.glitches} glitches`);
    if (replacements.some((time) => time >= bar.from && time < bar.to)) words.push("meter replaced");
    if (track && track.coverage[index] < 0.995)
      words.push(`${formatShare(track.coverage[index])}\u202f% covered`);
    if (!track) words.push(`in ${formatBarLength(bar)}`, `register ${value(points.mean[index])}`);
    return words.join(" · ");
  },
  makeFigures(data) {
    const bars = makeBars(data);
    const { unit, replacements, window } = data;
    const [sum, ...others] = makeBarFigures(bars, data, "Most");
    const add = (/** @type {"flow" | "back" | "lost" | "resets" | "glitches"} */ name) =>
      bars.reduce((total, bar) => total + (bar[name] ?? 0), 0);
    /** @type {Figure[]} */
    const figures = [sum];
    if (bars.some(({ back }) => back))
      figures.push(
        { name: "up", label: "Up", text: formatQuantity(add("flow"), unit) },
        { name: "down", label: "Down", text: formatQuantity(add("back"), unit) },
      );
    figures.push(...others);
    if (add("lost"))
      figures.push({
        name: "unallocated",
        label: "Unallocated",
        text: formatQuantity(add("lost"), unit),
        aside: "while nothing was heard",
      });
    const replaced = replacements.filter((time) => time >= window.start && time < window.end).length;
    for (const [name, label, count] of /** @type {[string, string, number][]} */ ([
      ["resets", "Resets", add("resets")],
      ["glitches", "Glitches", add("glitches")],
      ["replaced", "Replaced", replaced],
    ]))
      if (count) figures.push({ name, label, text: String(count) });
    return figures;
  },
  makeTableColumns(data) {
    const { points, track } = data;
    if (!track) {
      const bars = makeBars(data);
      return {
        time: points.time,
        figures: [
          { name: "", column: points.mean },
          { name: "increase", column: bars.map(({ flow }) => flow) },
          ...(bars.some(({ back }) => back) ? [{ name: "decrease", column: bars.map(({ back = 0 }) => back) }] : []),
          ...(bars.some(({ lost }) => lost) ? [{ name: "unallocated", column: bars.map(({ lost = 0 }) => lost) }] : []),
        ],
      };
    }
    const known = track.time.map((_, index) => index).filter((index) => isKnown(track, index));
    const pick = (/** @type {number[] | null} */ column) => known.map((index) => column?.[index] ?? null);
    return {
      time: known.map((index) => track.time[index]),
      figures: [
        { name: "increase", column: pick(track.increase) },
        ...(track.decrease ? [{ name: "decrease", column: pick(track.decrease) }] : []),
        { name: "unallocated", column: pick(track.unallocated) },
        { name: "resets", column: pick(track.resets), plain: true },
        ...(track.glitches?.some(Boolean) ? [{ name: "glitches", column: pick(track.glitches), plain: true }] : []),
        { name: "coverage", column: pick(track.coverage), plain: true },
      ],
    };
  },
};

/** Return whether a bucket has coverage or an increase. @param {Track} track @param {number} index */
const isKnown = (track, index) =>
  Boolean(
    track.coverage[index] > 0 ||
    track.increase?.[index] ||
    track.decrease?.[index] ||
    track.unallocated?.[index],
  );

/** @param {MetricData} data @returns {Bar[]} */
function makeBars({ points, track, bucket, silence, rises }) {
  if (track)
    return makeBucketBars(track, bucket, (index) =>
      isKnown(track, index)
        ? {
            flow: track.increase?.[index] ?? 0,
            back: track.decrease?.[index] ?? 0,
            lost: track.unallocated?.[index] ?? 0,
            resets: track.resets?.[index] ?? 0,
            glitches: track.glitches?.[index] ?? 0,
            isSpread: Boolean(track.spread?.[index]),
          }
        : null,
    );
  return makeReadingBars(points, {
    silence,
    isBefore: true,
    acrossSilences: true,
    read: (index) => findRise(points, index, rises),
  });
}

/**
 * Find the rise since the reading before: the server's, or of a live reading unknown to it the difference.
 * @param {Points} points
 * @param {number} index
 * @param {Rises | null} rises
 * @returns {Rise}
 */
function findRise({ time, mean }, index, rises) {
  return rises?.get(time[index]) ?? { flow: index ? Math.max(0, mean[index] - mean[index - 1]) : 0 };
}
