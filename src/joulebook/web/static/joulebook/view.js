// The view of a device's page: a range, metrics and a zone. The address bar always carries it.

import { knowsZone } from "./zone-offsets.js";

/** @type {Record<string, number>} Lengths in seconds of ranges up to now; "all" begins with the first reading. */
export const PRESETS = {
  "10m": 600,
  "1h": 3600,
  "6h": 21_600,
  "24h": 86_400,
  "7d": 604_800,
  "30d": 2_592_000,
  "90d": 7_776_000,
  "1y": 31_536_000,
  all: 0,
};
export const DEFAULT_PRESET = "24h";
const SHORTEST = 5;
const EARLIEST = Date.UTC(1970, 0, 1) / 1000;

/** @typedef {{start: number, end: number}} TimeWindow seconds since 1970 UTC, half-open */
/**
 * @typedef {object} View
 * @property {string | null} preset a name of PRESETS: the range ends now and moves with the clock
 * @property {number | null} start seconds since 1970 UTC; null with a preset
 * @property {number | null} end half-open
 * @property {string[] | null} metrics null: the page's first metrics
 * @property {string} tz IANA name
 */

/**
 * Read a view from an address; a missing or wrong range becomes the last 24 hours.
 * @param {string} search "?range=…"
 * @param {string} tz the zone where the address has none
 * @returns {View}
 */
export function parseView(search, tz) {
  const query = new URLSearchParams(search);
  const zone = query.get("tz");
  const metrics = query.getAll("metric").filter(Boolean);
  const base = { metrics: metrics.length ? metrics : null, tz: zone && knowsZone(zone) ? zone : tz };
  const [start, end] = [query.get("start"), query.get("end")].map((text) =>
    text ? Date.parse(text) / 1000 : NaN,
  );
  if (start < end) return { preset: null, start, end, ...base };
  const range = query.get("range") ?? "";
  return { preset: Object.hasOwn(PRESETS, range) ? range : DEFAULT_PRESET, start: null, end: null, ...base };
}

/**
 * Write a view as the query of an address; the history API takes the same words.
 * @param {View} view
 * @returns {URLSearchParams}
 */
export function makeQuery(view) {
  const query = new URLSearchParams();
  if (view.preset) query.set("range", view.preset);
  else {
    query.set("start", formatIsoInstant(/** @type {number} */ (view.start)));
    query.set("end", formatIsoInstant(/** @type {number} */ (view.end)));
  }
  for (const metric of view.metrics ?? []) query.append("metric", metric);
  query.set("tz", view.tz);
  return query;
}

/**
 * Return the view of another window, at least a few seconds long and not in the future.
 * @param {View} view
 * @param {number} start
 * @param {number} end
 * @param {number} now
 * @returns {View}
 */
export function replaceWindow(view, start, end, now) {
  const span = Math.max(SHORTEST, Math.min(end - start, now - EARLIEST));
  const centre = (start + end) / 2;
  let from = end - start < SHORTEST ? centre - span / 2 : start;
  from = Math.max(EARLIEST, Math.min(from, now - span));
  return { ...view, preset: null, start: floorMillis(from), end: floorMillis(from + span) };
}

/**
 * Return the view one window earlier or later; at the present it becomes the preset of its length.
 * @param {View} view
 * @param {TimeWindow} window shown now
 * @param {-1 | 1} direction
 * @param {number} now
 * @returns {View}
 */
export function stepView(view, window, direction, now) {
  const span = window.end - window.start;
  if (direction > 0 && window.end + span >= now) {
    const preset = Object.keys(PRESETS).find((name) => Math.abs(PRESETS[name] - span) < 1.5);
    if (preset) return { ...view, preset, start: null, end: null };
  }
  return replaceWindow(view, window.start + direction * span, window.end + direction * span, now);
}

/** @param {number} seconds */
function formatIsoInstant(seconds) {
  return new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
}

/** @param {number} seconds */
const floorMillis = (seconds) => Math.floor(seconds * 1000) / 1000;
