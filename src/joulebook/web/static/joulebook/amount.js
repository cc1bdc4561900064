// What flowed in an interval: bars of sums, of single readings over their own intervals.

import { formatBarLength, makeBarColumns, makeBarFigures, makeBucketBars, makeReadingBars } from "./bars.js";
import { paintBars } from "./paint.js";
import { formatQuantity, formatShare } from "./quantity.js";
import { describePerBucket } from "./resolution.js";

/**
 * @import { Bar } from "./bars.js"
 * @import { Kind, MetricData } from "./kinds.js"
 */

/** @type {Kind} */
export const amount = {
  describePoints: (resolution) => describePerBucket(resolution, "sum per", "every interval"),
  makeColumns: (data) => makeBarColumns(data.track?.time ?? data.points.time, makeBars(data)),
  makeDrawing(data) {
    const bars = makeBars(data);
    return {
      shape: "blocks",
      zero: true,
      paint: (plot, colours) => paintBars(plot, bars, { colours, replacements: [] }),
    };
  },
  formatValue: (value, { unit }) => formatQuantity(value, unit),
  describePoint(data, index) {
    const { track, unit, columns } = data;
    const bar = makeBars(data).find(({ time }) => time === columns[0][index]);
    if (!bar) return "";
    const words = [formatQuantity(bar.flow, unit)];
    if (!track) words.push(`in ${formatBarLength(bar)}`);
    else {
      const largest = track.largest?.[index];
      if (largest != null) words.push(`largest interval ${formatQuantity(largest, unit)}`);
      if (track.coverage[index] < 0.995) words.push(`${formatShare(track.coverage[index])}\u202f% covered`);
    }
    return words.join(" · ");
  },
  makeFigures(data) {
    const bars = makeBars(data);
    const [sum, most] = makeBarFigures(bars, data, data.track ? "Most" : "Largest");
    return [sum, most];
  },
  makeTableColumns(data) {
    const { points, track } = data;
    if (!track) return { time: points.time, figures: [{ name: "", column: points.mean }] };
    const known = track.time.map((_, index) => index).filter((index) => isKnown(data, index));
    const pick = (/** @type {(number | null)[] | null} */ column) => known.map((index) => column?.[index] ?? null);
    return {
      time: known.map((index) => track.time[index]),
      figures: [
        { name: "sum", column: pick(track.sum) },
        { name: "largest", column: pick(track.largest) },
        { name: "coverage", column: pick(track.coverage), plain: true },
      ],
    };
  },
};

/** Return whether a bucket has coverage or a sum. @param {MetricData} data @param {number} index */
const isKnown = ({ track }, index) => Boolean(track && (track.coverage[index] > 0 || track.sum?.[index]));

/** @param {MetricData} data @returns {Bar[]} */
function makeBars(data) {
  const { points, track, bucket, silence, coversBefore } = data;
  if (track)
    return makeBucketBars(track, bucket, (index) =>
      isKnown(data, index) ? { flow: track.sum?.[index] ?? 0 } : null,
    );
  return makeReadingBars(points, {
    silence,
    isBefore: coversBefore,
    read: (index) => ({ flow: points.mean[index] }),
  });
}
