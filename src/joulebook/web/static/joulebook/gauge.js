// A level: the line of means over the band from the least to the greatest reading.

import { formatWithin } from "./instant.js";
import { findLowerBound, makeCurveColumns } from "./points.js";
import { formatQuantity } from "./quantity.js";
import { describeResolution } from "./resolution.js";
import { summarise } from "./summary.js";

/** @import { Kind } from "./kinds.js" */

/** @type {Kind} */
export const gauge = {
  describePoints: describeResolution,
  makeColumns: ({ points, bucket, silence, track }) => makeCurveColumns(points, bucket, silence, track),
  makeDrawing: () => ({ shape: "line" }),
  formatValue: (value, { unit }) => formatQuantity(value, unit),
  describePoint({ points, unit, columns }, index) {
    const [times, max, min, mean] = columns;
    const value = (/** @type {number | null} */ number) => formatQuantity(number, unit);
    if (max[index] == null) return value(mean[index]);
    const count = points.count?.[findLowerBound(points.time, times[index])] ?? 1;
    const readings = count === 1 ? "1 reading" : `${formatQuantity(count)} readings`;
    return `mean ${value(mean[index])} · ${value(min[index])} to ${value(max[index])} · ${readings}`;
  },
  makeFigures({ points, unit, window, bucket, tz }) {
    const { mean, peak } = summarise(points, window, bucket, window.end);
    const when = peak ? formatWithin(peak.time, window.end - window.start, tz) : "";
    return [
      { name: "mean", label: "Mean", text: formatQuantity(mean, unit) },
      { name: "peak", label: "Peak", text: formatQuantity(peak?.value, unit), aside: when },
    ];
  },
  makeTableColumns({ points, bucket }) {
    const figures = bucket
      ? [
          { name: "mean", column: points.mean },
          { name: "min", column: points.min },
          { name: "max", column: points.max },
          { name: "count", column: points.count },
        ]
      : [{ name: "", column: points.mean }];
    return { time: points.time, figures };
  },
};
