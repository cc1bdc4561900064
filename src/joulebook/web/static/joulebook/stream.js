// Listens to a device's live feed while the page is visible; without the feed the page polls (live.js).

const LONGEST_WAIT = 60;
/** The next stream opens so many seconds before the ticket of the present one expires. */
const RENEW_BEFORE = 10;

/** @typedef {Record<string, [number, number][]>} Readings new readings by metric: seconds since 1970 UTC, value */
/** @typedef {Record<string, [number, number | string][]>} FeedReadings the same as the feed sends them: texts as well */
/** @typedef {{readings: FeedReadings}} LiveMessage a message of the feed */
/** @typedef {{url: string, expires_at: string}} Ticket the feed's address, and the end of its validity (RFC 3339) */

/**
 * Listen until stopped.
 * @param {object} options
 * @param {string} options.ticketUrl the web checks the account there and issues a ticket
 * @param {(readings: FeedReadings) => void} options.onReadings
 * @param {(open: boolean) => void} options.onState the feed opened or closed
 * @returns {() => void} a function to stop it
 */
export function listen({ ticketUrl, onReadings, onState }) {
  const life = new AbortController();
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;
  let failures = 0;
  let turn = 0;

  async function open() {
    clearTimeout(timer);
    const mine = ++turn;
    try {
      const ticket = await fetchTicket(ticketUrl, life.signal);
      if (mine !== turn || life.signal.aborted || document.hidden) return;
      if (!ticket) return lose(mine);
      const next = new EventSource(ticket.url);
      // The present stream stays until the next one is open.
      const giveUp = setTimeout(() => fail(next, mine), RENEW_BEFORE * 500);
      next.onopen = () => {
        clearTimeout(giveUp);
        if (mine !== turn) return next.close();
        source?.close();
        source = next;
        failures = 0;
        onState(true);
        timer = setTimeout(open, Math.max(1, ticket.seconds - RENEW_BEFORE) * 1000);
      };
      next.onmessage = (event) => {
        const message = /** @type {LiveMessage} */ (JSON.parse(event.data));
        if (source === next) onReadings(message.readings);
      };
      next.addEventListener("end", () => fail(next, mine));
      next.onerror = () => {
        clearTimeout(giveUp);
        fail(next, mine);
      };
    } catch {
      if (mine === turn && !life.signal.aborted) lose(mine);
    }
  }
  /** @param {EventSource} failed @param {number} mine */
  function fail(failed, mine) {
    failed.close();
    if (mine === turn) lose(mine);
  }
  /** @param {number} mine */
  function lose(mine) {
    if (mine !== turn || life.signal.aborted || document.hidden) return;
    close();
    failures += 1;
    timer = setTimeout(open, Math.min(LONGEST_WAIT, 2 ** failures) * 1000);
  }
  function close() {
    turn += 1;
    clearTimeout(timer);
    source?.close();
    source = null;
    onState(false);
  }
  const onVisibility = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", onVisibility, { signal: life.signal });
  if (!document.hidden) open();
  return () => {
    life.abort();
    close();
  };
}

/**
 * Request a ticket.
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<{url: string, seconds: number} | null>} the feed's address and the seconds of its validity
 */
async function fetchTicket(url, signal) {
  const response = await fetch(url, { method: "POST", signal, credentials: "same-origin" });
  if (!response.ok) return null;
  const ticket = /** @type {Ticket} */ (await response.json());
  // The browser's clock may be wrong; the server's is in the answer's Date.
  const now = Date.parse(response.headers.get("Date") ?? "") || Date.now();
  return { url: ticket.url, seconds: (Date.parse(ticket.expires_at) - now) / 1000 };
}
