// The curve on a metric's page: its last week, zoomed by the same gestures and keys as a device's charts.

import { Board } from "./board.js";
import { fetchHistory, getServerTime, HistoryError } from "./history-client.js";
import { Sheet } from "./sheet.js";
import { makeQuery, replaceWindow } from "./view.js";
import { learnOffsets } from "./zone-offsets.js";

/**
 * @import { MetricInfo } from "./panel.js"
 * @import { View } from "./view.js"
 * @import { Offsets } from "./zone-offsets.js"
 */
/**
 * @typedef {object} PageData
 * @property {string} history address of the device's history
 * @property {string} zone
 * @property {Record<string, Offsets>} offsets by zone
 * @property {MetricInfo} metric
 */

/** @type {PageData} */
const page = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("page-data")).textContent ?? "");
for (const [tz, offsets] of Object.entries(page.offsets)) learnOffsets(tz, offsets);
const getPart = (/** @type {string} */ name) =>
  /** @type {HTMLElement} */ (document.querySelector(`[data-part="${name}"]`));

/** Seconds before and after a suspect. */
const AROUND = 3600;

/** @type {View[]} views before the present one */
const earlier = [];
/** @type {View} */
let view = { preset: "7d", start: null, end: null, metrics: [page.metric.metric], tz: page.zone };
let request = new AbortController();
/** @type {Sheet | null} */
let sheet = null;

const board = new Board(
  {
    host: getPart("panels"),
    template: /** @type {HTMLTemplateElement} */ (getPart("panel-template")),
    announcer: getPart("announce"),
  },
  {
    commit: showWindow,
    back: () => {
      const before = earlier.pop();
      if (before) load(before);
    },
    released: () => sheet && board.show(sheet),
    choose: () => {},
  },
);
board.arrange([page.metric]);

/** @param {number} start @param {number} end */
function showWindow(start, end) {
  earlier.push(view);
  load(replaceWindow(view, start, end, getServerTime()));
}

/** Fetch a view and show it; a newer request aborts the present one. @param {View} wanted */
async function load(wanted) {
  view = wanted;
  request.abort();
  const mine = new AbortController();
  request = mine;
  board.setBusy(true);
  getPart("error").hidden = true;
  getPart("panels").classList.remove("failed");
  try {
    const answer = await fetchHistory(page.history, makeQuery(wanted), mine.signal);
    if (request !== mine) return;
    sheet = new Sheet(wanted, answer, [page.metric]);
    board.show(sheet);
  } catch (error) {
    if (request !== mine || mine.signal.aborted) return;
    if (!(error instanceof HistoryError)) throw error;
    getPart("error").hidden = false;
    getPart("error").textContent = error.message;
    getPart("panels").classList.add("failed");
  } finally {
    if (request === mine) board.setBusy(false);
  }
}

/** A suspect's button shows the hours around it. */
for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-show]"))) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const time = Date.parse(/** @type {string} */ (button.dataset.show)) / 1000;
    showWindow(time - AROUND, time + AROUND);
    getPart("panels").scrollIntoView({ block: "nearest" });
  });
}
load(view);
