// Zones' offsets from UTC. The server sends them with each page and answer; pages use no other rules.

/**
 * Pairs of an instant (seconds since 1970 UTC) and the seconds ahead of UTC from then on; the first offset also
 * holds before its instant.
 * @typedef {[number, number][]} Offsets
 */

/** @type {Map<string, Offsets>} */
const known = new Map([["UTC", [[0, 0]]]]);

/** Return whether the server has sent a zone's offsets. @param {string} tz IANA name */
export const knowsZone = (tz) => known.has(tz);

/**
 * Learn a zone's offsets; they replace the known ones of the same stretch of time.
 * @param {string} tz
 * @param {Offsets} offsets in order
 * @param {number} [end] of the stretch; a later last change extends it
 */
export function learnOffsets(tz, offsets, end = -Infinity) {
  const [begin, until] = [offsets[0][0], Math.max(end, offsets[offsets.length - 1][0])];
  const others = known.get(tz) ?? [];
  const earlier = others.filter(([from]) => from < begin);
  const later = others.filter(([from]) => from > until);
  known.set(tz, [...earlier, ...offsets, ...later]);
}

/**
 * Find the seconds by which the zone is ahead of UTC at an instant.
 * @param {number} seconds since 1970 UTC
 * @param {string} tz
 */
export function findOffset(seconds, tz) {
  const offsets = getOffsets(tz);
  return offsets[Math.max(0, countLeading(offsets, ([from]) => from <= seconds) - 1)][1];
}

/**
 * Find all offsets of the zone between two instants.
 * @param {number} start
 * @param {number} end
 * @param {string} tz
 */
export function findOffsets(start, end, tz) {
  const changed = getOffsets(tz).filter(([from]) => from > start && from <= end);
  return [findOffset(start, tz), ...changed.map(([, offset]) => offset)];
}

/**
 * Find the instant of a local time in the zone.
 * @param {number} local seconds since the clock showed the first moment of 1970
 * @param {string} tz
 * @param {0 | 1} [fold] where clocks show the time twice, 0 is the first and 1 the second instant; where clocks
 *   skip the time, the offset from before (0) or after (1) the change counts
 */
export function findInstant(local, tz, fold = 0) {
  const offsets = getOffsets(tz);
  const choose = fold ? Math.min : Math.max;
  const changes = offsets.slice(1);
  const passed = countLeading(changes, ([from, after], index) => from + choose(offsets[index][1], after) <= local);
  return local - offsets[passed][1];
}

/** @param {string} tz */
function getOffsets(tz) {
  const offsets = known.get(tz);
  if (!offsets) throw new Error(`the server has sent no offsets of ${tz}`);
  return offsets;
}

/**
 * Count the elements at the beginning that fulfil a condition; no later element may fulfil it.
 * @template T
 * @param {T[]} sorted
 * @param {(element: T, index: number) => boolean} condition
 */
function countLeading(sorted, condition) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (condition(sorted[middle], middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
