// Listens to a device's live feed while the page is seen; where that fails, the page asks by itself.

const LONGEST_WAIT = 60;
/** A stream is followed by the next one so many seconds before it ends. */
const RENEW_BEFORE = 10;

/**
 * @typedef {Record<string, [number, number][]>} Readings new readings by metric: seconds since 1970 UTC, value
 */

/**
 * Listen until stopped.
 * @param {object} options
 * @param {string} options.ticketUrl where the web says, after a look at who asks, where to listen
 * @param {(readings: Readings) => void} options.onReadings
 * @param {(open: boolean) => void} options.onState whether readings come by themselves
 * @returns {() => void} stops it
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
      // Until the next one is open, the one before is listened to.
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
      next.onmessage = (event) => source === next && onReadings(JSON.parse(event.data).readings);
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
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<{url: string, seconds: number} | null>} where to listen, and for how long
 */
async function fetchTicket(url, signal) {
  const response = await fetch(url, { method: "POST", signal, credentials: "same-origin" });
  if (!response.ok) return null;
  const answer = await response.json();
  // By the server's clock, which said when it answered: the browser's may be wrong.
  const now = Date.parse(response.headers.get("Date") ?? "") || Date.now();
  return { url: answer.url, seconds: (Date.parse(answer.expires_at) - now) / 1000 };
}
