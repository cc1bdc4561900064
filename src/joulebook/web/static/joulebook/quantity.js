// Numbers with their units as people read them; the server's web/display.py writes the same.

export const NO_VALUE = "–";
const NARROW_SPACE = "\u202f";
const MINUS = "\u2212";
const SCALED_UNITS = new Set(["W", "Wh", "VA", "VAh", "var", "varh"]);
const PREFIXES = ["", "k", "M", "G", "T"];
const TINY = 0.00001;
const HUGE = 1e15;

/**
 * Write `value` with sensible digits and its unit: 1.24 kW, 230.1 V, 50.02 Hz.
 * @param {number | null | undefined} value
 * @param {string} [unit]
 * @returns {string}
 */
export function formatQuantity(value, unit = "") {
  if (value == null || !Number.isFinite(value)) return NO_VALUE;
  const [number, prefix] = SCALED_UNITS.has(unit) ? scale(Math.abs(value)) : [Math.abs(value), ""];
  const digits = formatDigits(number, unit);
  const sign = value < 0 && /[1-9]/.test(digits) ? MINUS : "";
  const fullUnit = prefix + unit;
  return sign + digits + (fullUnit ? NARROW_SPACE + fullUnit : "");
}

/** Write a number without a unit: a state's code. @param {number} value */
export const formatPlain = (value) => String(Number(value.toPrecision(12))).replace("-", MINUS);

/** Write a share in percent; a nearly whole share is "99" and a tiny one "<1". @param {number} share */
export function formatShare(share) {
  if (share > 0.995 && share < 0.9995) return "99";
  if (share > 0 && share < 0.005) return "<1";
  return String(Math.round(share * 100));
}

/**
 * Make the function to write an axis' ticks: one prefix for the whole axis, the digits that its steps need.
 * @param {string} unit
 * @param {number[]} ticks
 * @returns {(value: number) => string}
 */
export function makeTickFormatter(unit, ticks) {
  const most = Math.max(...ticks.map(Math.abs), 0);
  const [scaled, prefix] = SCALED_UNITS.has(unit) ? scale(most) : [most, ""];
  const factor = scaled ? most / scaled : 1;
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) / factor : scaled;
  const decimals = [0, 1, 2, 3, 4, 5].find((count) => isWhole(step * 10 ** count)) ?? 6;
  const fullUnit = prefix + unit;
  return (value) => {
    const digits = groupDigits(Math.abs(value / factor).toFixed(decimals));
    const sign = value < 0 && /[1-9]/.test(digits) ? MINUS : "";
    return sign + digits + (fullUnit ? NARROW_SPACE + fullUnit : "");
  };
}

/** Return whether a number is whole, apart from the noise of binary fractions. @param {number} number */
const isWhole = (number) => Math.abs(number - Math.round(number)) < 1e-6;

/** Scale a number to its prefix. @param {number} number @returns {[number, string]} */
function scale(number) {
  let step = 0;
  while (number >= 999.5 && step < PREFIXES.length - 1) {
    number /= 1000;
    step += 1;
  }
  return [number, PREFIXES[step]];
}

/** @param {number} number @param {string} unit */
function formatDigits(number, unit) {
  if (number === 0) return "0";
  if (number < TINY || number >= HUGE) return number.toExponential(1).replace("+", "");
  return groupDigits(number.toFixed(countDecimals(number, unit)));
}

/** @param {string} digits */
function groupDigits(digits) {
  const [whole, fraction] = digits.split(".");
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE) : whole;
  return fraction ? `${grouped}.${fraction}` : grouped;
}

/** @param {number} number @param {string} unit */
function countDecimals(number, unit) {
  if (unit === "" && number === Math.round(number)) return 0;
  if (unit === "Hz" && number < 999.5) return 2;
  if (number >= 999.5 || (SCALED_UNITS.has(unit.replace(/^k/, "").replace(/^M/, "")) && number >= 99.95))
    return 0;
  for (const [limit, count] of [
    [9.995, 1],
    [0.9995, 2],
    [0.01, 3],
  ]) {
    if (number >= limit) return count;
  }
  return 5;
}
