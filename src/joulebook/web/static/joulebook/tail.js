// Extends a sheet up to now: by new rows of single readings, or by its last buckets.

import { fetchHistory, getServerTime } from "./history-client.js";
import { extendPoints, extractPoints, insertReadings } from "./points.js";
import { hasFixedLength } from "./resolution.js";
import { extendRises, extractRises } from "./rises.js";
import { extendTrack, extractTrack } from "./tracks.js";
import { makeQuery } from "./view.js";
import { extractWords } from "./words.js";

/**
 * @import { Answer } from "./history-client.js"
 * @import { Sheet } from "./sheet.js"
 * @import { Readings } from "./stream.js"
 */
/**
 * @typedef {object} Tail
 * @property {number} every seconds between two fetches
 * @property {(signal: AbortSignal) => Promise<boolean>} fetch extends the sheet; false if the whole sheet has
 *   to be fetched again
 * @property {(readings: Readings) => void} add adds readings of the live feed
 * @property {() => boolean} advance moves the window without a fetch; false if the tail needs a fetch
 */

/** Readings may arrive out of order: each fetch begins so many seconds before the newest. */
const OVERLAP = 15;
const RAW_EVERY = 2;
const LATEST_EVERY = 5;
const LATEST_REACH = 86_400;
const SLOWEST_BUCKET = 30;
const MOST_BUCKETS = 60;
/** The API's bounds of max_points. */
const FEWEST_POINTS = 10;
const MOST_POINTS = 5000;

/**
 * Make the tail for a sheet of single readings or of buckets.
 * @param {Sheet} sheet
 * @param {string} url the device's history
 * @returns {Tail}
 */
export function makeTail(sheet, url) {
  return sheet.bucket === 0 ? makeRawTail(sheet, url) : makeBucketTail(sheet, url);
}

/** @param {Sheet} sheet @param {string} url @returns {Tail} */
function makeRawTail(sheet, url) {
  return {
    every: RAW_EVERY,
    async fetch(signal) {
      const from = Math.max(sheet.window.start, (sheet.newest ?? -Infinity) - OVERLAP);
      const query = makeTailQuery(sheet, from, getServerTime() + 1, MOST_POINTS);
      const answer = await fetchHistory(url, query, signal);
      // After a long pause of the page the tail may have too many readings to be fetched one by one.
      if (answer.resolution !== "raw") return false;
      slide(sheet);
      merge(sheet, answer, from);
      return true;
    },
    add(readings) {
      slide(sheet);
      for (const metric of sheet.metrics) {
        if (!readings[metric]) continue;
        const points = insertReadings(sheet.getPoints(metric), readings[metric], sheet.window.start);
        sheet.points.set(metric, points);
      }
    },
    advance() {
      slide(sheet);
      return true;
    },
  };
}

/** @param {Sheet} sheet @param {string} url @returns {Tail} */
function makeBucketTail(sheet, url) {
  const pause = Math.min(SLOWEST_BUCKET, Math.max(RAW_EVERY, sheet.bucket / 10));
  const made = performance.now();
  let mergedAt = made;
  let merged = sheet.newest;
  return {
    every: Math.min(LATEST_EVERY, Math.max(RAW_EVERY, sheet.bucket)),
    async fetch(signal) {
      await fetchLatest(sheet, url, signal);
      if (!hasFixedLength(sheet.resolution) || performance.now() - mergedAt < pause * 1000) return true;
      mergedAt = performance.now();
      slide(sheet);
      if (sheet.newest === merged) return true;
      if (await fetchBuckets(sheet, url, signal)) {
        merged = sheet.newest;
        return true;
      }
      // The API gives the sheet's resolution for the whole range only: fetch it no more often than buckets fill.
      return performance.now() - made < Math.max(SLOWEST_BUCKET, sheet.bucket / 2) * 1000;
    },
    add(readings) {
      for (const [metric, pairs] of Object.entries(readings)) {
        const [time, value] = pairs[pairs.length - 1];
        if (time >= (sheet.latest.get(metric)?.time ?? -Infinity)) sheet.latest.set(metric, { time, value });
      }
    },
    // Only the server can compute means.
    advance: () => false,
  };
}

/**
 * Fetch the last buckets, as many as the API gives at the sheet's own resolution.
 * @param {Sheet} sheet @param {string} url @param {AbortSignal} signal
 */
async function fetchBuckets(sheet, url, signal) {
  const last = Math.max(...[...sheet.points.values()].map((points) => points.time.at(-1) ?? -Infinity));
  if (!Number.isFinite(last)) return false;
  const open = Math.max(1, Math.ceil((getServerTime() - last) / sheet.bucket));
  const count = Math.max(FEWEST_POINTS, open + 1);
  if (count > MOST_BUCKETS) return false;
  const end = last + open * sheet.bucket;
  // Coverage is a share of the requested time, so the requested time must not reach into the future.
  const query = makeTailQuery(sheet, end - count * sheet.bucket, Math.min(end, getServerTime()), count);
  const answer = await fetchHistory(url, query, signal);
  if (answer.resolution !== sheet.resolution) return false;
  merge(sheet, answer, answer.start);
  return true;
}

/**
 * Fetch the newest reading of each metric; means do not have it.
 * @param {Sheet} sheet @param {string} url @param {AbortSignal} signal
 */
async function fetchLatest(sheet, url, signal) {
  const now = getServerTime();
  const from = Math.max(now - LATEST_REACH, (sheet.newest ?? now) - OVERLAP);
  const answer = await fetchHistory(url, makeTailQuery(sheet, from, now + 1), signal);
  for (const series of answer.series) {
    const { metric } = series;
    extractWords(series).forEach((word, value) => sheet.words.get(metric)?.set(value, word));
    const points = extractPoints(answer, metric);
    const [time, value] = [points.time.at(-1), points.mean.at(-1)];
    if (time != null && value != null) sheet.latest.set(metric, { time, value });
  }
}

/** @param {Sheet} sheet @param {number} from @param {number} to @param {number} [maxPoints] */
function makeTailQuery(sheet, from, to, maxPoints = 750) {
  const query = makeQuery({ ...sheet.view, preset: null, start: from, end: to, metrics: sheet.metrics });
  query.set("max_points", String(maxPoints));
  return query;
}

/** Move the window to the present. @param {Sheet} sheet */
function slide(sheet) {
  const now = getServerTime();
  const whole = sheet.view.preset === "all";
  sheet.window = { start: sheet.window.start + (whole ? 0 : now - sheet.window.end), end: now };
}

/**
 * Merge an answer into the sheet from an instant on.
 * @param {Sheet} sheet @param {Answer} answer @param {number} from
 */
function merge(sheet, answer, from) {
  const oldest = sheet.window.start - sheet.bucket;
  for (const metric of sheet.metrics) {
    sheet.points.set(metric, extendPoints(sheet.getPoints(metric), extractPoints(answer, metric), from, oldest));
    const [track, newer] = [sheet.tracks.get(metric), extractTrack(answer, metric)];
    if (track && newer) sheet.tracks.set(metric, extendTrack(track, newer, from, oldest));
    const [rises, newerRises] = [sheet.rises.get(metric), extractRises(answer, metric)];
    if (rises && newerRises) extendRises(rises, newerRises, oldest);
  }
  for (const series of answer.series)
    extractWords(series).forEach((word, value) => sheet.words.get(series.metric)?.set(value, word));
}
