// The points as a table: for screen readers, for copying, and the rows of a saved file.

import { formatRfc3339 } from "./instant.js";
import { getKind } from "./kinds.js";
import { findLowerBound } from "./points.js";

/** @import { Sheet } from "./sheet.js" */

/**
 * Make a table of all points of a sheet: one row for each time, one column for each figure of each metric.
 * @param {Sheet} sheet
 * @param {(metric: string) => string} label
 * @returns {{head: string[], rows: [number, ...(number | string | null)[]][]}}
 */
export function makeTable(sheet, label) {
  const head = ["time"];
  /** @type {((time: number) => number | string | null)[]} */
  const readers = [];
  /** @type {Set<number>} */
  const instants = new Set();
  for (const metric of sheet.metrics) {
    const unit = sheet.units.get(metric) ?? "";
    const { time: axis, figures } = getKind(sheet.kinds.get(metric)).makeTableColumns(sheet.getMetricData(metric));
    axis.forEach((time) => instants.add(time));
    for (const { name, column, plain } of figures) {
      const named = unit && !plain ? `${label(metric)} (${unit})` : label(metric);
      head.push(name ? `${named} ${name}` : named);
      readers.push((time) => {
        const at = findLowerBound(axis, time);
        return axis[at] === time ? (column?.[at] ?? null) : null;
      });
    }
  }
  const times = [...instants].sort((a, b) => a - b);
  return { head, rows: times.map((time) => [time, ...readers.map((read) => read(time))]) };
}

/**
 * Draw the table in a box.
 * @param {HTMLElement} box
 * @param {Sheet} sheet
 * @param {(metric: string) => string} label
 */
export function renderTable(box, sheet, label) {
  const { head, rows } = makeTable(sheet, label);
  const table = document.createElement("table");
  const headRow = table.createTHead().insertRow();
  for (const text of head) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    headRow.append(cell);
  }
  const body = table.createTBody();
  for (const [time, ...values] of rows) {
    const row = body.insertRow();
    row.insertCell().textContent = formatRfc3339(time, sheet.view.tz);
    for (const value of values) row.insertCell().textContent = value == null ? "" : String(tidy(value));
  }
  box.replaceChildren(table);
}

/** Remove the noise of binary fractions: 0.30000000000000004 becomes 0.3. @param {number | string} value */
export const tidy = (value) => (typeof value === "number" ? Number(value.toPrecision(12)) : value);
