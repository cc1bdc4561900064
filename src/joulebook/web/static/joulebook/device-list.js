// Refreshes the list of devices and a device's latest reading; reloads the page at the first device or reading.

import { poll } from "./poll.js";

const EVERY = 5;

/**
 * Fetch the list's rows as drawn by the server.
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<HTMLLIElement[]>}
 */
async function fetchRows(url, signal) {
  const response = await fetch(url, { signal, credentials: "same-origin", redirect: "manual" });
  // The session has ended: loading the page again leads to the sign-in form.
  if (response.type === "opaqueredirect") location.reload();
  if (!response.ok) throw new Error(`the list answered ${response.status}`);
  const page = new DOMParser().parseFromString(`<ul>${await response.text()}</ul>`, "text/html");
  return [...page.querySelectorAll("li")];
}

/** Refresh the list of devices. @param {HTMLElement} list */
function refreshList(list) {
  const stale = /** @type {HTMLElement} */ (document.querySelector("[data-stale]"));
  poll({
    every: () => EVERY,
    async task(signal) {
      updateRows(list, await fetchRows(/** @type {string} */ (list.dataset.rows), signal));
    },
    onState(state) {
      stale.hidden = state !== "failing";
    },
  });
}

/**
 * Change only the rows with differences, and in them only the link's content: focus and pointer stay.
 * @param {HTMLElement} list
 * @param {HTMLLIElement[]} rows
 */
function updateRows(list, rows) {
  const known = new Map(
    [...list.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.device, row]),
  );
  rows.forEach((row, position) => {
    const old = known.get(row.dataset.device);
    known.delete(row.dataset.device);
    if (old && old.innerHTML !== row.innerHTML) {
      old.querySelector("a")?.replaceChildren(...(row.querySelector("a")?.childNodes ?? []));
    }
    const current = old ?? row;
    if (list.children[position] !== current) list.insertBefore(current, list.children[position] ?? null);
  });
  for (const gone of known.values()) gone.remove();
}

/**
 * Reload the page once the list fulfils a condition.
 * @param {string} url
 * @param {(rows: HTMLLIElement[]) => boolean} arrived
 */
function reloadWhen(url, arrived) {
  poll({
    every: () => 3,
    async task(signal) {
      if (arrived(await fetchRows(url, signal))) location.reload();
    },
  });
}

/**
 * Refresh the latest reading in a device's heading, as the list shows it.
 * @param {HTMLElement} latest
 */
function refreshLatest(latest) {
  poll({
    every: () => EVERY,
    async task(signal) {
      const [row] = await fetchRows(/** @type {string} */ (latest.dataset.latest), signal);
      if (row) latest.replaceChildren(...row.querySelectorAll(".dot, .value, .when"));
    },
  });
}

const list = /** @type {HTMLElement | null} */ (document.querySelector("[data-rows]"));
const noDevice = /** @type {HTMLElement | null} */ (document.querySelector("[data-first-device]"));
const noReading = /** @type {HTMLElement | null} */ (document.querySelector("[data-first-reading]"));
const latest = /** @type {HTMLElement | null} */ (document.querySelector("[data-latest]"));
if (list) refreshList(list);
if (latest) refreshLatest(latest);
if (noDevice) reloadWhen(/** @type {string} */ (noDevice.dataset.firstDevice), (rows) => rows.length > 0);
if (noReading)
  reloadWhen(/** @type {string} */ (noReading.dataset.firstReading), (rows) =>
    rows.some((row) => row.querySelector(".value") !== null),
  );
