// How far zones are ahead of UTC, as the server says with each page and answer: the only rules that pages use.

/** @typedef {[number, number][]} Offsets from each instant (seconds since 1970 UTC) on, how many seconds; the first holds before too */

/** @type {Map<string, Offsets>} */
const known = new Map([["UTC", [[0, 0]]]]);

/** Whether the server has said anything of a zone. @param {string} tz IANA name */
export const knowsZone = (tz) => known.has(tz);

/**
 * Take in what the server says of a zone; it replaces what was known of the same stretch of time.
 * @param {string} tz
 * @param {Offsets} offsets in order
 * @param {number} [end] the stretch ends here, or with the last change if that is later
 */
export function learnOffsets(tz, offsets, end = -Infinity) {
  const [begin, until] = [offsets[0][0], Math.max(end, offsets[offsets.length - 1][0])];
  const others = known.get(tz) ?? [];
  const earlier = others.filter(([from]) => from < begin);
  const later = others.filter(([from]) => from > until);
  known.set(tz, [...earlier, ...offsets, ...later]);
}

/**
 * Seconds by which the zone is ahead of UTC at an instant.
 * @param {number} seconds since 1970 UTC
 * @param {string} tz
 */
export function offsetAt(seconds, tz) {
  const offsets = offsetsOf(tz);
  return offsets[Math.max(0, countOf(offsets, ([from]) => from <= seconds) - 1)][1];
}

/**
 * All offsets that the zone has between two instants.
 * @param {number} start
 * @param {number} end
 * @param {string} tz
 */
export function offsetsBetween(start, end, tz) {
  const changed = offsetsOf(tz).filter(([from]) => from > start && from <= end);
  return [offsetAt(start, tz), ...changed.map(([, offset]) => offset)];
}

/**
 * The instant at which the zone's clock shows a local time.
 * @param {number} local seconds since the clock showed the first moment of 1970
 * @param {string} tz
 * @param {0 | 1} [fold] of a time that comes twice 0 is the first; one that is left out is counted on with
 *   the offset before (0) or after (1) the change
 */
export function instantOfLocal(local, tz, fold = 0) {
  const offsets = offsetsOf(tz);
  const choose = fold ? Math.min : Math.max;
  const changes = offsets.slice(1);
  const passed = countOf(changes, ([from, after], index) => from + choose(offsets[index][1], after) <= local);
  return local - offsets[passed][1];
}

/** @param {string} tz */
function offsetsOf(tz) {
  const offsets = known.get(tz);
  if (!offsets) throw new Error(`the server has not said how the clocks of ${tz} go`);
  return offsets;
}

/**
 * How many elements at the beginning fulfil a condition that no later one does.
 * @template T
 * @param {T[]} sorted
 * @param {(element: T, index: number) => boolean} condition
 */
function countOf(sorted, condition) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (condition(sorted[middle], middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
