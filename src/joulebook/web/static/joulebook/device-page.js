// A device's page: fetches the view in the address bar and shows the newest answer.

import { Board } from "./board.js";
import { Controls } from "./controls.js";
import { CorrectionForm } from "./correction-form.js";
import { fetchHistory, getServerTime, HistoryError } from "./history-client.js";
import { formatInstant } from "./instant.js";
import { followLive } from "./live.js";
import { canCopy, copy, download, drawPicture, formatCsv } from "./save.js";
import { Sheet } from "./sheet.js";
import { renderTable } from "./table.js";
import { DEFAULT_PRESET, makeQuery, parseView, PRESETS, replaceWindow, stepView } from "./view.js";
import { knowsZone, learnOffsets } from "./zone-offsets.js";

/**
 * @import { MetricInfo } from "./panel.js"
 * @import { TimeWindow, View } from "./view.js"
 * @import { Offsets } from "./zone-offsets.js"
 */

/**
 * The page's data from the server.
 * @typedef {object} PageData
 * @property {string} device its id
 * @property {string} history address of its history
 * @property {string} liveTicket address for tickets of its live feed
 * @property {string} signIn address of the sign-in page
 * @property {string} zone the device's own
 * @property {string[]} zones offered by the page
 * @property {Record<string, Offsets>} offsets by zone
 * @property {number | null} lastTime time of the newest reading
 * @property {number | null} silenceLimit the owner's limit in seconds; after it the device is silent
 * @property {MetricInfo[]} metrics
 * @property {string} correctionsPage address of the list of corrections
 * @property {string} corrections address of the API of corrections; empty: the account may not correct readings
 */

/** Panels of a device with many metrics at first. */
const FIRST_METRICS = 8;

/** @type {PageData} */
const page = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("page-data")).textContent ?? "");
const { metrics } = page;
for (const [tz, offsets] of Object.entries(page.offsets)) learnOffsets(tz, offsets);
const getPart = (/** @type {string} */ name) =>
  /** @type {HTMLElement} */ (document.querySelector(`[data-part="${name}"]`));

/** @type {View} */
let view = readAddress();
/** @type {Sheet | null} */
let sheet = null;
let request = new AbortController();
let stopLive = () => {};

const board = new Board(
  {
    host: getPart("panels"),
    template: /** @type {HTMLTemplateElement} */ (getPart("panel-template")),
    announcer: getPart("announce"),
  },
  {
    commit: showWindow,
    back: goBack,
    released: () => sheet && refresh(),
    choose: (choice) => correction?.choose(choice),
  },
);
const correction = makeCorrectionForm();
const controls = new Controls(getPart("controls"), page.zones, {
  preset: (preset) => showView({ ...view, preset, start: null, end: null }),
  step: (direction) => showView(stepView(view, getShownWindow(), direction, getServerTime())),
  range: showWindow,
  zone: (tz) => showView({ ...view, tz }),
  metrics: (chosen) => showView({ ...view, metrics: chosen }),
  live: toggleLive,
});

/** @param {string} metric */
function getLabel(metric) {
  return metrics.find((info) => info.metric === metric)?.label ?? metric;
}

/** Make the form of corrections; null where the account may not correct readings. */
function makeCorrectionForm() {
  const root = document.querySelector('[data-part="correction"]');
  if (!page.corrections || !root) return null;
  const form = new CorrectionForm(
    /** @type {HTMLElement} */ (root),
    { device: page.device, url: page.corrections, metrics },
    {
      getZone: () => view.tz,
      getLabel,
      getUnit: (metric) => sheet?.units.get(metric) ?? "",
      shade: (choice) => board.showChosen(choice),
      closed: () => board.stopChoosing(),
      changed: () => {
        load({ quietly: true });
        listCorrections();
      },
    },
  );
  getPart("panels").addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest('[data-part="correct"]');
    const panel = button && [...board.panels.values()].find(({ root: each }) => each.contains(button));
    if (!panel) return;
    board.startChoosing();
    form.open(panel);
  });
  return form;
}

/** Fetch the list of corrections again; without an answer the list stays. */
async function listCorrections() {
  const answer = await fetch(page.correctionsPage, { credentials: "same-origin" }).catch(() => null);
  if (!answer?.ok) return;
  const list = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".corrections");
  if (!list) return;
  getPart("corrections").hidden = false;
  getPart("corrections").querySelector(".corrections")?.replaceWith(list);
}

/** Read the view in the address bar, without metrics unknown to the device. */
function readAddress() {
  const requested = parseView(location.search, page.zone);
  const known = requested.metrics?.filter((metric) => metrics.some((info) => info.metric === metric)) ?? [];
  return { ...requested, metrics: known.length ? known : null };
}

/** Show a view; the browser's back button returns to the one before. @param {View} next */
function showView(next) {
  const depth = (history.state?.depth ?? 0) + 1;
  view = next;
  history.pushState({ depth }, "", `?${makeQuery(view)}`);
  load();
}

/** @param {number} start @param {number} end */
function showWindow(start, end) {
  showView(replaceWindow(view, start, end, getServerTime()));
}

function goBack() {
  if (history.state?.depth > 0) history.back();
}

function toggleLive() {
  if (view.preset) return showWindow(getShownWindow().start, getShownWindow().end);
  const span = getShownWindow().end - getShownWindow().start;
  const fitting = Object.keys(PRESETS).find((name) => PRESETS[name] >= span - 1.5) ?? DEFAULT_PRESET;
  return showView({ ...view, preset: fitting, start: null, end: null });
}

/** @returns {TimeWindow} the charts' window, or the window of the view on its way */
function getShownWindow() {
  if (view.start != null && view.end != null) return { start: view.start, end: view.end };
  const now = getServerTime();
  const span = PRESETS[view.preset ?? DEFAULT_PRESET];
  if (span) return { start: now - span, end: now };
  return sheet ? sheet.window : { start: now - PRESETS["1y"], end: now };
}

/**
 * Fetch the view. A newer request aborts the present one, and its answer is dropped.
 * @param {{quietly?: boolean}} [options] quietly: the page itself fetches the same view again
 */
async function load({ quietly = false } = {}) {
  stopLive();
  request.abort();
  const mine = new AbortController();
  request = mine;
  const requested = { ...view, metrics: view.metrics ?? chooseFirstMetrics() };
  board.setBusy(!quietly);
  getPart("error").hidden = true;
  getPart("panels").classList.remove("failed");
  controls.show(view, view.preset === "all" ? null : getShownWindow());
  if (!view.preset) controls.showLive("paused");
  else if (!quietly) controls.showLive("loading");
  if (sheet && view.preset !== "all") board.stretch(getShownWindow());
  try {
    const answer = await fetchHistory(page.history, makeQuery(requested), mine.signal);
    if (request === mine) accept(new Sheet(requested, answer, metrics));
  } catch (error) {
    if (request === mine && !mine.signal.aborted) showRefusal(error);
  } finally {
    if (request === mine) board.setBusy(false);
  }
}

/** @returns {string[] | null} null: request all metrics of the device */
function chooseFirstMetrics() {
  return metrics.length ? metrics.slice(0, FIRST_METRICS).map((info) => info.metric) : null;
}

/** Show a sheet just fetched. @param {Sheet} fresh */
function accept(fresh) {
  sheet = fresh;
  for (const metric of fresh.metrics) {
    if (!metrics.some((info) => info.metric === metric))
      metrics.push({ metric, label: metric, unit: fresh.units.get(metric) ?? "", colour: "sky" });
  }
  const shown = fresh.view.metrics ?? fresh.metrics.slice(0, FIRST_METRICS);
  view = { ...view, metrics: shown };
  history.replaceState({ depth: history.state?.depth ?? 0 }, "", `?${makeQuery(view)}`);
  controls.showMetrics(metrics, shown);
  board.arrange(metrics.filter((info) => shown.includes(info.metric)));
  refresh();
  offerLatest();
  if (!view.preset) return;
  stopLive = followLive(fresh, {
    url: page.history,
    ticketUrl: page.liveTicket,
    getFactor: (metric) => metrics.find((info) => info.metric === metric)?.factor ?? 1,
    silenceLimit: page.silenceLimit,
    onChange: () => sheet === fresh && refresh(),
    onState: (state) => controls.showLive(state),
    onRefused: showRefusal,
    reload: () => load({ quietly: true }),
  });
}

/** Draw the sheet again after a fetch or after the live tail extended it. */
function refresh() {
  const current = /** @type {Sheet} */ (sheet);
  if (board.held) return;
  board.show(current);
  controls.show(view, current.window);
  if (/** @type {HTMLDetailsElement} */ (getPart("table")).open)
    renderTable(getPart("table-body"), current, getLabel);
  if (current.newest != null && current.newest > (page.lastTime ?? 0)) {
    page.lastTime = current.newest;
    getPart("jump").hidden = true;
  }
}

/** Show the server's refusal; rethrow other errors. @param {unknown} error */
function showRefusal(error) {
  if (!(error instanceof HistoryError)) throw error;
  stopLive();
  controls.showLive("paused");
  getPart("error").hidden = false;
  getPart("panels").classList.add("failed");
  getPart("error-text").textContent = error.message;
  getPart("retry").textContent = error.status === 401 ? "Sign in" : "Try again";
  getPart("retry").onclick =
    error.status === 401
      ? () =>
          location.assign(`${page.signIn}?next=${encodeURIComponent(location.pathname + location.search)}`)
      : () => load();
}

/** Offer the latest readings where the greater part of the window lies after them. */
function offerLatest() {
  const { start, end } = /** @type {Sheet} */ (sheet).window;
  const newest = page.lastTime;
  const offered = newest != null && newest < (start + end) / 2;
  getPart("jump").hidden = !offered;
  if (!offered) return;
  const empty = newest < start;
  const when = formatInstant(newest, view.tz);
  getPart("jump-text").textContent = empty
    ? `No readings in this range. The latest is of ${when}.`
    : `The readings end on ${when}.`;
  getPart("jump-button").onclick = () => showWindow(empty ? newest - (end - start) : start, newest + 1);
}

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
  document.querySelectorAll("[data-save]")
)) {
  const wish = /** @type {string} */ (button.dataset.save);
  button.hidden = wish.startsWith("copy") && !canCopy();
  button.addEventListener("click", async () => {
    if (!sheet) return;
    const picture = wish.endsWith("png");
    const blob = picture
      ? await drawPicture(document.title, sheet, [...board.panels.values()])
      : new Blob([formatCsv(sheet)], { type: "text/plain" });
    if (wish.startsWith("copy")) await copy(blob);
    else download(blob, `${page.device}.${wish}`);
    getPart("copy-menu").removeAttribute("open");
  });
}
getPart("table").addEventListener("toggle", () => sheet && renderTable(getPart("table-body"), sheet, getLabel));
addEventListener("popstate", () => {
  const tz = new URLSearchParams(location.search).get("tz");
  // The address is older than this page and its zone is not loaded: the server sends it.
  if (tz && !knowsZone(tz)) return location.reload();
  view = readAddress();
  load();
});
history.replaceState({ depth: history.state?.depth ?? 0 }, "", location.search || `?${makeQuery(view)}`);
load();
