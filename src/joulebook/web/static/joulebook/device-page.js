// A device's page: turns what people ask for into views, fetches them, and shows the newest answer.

import { Board } from "./board.js";
import { Controls } from "./controls.js";
import { fetchHistory, HistoryError, serverNow } from "./history-client.js";
import { formatInstant } from "./instant.js";
import { followLive } from "./live.js";
import { canCopy, copy, csvOf, download, pictureOf } from "./save.js";
import { Sheet } from "./sheet.js";
import { renderTable } from "./table.js";
import { DEFAULT_PRESET, parseView, PRESETS, stepped, viewQuery, withWindow } from "./view.js";
import { knowsZone, learnOffsets } from "./zone-offsets.js";

/** @typedef {import("./view.js").View} View */
/** @typedef {import("./panel.js").MetricInfo} MetricInfo */

/** Panels that a device with many metrics begins with. */
const FIRST_METRICS = 8;

const page = JSON.parse(/** @type {HTMLElement} */ (document.getElementById("page-data")).textContent ?? "");
for (const [tz, offsets] of Object.entries(page.offsets)) learnOffsets(tz, offsets);
/** @type {MetricInfo[]} */
const metrics = page.metrics;
const part = (/** @type {string} */ name) =>
  /** @type {HTMLElement} */ (document.querySelector(`[data-part="${name}"]`));

/** @type {Map<string, number[]>} */
const replacements = new Map(metrics.map((info) => [info.metric, info.replacements ?? []]));

/** @type {View} */
let view = readAddress();
/** @type {Sheet | null} */
let sheet = null;
let request = new AbortController();
let stopLive = () => {};

const board = new Board(
  {
    host: part("panels"),
    template: /** @type {HTMLTemplateElement} */ (part("panel-template")),
    announcer: part("announce"),
  },
  { commit: showWindow, back: goBack, released: () => sheet && refresh() },
);
const controls = new Controls(part("controls"), page.zones, {
  preset: (preset) => go({ ...view, preset, start: null, end: null }),
  step: (direction) => go(stepped(view, shownWindow(), direction, serverNow())),
  range: showWindow,
  zone: (tz) => go({ ...view, tz }),
  metrics: (chosen) => go({ ...view, metrics: chosen }),
  live: toggleLive,
});

/** The view in the address bar; metrics that the device does not have are left out. */
function readAddress() {
  const asked = parseView(location.search, page.zone);
  const known = asked.metrics?.filter((metric) => metrics.some((info) => info.metric === metric)) ?? [];
  return { ...asked, metrics: known.length ? known : null };
}

/** Show a view and remember the one before: the browser's back button returns to it. @param {View} next */
function go(next) {
  const depth = (history.state?.depth ?? 0) + 1;
  view = next;
  history.pushState({ depth }, "", `?${viewQuery(view)}`);
  load();
}

/** @param {number} start @param {number} end */
function showWindow(start, end) {
  go(withWindow(view, start, end, serverNow()));
}

function goBack() {
  if (history.state?.depth > 0) history.back();
}

function toggleLive() {
  if (view.preset) return showWindow(shownWindow().start, shownWindow().end);
  const span = shownWindow().end - shownWindow().start;
  const fitting = Object.keys(PRESETS).find((name) => PRESETS[name] >= span - 1.5) ?? DEFAULT_PRESET;
  return go({ ...view, preset: fitting, start: null, end: null });
}

/** @returns {{start: number, end: number}} what the charts show, or will */
function shownWindow() {
  if (view.start != null && view.end != null) return { start: view.start, end: view.end };
  const now = serverNow();
  const span = PRESETS[view.preset ?? DEFAULT_PRESET];
  if (span) return { start: now - span, end: now };
  return sheet ? sheet.window : { start: now - PRESETS["1y"], end: now };
}

/**
 * Fetch the view; an answer that a newer request has overtaken is dropped.
 * @param {{quietly?: boolean}} [options] quietly: the same view again, nobody asked for it
 */
async function load({ quietly = false } = {}) {
  stopLive();
  request.abort();
  const mine = new AbortController();
  request = mine;
  const asked = { ...view, metrics: view.metrics ?? firstMetrics() };
  board.setBusy(!quietly);
  part("error").hidden = true;
  part("panels").classList.remove("failed");
  controls.show(view, view.preset === "all" ? null : shownWindow());
  if (!view.preset) controls.showLive("paused");
  else if (!quietly) controls.showLive("loading");
  if (sheet && view.preset !== "all") board.stretch(shownWindow());
  try {
    const answer = await fetchHistory(page.history, viewQuery(asked), mine.signal);
    if (request === mine) accept(new Sheet(asked, answer, { silence: page.silenceLimit, replacements }));
  } catch (error) {
    if (request === mine && !mine.signal.aborted) refuse(error);
  } finally {
    if (request === mine) board.setBusy(false);
  }
}

/** @returns {string[] | null} null: ask for all that the device has */
function firstMetrics() {
  return metrics.length ? metrics.slice(0, FIRST_METRICS).map((info) => info.metric) : null;
}

/** @param {Sheet} fresh */
function accept(fresh) {
  sheet = fresh;
  for (const metric of fresh.metrics) {
    if (!metrics.some((info) => info.metric === metric))
      metrics.push({ metric, label: metric, unit: fresh.units.get(metric) ?? "", colour: "sky" });
  }
  const shown = fresh.view.metrics ?? fresh.metrics.slice(0, FIRST_METRICS);
  view = { ...view, metrics: shown };
  history.replaceState({ depth: history.state?.depth ?? 0 }, "", `?${viewQuery(view)}`);
  controls.showMetrics(metrics, shown);
  board.arrange(metrics.filter((info) => shown.includes(info.metric)));
  refresh();
  offerLatest();
  if (!view.preset) return;
  stopLive = followLive(fresh, {
    url: page.history,
    ticketUrl: page.liveTicket,
    factorOf: (metric) => metrics.find((info) => info.metric === metric)?.factor ?? 1,
    silenceLimit: page.silenceLimit,
    onChange: () => sheet === fresh && refresh(),
    onState: (state) => controls.showLive(state),
    onRefused: refuse,
    reload: () => load({ quietly: true }),
  });
}

/** Draw the sheet again: it is new, or the live tail has extended it. */
function refresh() {
  const current = /** @type {Sheet} */ (sheet);
  if (board.held) return;
  board.show(current);
  controls.show(view, current.window);
  if (/** @type {HTMLDetailsElement} */ (part("table")).open)
    renderTable(part("table-body"), current, labelOf);
  if (current.newest != null && current.newest > (page.lastTime ?? 0)) {
    page.lastTime = current.newest;
    part("jump").hidden = true;
  }
}

/** @param {unknown} error */
function refuse(error) {
  if (!(error instanceof HistoryError)) throw error;
  stopLive();
  controls.showLive("paused");
  part("error").hidden = false;
  part("panels").classList.add("failed");
  part("error-text").textContent = error.message;
  part("retry").textContent = error.status === 401 ? "Sign in" : "Try again";
  part("retry").onclick =
    error.status === 401
      ? () =>
          location.assign(`${page.signIn}?next=${encodeURIComponent(location.pathname + location.search)}`)
      : () => load();
}

/** A window whose greater part lies after the last reading says where the readings are. */
function offerLatest() {
  const { start, end } = /** @type {Sheet} */ (sheet).window;
  const newest = page.lastTime;
  const offered = newest != null && newest < (start + end) / 2;
  part("jump").hidden = !offered;
  if (!offered) return;
  const empty = newest < start;
  const when = formatInstant(newest, view.tz);
  part("jump-text").textContent = empty
    ? `No readings in this range. The latest is of ${when}.`
    : `The readings end on ${when}.`;
  part("jump-button").onclick = () => showWindow(empty ? newest - (end - start) : start, newest + 1);
}

/** @param {string} metric */
const labelOf = (metric) => metrics.find((info) => info.metric === metric)?.label ?? metric;

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
  document.querySelectorAll("[data-save]")
)) {
  const wish = /** @type {string} */ (button.dataset.save);
  button.hidden = wish.startsWith("copy") && !canCopy();
  button.addEventListener("click", async () => {
    if (!sheet) return;
    const picture = wish.endsWith("png");
    const blob = picture
      ? await pictureOf(document.title, sheet, [...board.panels.values()])
      : new Blob([csvOf(sheet)], { type: "text/plain" });
    if (wish.startsWith("copy")) await copy(blob);
    else download(blob, `${page.device}.${wish}`);
    part("copy-menu").removeAttribute("open");
  });
}
part("table").addEventListener("toggle", () => sheet && renderTable(part("table-body"), sheet, labelOf));
addEventListener("popstate", () => {
  const tz = new URLSearchParams(location.search).get("tz");
  // A zone of an address from before this page was loaded: the server knows it.
  if (tz && !knowsZone(tz)) return location.reload();
  view = readAddress();
  load();
});
history.replaceState({ depth: history.state?.depth ?? 0 }, "", location.search || `?${viewQuery(view)}`);
load();
