// The meaning of a resolution's name: "raw", "5s", "15m", "1h", "1d", "1w", "1mo", "1y".

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, mo: 2_678_400, y: 31_622_400 };
const WORDS = { s: "s", m: "min", h: "h", d: "day", w: "week", mo: "month", y: "year" };

/**
 * Return a bucket's greatest length in seconds (a month counts 31 days); 0 for raw readings.
 * @param {string} resolution
 */
export function getBucketSeconds(resolution) {
  const [count, unit] = parseResolution(resolution);
  return count * (SECONDS[unit] ?? 0);
}

/**
 * Describe a gauge's points: "every reading", "5 min means", "1 day means".
 * @param {string} resolution
 */
export function describeResolution(resolution) {
  const [count, unit] = parseResolution(resolution);
  return count ? `${count}\u202f${WORDS[unit]} means` : "every reading";
}

/**
 * Describe the points of a counter, an amount or a state: "increase per 5 min", "share of day".
 * @param {string} resolution
 * @param {string} figure the words before the bucket's length
 * @param {string} [single] the words for single readings
 */
export function describePerBucket(resolution, figure, single = "every reading") {
  const [count, unit] = parseResolution(resolution);
  if (!count) return single;
  return `${figure} ${count > 1 || ["s", "m", "h"].includes(unit) ? `${count}\u202f` : ""}${WORDS[unit]}`;
}

/**
 * Return whether all buckets have the same length; days and longer ones are local and do not.
 * @param {string} resolution
 */
export function hasFixedLength(resolution) {
  return ["s", "m", "h"].includes(parseResolution(resolution)[1]);
}

/** @param {string} resolution @returns {[number, keyof typeof SECONDS]} */
function parseResolution(resolution) {
  const found = /^(\d+)(s|mo|m|h|d|w|y)$/.exec(resolution);
  return found ? [Number(found[1]), /** @type {keyof typeof SECONDS} */ (found[2])] : [0, "s"];
}
