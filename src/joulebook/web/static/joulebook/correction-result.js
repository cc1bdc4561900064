// What a correction would change, and what it has changed, in words and tables.

import { formatInstant } from "./instant.js";
import { formatQuantity, NO_VALUE } from "./quantity.js";

/** @import { FormHandlers } from "./correction-form.js" */
/** @typedef {{metric: string, time: string, before: number | null, after: number | null, moved_to?: string | null}} Example */
/** @typedef {{metric: string, unit: string, day: string, before: number, after: number}} DayChange */
/**
 * @typedef {object} Preview
 * @property {number} changed readings
 * @property {number} [conflicts] readings that cannot be moved, because others are there
 * @property {Example[]} examples
 * @property {DayChange[]} days the days with another energy
 */
/**
 * @typedef {object} Correction
 * @property {number} number
 * @property {string} state
 * @property {string} kind
 * @property {number} changed
 * @property {string} [problem]
 */

/**
 * Show what a correction would change.
 * @param {HTMLElement} box
 * @param {Preview} preview
 * @param {Pick<FormHandlers, "getZone" | "getLabel" | "getUnit">} names
 */
export function showPreview(box, preview, { getZone, getLabel, getUnit }) {
  const { changed, conflicts = 0, examples, days } = preview;
  /** @type {HTMLElement[]} */
  const parts = [write("p", countReadings(changed, "would change"), changed ? "" : "note")];
  if (conflicts) parts.push(write("p", `${countReadings(conflicts, "cannot be moved")}: other readings are there.`, "note"));
  if (examples.length)
    parts.push(
      makeTable(
        examples.length < changed ? `The first ${examples.length} readings` : "The readings",
        ["Time", "Metric", "Before", "After"],
        examples.map(({ metric, time, before, after, moved_to }) => {
          const unit = getUnit(metric);
          const moved = moved_to ? ` at ${formatInstant(Date.parse(moved_to) / 1000, getZone())}` : "";
          return [
            formatInstant(Date.parse(time) / 1000, getZone()),
            getLabel(metric),
            before == null ? NO_VALUE : formatQuantity(before, unit),
            after == null ? "deleted" : formatQuantity(after, unit) + moved,
          ];
        }),
      ),
    );
  if (days.length)
    parts.push(
      makeTable(
        "Energy of the days",
        ["Day", "Metric", "Before", "After"],
        days.map(({ day, metric, unit, before, after }) => [
          day,
          getLabel(metric),
          formatQuantity(before, unit),
          formatQuantity(after, unit),
        ]),
      ),
    );
  box.replaceChildren(...parts);
}

/**
 * Show what a correction has changed, with the button to undo it.
 * @param {HTMLElement} box
 * @param {Correction} correction
 * @param {{undo: (number: number) => void}} handlers
 */
export function showOutcome(box, { number, state, changed, problem }, { undo }) {
  if (state === "failed") {
    box.replaceChildren(write("p", `Correction ${number} failed: ${problem || "nothing has changed"}.`, "note bad"));
    return;
  }
  const note = write("p", "", "note good");
  if (state === "undone") note.append(`Correction ${number} is undone: the readings are as they were.`);
  else {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Undo" });
    button.addEventListener("click", () => undo(number));
    note.append(write("span", `Correction ${number}: ${countReadings(changed, "changed")}.`), button);
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
