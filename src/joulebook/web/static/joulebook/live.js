// Keeps a sheet that ends now up to date, and tells how the device is doing.

import { HistoryError, getServerTime } from "./history-client.js";
import { estimateDistance } from "./points.js";
import { poll } from "./poll.js";
import { hasFixedLength } from "./resolution.js";
import { LEAST_SILENCE } from "./sheet.js";
import { listen } from "./stream.js";
import { makeTail } from "./tail.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {"live" | "silent" | "reconnecting" | "paused"} LiveState */

/** Readings that arrive late, from before the tail, are seen after so many seconds at most. */
const REFRESH_AFTER = 300;
const REFRESH_CALENDAR_AFTER = 900;
/** While readings come by themselves, the tail is fetched only so often, for those out of order. */
const FETCH_AFTER = 8;

/**
 * Follow the present.
 * @param {Sheet} sheet
 * @param {object} hooks
 * @param {string} hooks.url the device's history
 * @param {string} hooks.ticketUrl where to ask for the live feed
 * @param {(metric: string) => number} hooks.factorOf what a metric's stored values are multiplied by
 * @param {number | null} hooks.silenceLimit seconds after which the owner calls the device silent
 * @param {() => void} hooks.onChange the sheet has changed
 * @param {(state: LiveState) => void} hooks.onState
 * @param {(error: HistoryError) => void} hooks.onRefused it makes no sense to go on
 * @param {() => void} hooks.reload the sheet has to be fetched anew
 * @returns {() => void} stops it
 */
export function followLive(sheet, hooks) {
  const { url, ticketUrl, factorOf, silenceLimit, onChange, onState, onRefused, reload } = hooks;
  const made = performance.now();
  const tail = makeTail(sheet, url);
  const refreshAfter = hasFixedLength(sheet.resolution)
    ? Math.max(REFRESH_AFTER, sheet.bucket)
    : REFRESH_CALENDAR_AFTER;

  let listening = false;
  let fetchedAt = -Infinity;

  const stopPolling = poll({
    every: () => tail.every,
    atOnce: sheet.bucket > 0,
    async task(signal) {
      if (listening && performance.now() - fetchedAt < FETCH_AFTER * 1000 && tail.rest()) return onChange();
      const joined = performance.now() - made < refreshAfter * 1000 && (await tail.fetch(signal));
      if (signal.aborted) return;
      fetchedAt = performance.now();
      if (joined) onChange();
      else reload();
    },
    onState(state, error) {
      if (error instanceof HistoryError && [401, 403, 404].includes(error.status)) {
        stop();
        onRefused(error);
      } else if (state === "failing") onState("reconnecting");
      else onState(state === "paused" ? "paused" : decideState(sheet, silenceLimit));
    },
  });
  const stopListening = listen({
    ticketUrl,
    onReadings(readings) {
      tail.add(scaleReadings(readings, factorOf));
      onChange();
      onState(decideState(sheet, silenceLimit));
    },
    onState(open) {
      listening = open;
      // What was committed between the last fetch and the first look of the feed is fetched.
      if (open) fetchedAt = -Infinity;
    },
  });
  function stop() {
    stopPolling();
    stopListening();
  }
  if (!document.hidden) onState(decideState(sheet, silenceLimit));
  return stop;
}

/**
 * Readings as the feed tells them are as stored; history's answers are as shown.
 * @param {import("./stream.js").Readings} readings
 * @param {(metric: string) => number} factorOf
 * @returns {import("./stream.js").Readings}
 */
function scaleReadings(readings, factorOf) {
  return Object.fromEntries(
    Object.entries(readings).map(([metric, pairs]) => [
      metric,
      pairs.map(([time, value]) => [time, value * factorOf(metric)]),
    ]),
  );
}

/** @param {Sheet} sheet @param {number | null} silenceLimit @returns {LiveState} */
function decideState(sheet, silenceLimit) {
  if (sheet.newest == null) return "silent";
  const distances = [...sheet.points.values()].map((points) => estimateDistance(points, sheet.bucket));
  const usual = Math.min(...distances.filter((distance) => distance > 0), Infinity);
  // Before the newest reading itself is known, its bucket's start has to do.
  const slack = sheet.latest.size ? 0 : 2 * sheet.bucket;
  const allowed = silenceLimit ?? Math.max(LEAST_SILENCE, Number.isFinite(usual) ? 3 * usual : 0);
  return getServerTime() - sheet.newest > allowed + slack ? "silent" : "live";
}
