// The live tail: fetches only what is new since the sheet was made, and tells how the device is doing.

import { fetchHistory, HistoryError, serverNow } from "./history-client.js";
import { extended, pointsOf, usualDistance } from "./points.js";
import { poll } from "./poll.js";
import { isFixed } from "./resolution.js";
import { viewQuery } from "./view.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {"live" | "silent" | "reconnecting" | "paused"} LiveState */

/** Readings may arrive a little out of order: this much of the tail is fetched again each time. */
const OVERLAP = 15;
const RAW_EVERY = 2;
const LATEST_EVERY = 5;
const SLOWEST_BUCKET = 30;
const REFRESH_AFTER = 300;
const MOST_BUCKETS = 60;
const LEAST_SILENCE = 60;
/** The API gives no fewer and no more points. */
const FEWEST_POINTS = 10;
const MOST_POINTS = 5000;

/**
 * Keep a sheet that ends now up to date.
 * @param {Sheet} sheet
 * @param {object} hooks
 * @param {string} hooks.url the device's history
 * @param {() => void} hooks.onChange the sheet has changed
 * @param {(state: LiveState) => void} hooks.onState
 * @param {(error: HistoryError) => void} hooks.onRefused it makes no sense to go on
 * @param {() => void} hooks.reload the tail cannot be joined to the sheet: fetch all of it
 * @returns {() => void} stops it
 */
export function followLive(sheet, { url, onChange, onState, onRefused, reload }) {
  const made = performance.now();
  let bucketsAt = performance.now();
  const every = sheet.bucket ? Math.min(LATEST_EVERY, Math.max(RAW_EVERY, sheet.bucket)) : RAW_EVERY;

  /** @param {AbortSignal} signal */
  async function task(signal) {
    if (performance.now() - made > REFRESH_AFTER * 1000) return reload();
    let joined = true;
    if (sheet.bucket === 0) joined = await fetchRaw(sheet, url, signal);
    else {
      await fetchLatest(sheet, url, signal);
      const pause = Math.min(SLOWEST_BUCKET, Math.max(RAW_EVERY, sheet.bucket / 10));
      if (performance.now() - bucketsAt >= pause * 1000) {
        bucketsAt = performance.now();
        joined = await fetchBuckets(sheet, url, signal);
      }
    }
    if (signal.aborted) return undefined;
    if (!joined) return reload();
    return onChange();
  }

  const stop = poll({
    task,
    every: () => every,
    atOnce: sheet.bucket > 0,
    onState(state, error) {
      if (error instanceof HistoryError && [401, 403, 404].includes(error.status)) {
        stop();
        onRefused(error);
      } else if (state === "failing") onState("reconnecting");
      else if (state === "paused") onState("paused");
      else onState(isSilent(sheet) ? "silent" : "live");
    },
  });
  onState(isSilent(sheet) ? "silent" : "live");
  return stop;
}

/** @param {Sheet} sheet */
function isSilent(sheet) {
  const newest = sheet.newest;
  if (newest == null) return true;
  const distances = [...sheet.points.values()]
    .map((points) => usualDistance(points, sheet.bucket))
    .filter((distance) => distance > 0);
  const usual = distances.length ? Math.min(...distances) : 0;
  return serverNow() - newest > Math.max(LEAST_SILENCE, 3 * usual);
}

/**
 * Fetch the newest rows and append them. False if they are not single readings any more.
 * @param {Sheet} sheet @param {string} url @param {AbortSignal} signal
 */
async function fetchRaw(sheet, url, signal) {
  const from = Math.max(sheet.window.start, (sheet.newest ?? -Infinity) - OVERLAP);
  const answer = await fetchHistory(url, tailQuery(sheet, from, serverNow() + 1), signal);
  if (answer.resolution !== "raw") return false;
  slide(sheet);
  merge(sheet, answer, from);
  return true;
}

/**
 * Fetch the last buckets at the sheet's own resolution: the ladder gives it for as many points.
 * @param {Sheet} sheet @param {string} url @param {AbortSignal} signal
 */
async function fetchBuckets(sheet, url, signal) {
  const last = Math.max(...[...sheet.points.values()].map((points) => points.time.at(-1) ?? -Infinity));
  if (!isFixed(sheet.resolution) || !Number.isFinite(last)) return false;
  const open = Math.max(1, Math.ceil((serverNow() - last) / sheet.bucket));
  const count = Math.max(FEWEST_POINTS, open + 1);
  if (count > MOST_BUCKETS) return false;
  const end = last + open * sheet.bucket;
  const query = tailQuery(sheet, end - count * sheet.bucket, end);
  query.set("max_points", String(count));
  const answer = await fetchHistory(url, query, signal);
  if (answer.resolution !== sheet.resolution) return false;
  slide(sheet);
  merge(sheet, answer, answer.start);
  return true;
}

/**
 * Fetch the newest reading of each metric, which no mean can tell.
 * @param {Sheet} sheet @param {string} url @param {AbortSignal} signal
 */
async function fetchLatest(sheet, url, signal) {
  const known = Math.max(-Infinity, ...[...sheet.latest.values()].map((reading) => reading.time));
  const from = Math.max(serverNow() - 120, known - OVERLAP);
  const answer = await fetchHistory(url, tailQuery(sheet, from, serverNow() + 1), signal);
  for (const { metric } of answer.series) {
    const points = pointsOf(answer, metric);
    if (points.time.length)
      sheet.latest.set(metric, {
        time: /** @type {number} */ (points.time.at(-1)),
        value: /** @type {number} */ (points.mean.at(-1)),
      });
  }
}

/** @param {Sheet} sheet @param {number} from @param {number} to */
function tailQuery(sheet, from, to) {
  const query = viewQuery({ ...sheet.view, preset: null, start: from, end: to, metrics: sheet.metrics });
  query.set("max_points", String(MOST_POINTS));
  return query;
}

/** Move the window to the present. @param {Sheet} sheet */
function slide(sheet) {
  const now = serverNow();
  const start =
    sheet.view.preset === "all" ? sheet.window.start : sheet.window.start + now - sheet.window.end;
  sheet.window = { start, end: now };
}

/** @param {Sheet} sheet @param {import("./history-client.js").Answer} answer @param {number} from */
function merge(sheet, answer, from) {
  for (const metric of sheet.metrics) {
    const points = extended(
      sheet.pointsOf(metric),
      pointsOf(answer, metric),
      from,
      sheet.window.start - sheet.bucket,
    );
    sheet.points.set(metric, points);
  }
}
