// Talks to the API of corrections: previews, creates, follows and undoes them.

/**
 * @typedef {object} CorrectionOrder
 * @property {string} device
 * @property {string[]} metrics
 * @property {string} kind delete, set, scale, shift or fill
 * @property {string} [start] RFC 3339
 * @property {string} [end] half-open
 * @property {string[]} [times] single instants in place of a range
 * @property {number} [value]
 * @property {number} [factor]
 * @property {number} [offset]
 * @property {number} [seconds] of a shift
 * @property {number} [step] seconds between filled readings
 * @property {string} reason
 */
/** @typedef {{title?: string, detail?: string}} Problem RFC 9457 */

/** The server refused a correction; the message is for people. */
export class CorrectionRefused extends Error {}

/**
 * Send a request, and return the answer's JSON.
 * @param {string} url
 * @param {{csrf?: string, body?: object}} [options] a body or a CSRF token makes it a POST
 * @returns {Promise<any>}
 * @throws {CorrectionRefused}
 */
export async function askCorrections(url, { csrf = "", body } = {}) {
  let response;
  try {
    response = await fetch(url, {
      method: csrf ? "POST" : "GET",
      headers: {
        Accept: "application/json",
        ...(csrf ? { "X-CSRFToken": csrf } : {}),
        ...(body ? { "Content-Type": "application/json" } : {}),
      },
      credentials: "same-origin",
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  } catch {
    throw new CorrectionRefused("Joulebook cannot be reached. Nothing has changed; try again.");
  }
  if (response.ok) return response.json();
  const problem = /** @type {Problem} */ (await response.json().catch(() => ({})));
  if (response.status === 401) throw new CorrectionRefused("You are no longer signed in. Sign in, and try again.");
  throw new CorrectionRefused(
    problem.detail || problem.title || "The correction could not be made at the moment. Try again soon.",
  );
}
