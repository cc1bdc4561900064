// How each kind of metric is shown: what is drawn of it, what is said of it, and its rows in the table.

import { counter } from "./counter.js";
import { gauge } from "./gauge.js";
import { state } from "./state.js";

/** @typedef {[number[], (number | null)[], (number | null)[], (number | null)[]]} Columns time, greatest, least, main figure */
/** @typedef {{name: string, label: string, text: string, aside?: string}} Figure one of those below the chart */
/** @typedef {import("./paint.js").Colours} Colours */
/**
 * @typedef {object} Drawing
 * @property {"line" | "step" | "blocks"} shape blocks are painted by `paint`
 * @property {(plot: import("../vendor/uPlot.esm.js").default, colours: Colours) => void} [paint]
 * @property {[number, number]} [range] of the axis of values; otherwise it follows the values
 * @property {boolean} [zero] the axis has to hold zero
 * @property {(tick: number) => string} [label] of the axis of values
 */
/**
 * One metric as a panel shows it.
 * @typedef {object} Shown
 * @property {import("./points.js").Points} points
 * @property {import("./tracks.js").Track | null} track null where the points are single readings
 * @property {Columns} columns
 * @property {string} unit
 * @property {number} bucket seconds; 0 for single readings
 * @property {{start: number, end: number}} window not beyond the present
 * @property {string} tz
 * @property {number} silence seconds for which a register or a state is taken to have stayed as it was
 * @property {number[]} replacements when other meters took over
 */
/**
 * @typedef {object} Kind
 * @property {(resolution: string) => string} words what a point is
 * @property {(shown: Omit<Shown, "columns">) => Columns} columns
 * @property {(shown: Shown) => Drawing} drawing
 * @property {(value: number | null | undefined, shown: Shown) => string} value a reading in words
 * @property {(shown: Shown, index: number) => string} describe a point in words
 * @property {(shown: Shown) => Figure[]} figures
 * @property {(shown: Shown) => {text: string, style: import("./paint.js").StateStyle}[]} [legend]
 * @property {(shown: Omit<Shown, "columns">) => {time: number[], figures: {name: string, column: (number | null)[] | null, plain?: boolean}[]}} table plain: without the metric's unit
 */

/** @type {Record<string, Kind>} */
const KINDS = { gauge, counter, state };

/** @param {string | undefined} name */
export const kindNamed = (name) => KINDS[name ?? "gauge"] ?? gauge;
