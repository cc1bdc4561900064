// What a resolution's name means: "raw", "5s", "15m", "1h", "1d", "1w", "1mo", "1y".

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, mo: 2_678_400, y: 31_622_400 };
const WORDS = { s: "s", m: "min", h: "h", d: "day", w: "week", mo: "month", y: "year" };

/**
 * A bucket's greatest length in seconds (a month counts 31 days); 0 for raw readings.
 * @param {string} resolution
 */
export function bucketSeconds(resolution) {
  const [count, unit] = split(resolution);
  return count * (SECONDS[unit] ?? 0);
}

/**
 * What the points are: "every reading", "5 min means", "1 day means".
 * @param {string} resolution
 */
export function describeResolution(resolution) {
  const [count, unit] = split(resolution);
  return count ? `${count}\u202f${WORDS[unit]} means` : "every reading";
}

/**
 * What the points of a register or a state are: "increase per 5 min", "share of day", "every reading".
 * @param {string} resolution
 * @param {string} what
 */
export function perBucket(resolution, what) {
  const [count, unit] = split(resolution);
  if (!count) return "every reading";
  return `${what} ${count > 1 || ["s", "m", "h"].includes(unit) ? `${count}\u202f` : ""}${WORDS[unit]}`;
}

/**
 * Whether every bucket has the same length: not so for days and longer ones, which are local.
 * @param {string} resolution
 */
export function isFixed(resolution) {
  return ["s", "m", "h"].includes(split(resolution)[1]);
}

/** @param {string} resolution @returns {[number, keyof typeof SECONDS]} */
function split(resolution) {
  const found = /^(\d+)(s|mo|m|h|d|w|y)$/.exec(resolution);
  return found ? [Number(found[1]), /** @type {keyof typeof SECONDS} */ (found[2])] : [0, "s"];
}
