// How each kind of metric is shown: its curve or bars, its figures, its points in words, its table.

import { amount } from "./amount.js";
import { counter } from "./counter.js";
import { gauge } from "./gauge.js";
import { state } from "./state.js";

/**
 * @import uPlot from "../vendor/uPlot.esm.js"
 * @import { Colours, StateStyle } from "./paint.js"
 * @import { Points } from "./points.js"
 * @import { Rises } from "./rises.js"
 * @import { StateWords } from "./words.js"
 * @import { Track } from "./tracks.js"
 * @import { TimeWindow } from "./view.js"
 */

/**
 * Columns of the chart: time, greatest, least, main figure.
 * @typedef {[number[], (number | null)[], (number | null)[], (number | null)[]]} Columns
 */
/** @typedef {{name: string, label: string, text: string, aside?: string}} Figure one of the figures below the chart */
/** @typedef {{text: string, style: StateStyle}} LegendEntry */
/**
 * A column of the table; a plain one is without the metric's unit.
 * @typedef {{name: string, column: (number | string | null)[] | null, plain?: boolean}} TableColumn
 */
/**
 * @typedef {object} Drawing
 * @property {"line" | "step" | "blocks"} shape blocks are painted by `paint`
 * @property {(plot: uPlot, colours: Colours) => void} [paint]
 * @property {[number, number]} [range] of the axis of values; without it the axis follows the values
 * @property {boolean} [zero] the axis includes zero
 * @property {(tick: number) => string} [label] of the axis of values
 * @property {number[]} [ticks] of the axis of values; without them they follow the values
 */
/**
 * One metric's part of a sheet.
 * @typedef {object} MetricData
 * @property {Points} points
 * @property {Track | null} track null where the points are single readings
 * @property {string} unit
 * @property {number} bucket seconds; 0 for single readings
 * @property {TimeWindow} window not beyond the present
 * @property {string} tz
 * @property {number | null} silence the owner's limit in seconds: a longer time without a reading is unknown
 * @property {boolean} coversBefore an amount's interval ends at its reading's time
 * @property {Rises | null} rises of a register's single readings
 * @property {StateWords} words of a state's values
 * @property {boolean} isFlags each value of a state is a list of flags
 * @property {number[]} replacements when other meters took over
 */
/** @typedef {MetricData & {columns: Columns}} PanelData the same, with the columns that its panel draws */
/**
 * @typedef {object} Kind
 * @property {(resolution: string) => string} describePoints the meaning of a point
 * @property {(data: MetricData) => Columns} makeColumns
 * @property {(data: PanelData) => Drawing} makeDrawing
 * @property {(value: number | null | undefined, data: PanelData) => string} formatValue a reading in words
 * @property {(data: PanelData, index: number) => string} describePoint a point in words
 * @property {(data: PanelData) => Figure[]} makeFigures
 * @property {(data: PanelData) => LegendEntry[]} [makeLegend]
 * @property {(data: MetricData) => {time: number[], figures: TableColumn[]}} makeTableColumns
 */

/** @type {Record<string, Kind>} */
const KINDS = { gauge, counter, amount, state };

/** Return the kind of that name; an unknown one is shown as a gauge. @param {string | undefined} name */
export const getKind = (name) => KINDS[name ?? "gauge"] ?? gauge;
