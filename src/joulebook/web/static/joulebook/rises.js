// What a register rose between single readings: computed by the server, by the time of the later reading.

/** @import { Answer } from "./history-client.js" */
/** @typedef {{flow: number, back?: number, lost?: number, resets?: number, glitches?: number}} Rise see `Bar` */
/** @typedef {Map<number, Rise>} Rises by the time of a reading, in seconds since 1970 UTC */

/**
 * Extract a register's rises from an answer; null for buckets and for other kinds.
 * @param {Answer} answer
 * @param {string} metric
 * @returns {Rises | null}
 */
export function extractRises(answer, metric) {
  const series = answer.series.find((candidate) => candidate.metric === metric);
  if (!series?.value || !series.increase) return null;
  const { value, increase, decrease, unallocated, resets, glitches } = series;
  /** @type {Rises} */
  const found = new Map();
  answer.time.forEach((time, index) => {
    if (value[index] == null) return;
    found.set(time, {
      flow: increase[index] ?? 0,
      back: decrease?.[index] ?? 0,
      lost: unallocated?.[index] ?? 0,
      resets: resets?.[index] ?? 0,
      glitches: glitches?.[index] ?? 0,
    });
  });
  return found;
}

/**
 * Add newer rises, and drop those before `oldest`.
 * @param {Rises} rises
 * @param {Rises} newer
 * @param {number} oldest
 */
export function extendRises(rises, newer, oldest) {
  for (const time of rises.keys()) if (time < oldest) rises.delete(time);
  newer.forEach((rise, time) => rises.set(time, rise));
}
