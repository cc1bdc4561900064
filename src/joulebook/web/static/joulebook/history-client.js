// Fetches ranges from the history API, and reads the server's clock from its answers.

import { learnOffsets } from "./zone-offsets.js";

/** @import { Offsets } from "./zone-offsets.js" */

/**
 * A state's share of each bucket's covered time; single readings have its word alone.
 * A flag has no value; a list of flags has them in `flags`.
 * @typedef {{value: number | null, word?: string, colour?: string, flags?: string[], share?: (number | null)[]}} StateShare
 */
/**
 * A stretch with readings that a correction changed, from the first to the last, in seconds since 1970 UTC.
 * @typedef {{id: number, metric: string, start: number, end: number}} Corrected
 */
/**
 * @typedef {object} Series
 * @property {string} metric
 * @property {string} unit
 * @property {string} kind gauge, counter, amount or state
 * @property {(number | null)[]} [value] one reading a point, at resolution "raw"
 * @property {(number | null)[]} [mean]
 * @property {(number | null)[]} [min]
 * @property {(number | null)[]} [max]
 * @property {(number | null)[]} [count]
 * @property {number[]} [coverage] share of the requested time of each bucket
 * @property {number[]} [increase] of a counter
 * @property {number[]} [decrease] of a net register
 * @property {number[]} [unallocated]
 * @property {number[]} [spread]
 * @property {number[]} [resets]
 * @property {number[]} [glitches]
 * @property {(number | null)[]} [sum] of an amount
 * @property {(number | null)[]} [largest]
 * @property {StateShare[]} [states] of a state
 * @property {number[]} [changes]
 */
/**
 * @typedef {object} Answer
 * @property {number} start seconds since 1970 UTC
 * @property {number} end half-open
 * @property {string} tz
 * @property {Offsets} offsets of the zone over the range
 * @property {string} resolution
 * @property {string} source
 * @property {number[]} time
 * @property {Series[]} series
 * @property {Corrected[]} [corrected]
 */
/**
 * The answer as sent: start and end are RFC 3339.
 * @typedef {Omit<Answer, "start" | "end" | "corrected"> & {start: string, end: string,
 *   corrected?: {id: number, metric: string, start: string, end: string}[]}} SentAnswer
 */
/** @typedef {{title?: string, detail?: string}} Problem RFC 9457 */

/** The server refused, or did not answer (status 0); the message is for people. */
export class HistoryError extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let clockOffset = 0;

/** Return the server's time in seconds since 1970 UTC: a wrong clock in the browser must not hide readings. */
export const getServerTime = () => Date.now() / 1000 + clockOffset;

/**
 * Fetch a range, and learn the offsets of its zone from the answer.
 * @param {string} url the device's history
 * @param {URLSearchParams} query
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 * @throws {HistoryError} and the signal's AbortError
 */
export async function fetchHistory(url, query, signal) {
  let response;
  try {
    response = await fetch(`${url}?${query}`, {
      signal,
      headers: { Accept: "application/json" },
      credentials: "same-origin",
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new HistoryError(0, "Joulebook cannot be reached.");
  }
  noteClock(response.headers.get("Date"));
  if (!response.ok) throw await readRefusal(response);
  const answer = /** @type {SentAnswer} */ (await response.json());
  const [start, end] = [answer.start, answer.end].map((instant) => Date.parse(instant) / 1000);
  learnOffsets(answer.tz, answer.offsets, end);
  const corrected = (answer.corrected ?? []).map((each) => ({
    ...each,
    start: Date.parse(each.start) / 1000,
    end: Date.parse(each.end) / 1000,
  }));
  return { ...answer, start, end, corrected };
}

/** Make an error of an answer. @param {Response} response */
async function readRefusal(response) {
  if (response.status === 401) return new HistoryError(401, "You are no longer signed in.");
  if (response.status === 403 || response.status === 404)
    return new HistoryError(response.status, "This device is not, or no longer, yours to see.");
  if (response.status >= 500)
    return new HistoryError(response.status, "The readings cannot be read at the moment.");
  const problem = /** @type {Problem} */ (await response.json().catch(() => ({})));
  return new HistoryError(
    response.status,
    problem.detail || problem.title || "The range could not be understood.",
  );
}

/** Compare the browser's clock to an answer's Date. @param {string | null} header */
function noteClock(header) {
  const stated = header ? Date.parse(header) / 1000 : NaN;
  // The header has whole seconds; a difference within them says nothing.
  if (!Number.isNaN(stated))
    clockOffset = Math.abs(stated - Date.now() / 1000) > 2 ? stated - Date.now() / 1000 : 0;
}
