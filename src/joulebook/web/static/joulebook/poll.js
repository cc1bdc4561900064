// Repeats a task while the page is visible: pauses while it is hidden, waits longer after each failure.

const LONGEST_WAIT = 30;

/**
 * Run `task` now or after a delay, then again `every()` seconds after it ends, until stopped.
 * @param {object} options
 * @param {(signal: AbortSignal) => Promise<void>} options.task
 * @param {() => number} options.every seconds
 * @param {(state: "ok" | "failing" | "paused", error?: unknown) => void} [options.onState]
 * @param {boolean} [options.atOnce]
 * @returns {() => void} a function to stop it
 */
export function poll({ task, every, onState = () => {}, atOnce = false }) {
  const life = new AbortController();
  let timer = 0;
  let failures = 0;
  let running = false;

  async function run() {
    if (running || life.signal.aborted) return;
    running = true;
    try {
      await task(life.signal);
      failures = 0;
      if (!document.hidden) onState("ok");
    } catch (error) {
      if (life.signal.aborted) return;
      failures += 1;
      onState("failing", error);
    } finally {
      running = false;
    }
    plan();
  }
  function plan() {
    clearTimeout(timer);
    if (life.signal.aborted || document.hidden) return;
    const wait = failures ? Math.min(LONGEST_WAIT, 2 ** failures) : every();
    timer = setTimeout(run, wait * 1000);
  }
  function onVisibility() {
    clearTimeout(timer);
    if (document.hidden) onState("paused");
    else run();
  }
  document.addEventListener("visibilitychange", onVisibility, { signal: life.signal });
  if (document.hidden) onState("paused");
  else if (atOnce) run();
  else plan();
  return () => {
    clearTimeout(timer);
    life.abort();
  };
}
