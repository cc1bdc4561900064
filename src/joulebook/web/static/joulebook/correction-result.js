// What a correction would change, and what it has changed, in words and tables.

import { formatInstant } from "./instant.js";
import { formatQuantity, NO_VALUE } from "./quantity.js";

/** @import { FormHandlers } from "./correction-form.js" */
/**
 * A reading before and after; null where there is none.
 * @typedef {{time: string | null, value: number | null, new_time: string | null, new_value: number | null}} Example
 */
/**
 * @typedef {object} Preview
 * @property {{metric: string, unit: string, changed: number, conflicts: number, more: boolean,
 *   examples: Example[]}[]} metrics
 * @property {{metric: string, unit: string, days: {date: string, before: number, after: number}[]}[]} energy
 * @property {string} no_energy why days were not summed; empty if they were
 */
/**
 * @typedef {object} Correction
 * @property {number} id its number
 * @property {string} kind
 * @property {{metric: string}[]} metrics
 * @property {string} start
 * @property {string} end
 * @property {string[]} times
 * @property {string} state queued, running, done, failed, undoing or undone
 * @property {string} problem
 * @property {number} changed readings
 * @property {number} conflicts
 * @property {string} reason
 * @property {string | null} user
 * @property {string} created_at
 */

/**
 * Show what a correction would change.
 * @param {HTMLElement} box
 * @param {Preview} preview
 * @param {Pick<FormHandlers, "getZone" | "getLabel">} names
 */
export function showPreview(box, { metrics, energy, no_energy }, { getZone, getLabel }) {
  const add = (/** @type {"changed" | "conflicts"} */ name) => metrics.reduce((sum, each) => sum + each[name], 0);
  const [changed, conflicts] = [add("changed"), add("conflicts")];
  const more = metrics.some((each) => each.more) ? "more than " : "";
  /** @type {HTMLElement[]} */
  const parts = [write("p", changed ? `${more}${countReadings(changed, "would change")}.` : NOTHING, "note")];
  if (conflicts)
    parts.push(write("p", `${countReadings(conflicts, "would stay")}: other readings are where they would move to.`, "note"));
  const when = (/** @type {string | null} */ time) =>
    time ? formatInstant(Date.parse(time) / 1000, getZone()) : NO_VALUE;
  const rows = metrics.flatMap(({ metric, unit, examples }) =>
    examples.map(({ time, value, new_time, new_value }) => [
      when(time ?? new_time),
      getLabel(metric),
      formatQuantity(value, unit),
      describeAfter({ time, new_time, new_value }, unit, when),
    ]),
  );
  if (rows.length) {
    const caption = rows.length < changed ? `The first ${rows.length} readings` : "The readings";
    parts.push(makeTable(caption, ["Time", "Metric", "Before", "After"], rows));
  }
  const days = energy.flatMap(({ metric, unit, days: each }) =>
    each.map(({ date, before, after }) => [
      date,
      getLabel(metric),
      formatQuantity(before, unit),
      formatQuantity(after, unit),
    ]),
  );
  if (days.length) parts.push(makeTable("Energy of the days", ["Day", "Metric", "Before", "After"], days));
  if (no_energy) parts.push(write("p", `Energy of the days: ${no_energy}.`, "muted"));
  box.replaceChildren(...parts);
}

const NOTHING = "Nothing would change: no readings are there.";

/**
 * @param {Pick<Example, "time" | "new_time" | "new_value">} example
 * @param {string} unit
 * @param {(time: string | null) => string} when
 */
function describeAfter({ time, new_time, new_value }, unit, when) {
  if (new_time == null || new_value == null) return "deleted";
  const value = formatQuantity(new_value, unit);
  return time != null && time !== new_time ? `${value} at ${when(new_time)}` : value;
}

/**
 * Show what a correction has changed, with the button to undo it.
 * @param {HTMLElement} box
 * @param {Correction} correction
 * @param {{undo: (number: number) => void}} handlers
 */
export function showOutcome(box, { id, state, changed, conflicts, problem }, { undo }) {
  if (state === "failed") {
    box.replaceChildren(write("p", `Correction ${id} failed: ${problem || "try again"}`, "note bad"));
    return;
  }
  const note = write("p", "", "note good");
  if (state === "undone") note.append(`Correction ${id} is undone: the readings are as they were before it.`);
  else {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Undo" });
    button.addEventListener("click", () => undo(id));
    const stayed = conflicts ? ` ${countReadings(conflicts, "stayed")}.` : "";
    note.append(write("span", `Correction ${id}: ${countReadings(changed, "changed")}.${stayed}`), button);
  }
  box.replaceChildren(note);
}

/** @param {number} count @param {string} verb */
const countReadings = (count, verb) =>
  `${count === 0 ? "No readings" : count === 1 ? "1 reading" : `${formatQuantity(count)} readings`} ${verb}`;

/** @param {string} tag @param {string} text @param {string} [className] */
const write = (tag, text, className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

/** @param {string} caption @param {string[]} head @param {string[][]} rows */
function makeTable(caption, head, rows) {
  const box = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption);
  const table = document.createElement("table");
  table.createCaption().textContent = caption;
  const headRow = table.createTHead().insertRow();
  for (const text of head) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    headRow.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const text of row) line.insertCell().textContent = text;
  }
  box.append(table);
  return box;
}
