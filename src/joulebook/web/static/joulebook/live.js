// Keeps a sheet up to date while its range ends now, and reports whether the device is live or silent.

import { getServerTime, HistoryError } from "./history-client.js";
import { estimateDistance } from "./points.js";
import { poll } from "./poll.js";
import { hasFixedLength } from "./resolution.js";
import { listen } from "./stream.js";
import { makeTail } from "./tail.js";

/**
 * @import { Sheet } from "./sheet.js"
 * @import { FeedReadings, Readings } from "./stream.js"
 */
/** @typedef {"live" | "silent" | "reconnecting" | "paused"} LiveState */

/** Late readings from before the tail appear after so many seconds at most. */
const REFRESH_AFTER = 300;
const REFRESH_CALENDAR_AFTER = 900;
/** While the live feed is open, the tail is fetched only every so many seconds, for readings out of order. */
const FETCH_AFTER = 8;
/** In seconds; the list of devices has the same. */
const LEAST_SILENCE = 300;

/**
 * Follow the present.
 * @param {Sheet} sheet
 * @param {object} hooks
 * @param {string} hooks.url the device's history
 * @param {string} hooks.ticketUrl issues tickets of the live feed
 * @param {(metric: string) => number} hooks.getFactor from a metric's stored values to shown ones
 * @param {number | null} hooks.silenceLimit the owner's limit in seconds; after it the device is silent
 * @param {() => void} hooks.onChange the sheet has changed
 * @param {(state: LiveState) => void} hooks.onState
 * @param {(error: HistoryError) => void} hooks.onRefused the account may not read on; following has stopped
 * @param {() => void} hooks.reload fetches the sheet again
 * @returns {() => void} a function to stop it
 */
export function followLive(sheet, hooks) {
  const { url, ticketUrl, getFactor, silenceLimit, onChange, onState, onRefused, reload } = hooks;
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
      if (listening && performance.now() - fetchedAt < FETCH_AFTER * 1000 && tail.advance()) return onChange();
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
      tail.add(scaleReadings(readings, sheet, getFactor));
      onChange();
      onState(decideState(sheet, silenceLimit));
    },
    onState(open) {
      listening = open;
      // The next fetch finds the readings committed between the last fetch and the feed's start.
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
 * Scale the feed's readings: it sends stored values and texts, history sends shown values.
 * @param {FeedReadings} readings
 * @param {Sheet} sheet
 * @param {(metric: string) => number} getFactor
 * @returns {Readings}
 */
function scaleReadings(readings, sheet, getFactor) {
  return Object.fromEntries(
    Object.entries(readings).map(([metric, pairs]) => [
      metric,
      pairs.map(([time, value]) => [
        time,
        typeof value === "string" ? sheet.findValue(metric, value) : value * getFactor(metric),
      ]),
    ]),
  );
}

/**
 * Decide whether the device is live or silent.
 * @param {Sheet} sheet @param {number | null} silenceLimit @returns {LiveState}
 */
function decideState(sheet, silenceLimit) {
  if (sheet.newest == null) return "silent";
  const distances = [...sheet.points.values()].map((points) => estimateDistance(points, sheet.bucket));
  const usual = Math.min(...distances.filter((distance) => distance > 0), Infinity);
  // Until the newest reading itself is known, its bucket's start stands for it.
  const slack = sheet.latest.size ? 0 : 2 * sheet.bucket;
  const allowed = silenceLimit ?? Math.max(LEAST_SILENCE, Number.isFinite(usual) ? 3 * usual : 0);
  return getServerTime() - sheet.newest > allowed + slack ? "silent" : "live";
}
