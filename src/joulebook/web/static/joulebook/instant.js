// Instants as people read them, in any time zone by the server's offsets; the browser's own zones are not used.

import { findInstant, findOffset, findOffsets } from "./zone-offsets.js";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const HOUR = 3600;
const DAY = 86_400;
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;

/**
 * @typedef {object} LocalTime
 * @property {number} year
 * @property {number} month 1 to 12
 * @property {number} day
 * @property {string} weekday
 * @property {number} hour
 * @property {number} minute
 * @property {number} second
 */

/**
 * Read the clock of a zone at an instant.
 * @param {number} seconds since 1970 UTC
 * @param {string} tz IANA name
 * @returns {LocalTime}
 */
function readClock(seconds, tz) {
  const local = new Date((Math.floor(seconds) + findOffset(seconds, tz)) * 1000);
  return {
    year: local.getUTCFullYear(),
    month: local.getUTCMonth() + 1,
    day: local.getUTCDate(),
    weekday: WEEKDAYS[local.getUTCDay()],
    hour: local.getUTCHours(),
    minute: local.getUTCMinutes(),
    second: local.getUTCSeconds(),
  };
}

/**
 * Return the instant of a local time such as 2026-11-20T14:35[:07] in a zone.
 * In the doubled hour of autumn it is the first; in the missing hour of spring the old offset continues.
 * @param {string} text
 * @param {string} tz
 * @returns {number} seconds since 1970 UTC; NaN if the text is no time
 */
export function parseLocalTime(text, tz) {
  return findInstant(Date.parse(`${text}Z`) / 1000, tz);
}

/** @param {number} value */
const pad = (value) => String(value).padStart(2, "0");

/** 14:35 or 14:35:07 @param {LocalTime} w @param {boolean} [withSeconds] */
const formatClock = (w, withSeconds = false) =>
  `${pad(w.hour)}:${pad(w.minute)}${withSeconds ? `:${pad(w.second)}` : ""}`;

/** 20 Nov or 20 Nov 2026 @param {LocalTime} w @param {boolean} [withYear] */
const formatDate = (w, withYear = false) => `${w.day} ${MONTHS[w.month - 1]}${withYear ? ` ${w.year}` : ""}`;

/**
 * Write a full instant: Fri 20 Nov 2026, 07:12:30.
 * @param {number} seconds
 * @param {string} tz
 */
export function formatInstant(seconds, tz) {
  const w = readClock(seconds, tz);
  return `${w.weekday} ${formatDate(w, true)}, ${formatClock(w, true)}`;
}

/**
 * Write a bucket's time as briefly as its length allows.
 * @param {number} start
 * @param {number} length seconds; 0 for one reading
 * @param {string} tz
 */
export function formatBucket(start, length, tz) {
  const w = readClock(start, tz);
  const day = `${w.weekday} ${formatDate(w, true)}`;
  if (length < 60) return `${day}, ${formatClock(w, true)}`;
  const end = readClock(start + length, tz);
  if (length < 23 * HOUR) return `${day}, ${formatClock(w)}–${formatClock(end)}`;
  if (length <= 25 * HOUR) return day;
  return `from ${day}`;
}

/**
 * Write an instant as briefly as its window allows: 14:35 in a window of a day, 20 Nov 14:35 up to
 * 100 days, 20 Nov 2026 beyond.
 * @param {number} seconds
 * @param {number} span the window's length in seconds
 * @param {string} tz
 */
export function formatWithin(seconds, span, tz) {
  const w = readClock(seconds, tz);
  if (span <= HOUR) return formatClock(w, true);
  if (span <= DAY + HOUR) return formatClock(w);
  return span <= 100 * DAY ? `${formatDate(w)} ${formatClock(w)}` : formatDate(w, true);
}

/**
 * Write a window: Fri 20 Nov, 14:00–15:00 · 19 Nov 14:00 – 20 Nov 14:00 · 20 Oct – 20 Nov 2026.
 * @param {number} start
 * @param {number} end
 * @param {string} tz
 */
export function formatWindow(start, end, tz) {
  const [a, b] = [readClock(start, tz), readClock(end, tz)];
  const withSeconds = end - start < 600;
  const thisYear = b.year === readClock(Date.now() / 1000, tz).year;
  if (a.year === b.year && a.month === b.month && a.day === b.day) {
    return `${a.weekday} ${formatDate(a, !thisYear)}, ${formatClock(a, withSeconds)}–${formatClock(b, withSeconds)}`;
  }
  const sameYear = a.year === b.year;
  if (end - start < 15 * DAY) {
    return `${formatDate(a, !sameYear)} ${formatClock(a)} – ${formatDate(b, !sameYear || !thisYear)} ${formatClock(b)}`;
  }
  return `${formatDate(a, !sameYear)} – ${formatDate(b, true)}`;
}

/**
 * Write the value of an <input type="datetime-local"> in a zone.
 * @param {number} seconds
 * @param {string} tz
 */
export function formatInputValue(seconds, tz) {
  const w = readClock(Math.floor(seconds), tz);
  return `${String(w.year).padStart(4, "0")}-${pad(w.month)}-${pad(w.day)}T${formatClock(w, true)}`;
}

/**
 * Write the value of such a field to the millisecond.
 * @param {number} seconds
 * @param {string} tz
 */
export function formatExactInput(seconds, tz) {
  const millis = Math.round(seconds * 1000);
  const rest = ((millis % 1000) + 1000) % 1000;
  return formatInputValue((millis - rest) / 1000, tz) + (rest ? `.${String(rest).padStart(3, "0")}` : "");
}

/**
 * Write RFC 3339 in UTC to the microsecond, as readings are stored.
 * @param {number} seconds
 */
export function formatMicros(seconds) {
  const whole = Math.floor(seconds);
  const micros = Math.round((seconds - whole) * 1e6);
  if (micros === 1e6) return formatMicros(whole + 1);
  const base = new Date(whole * 1000).toISOString().slice(0, -5);
  return `${base}${micros ? `.${String(micros).padStart(6, "0")}` : ""}Z`;
}

/**
 * Write RFC 3339 with the zone's offset, or in UTC if the offset is not in whole minutes; for tables and files.
 * @param {number} seconds
 * @param {string} tz
 */
export function formatRfc3339(seconds, tz) {
  const exact = findOffset(seconds, tz);
  const offset = exact % 60 ? 0 : exact;
  const local = new Date((seconds + offset) * 1000).toISOString().replace(/\.000Z$|Z$/, "");
  if (offset === 0) return `${local}Z`;
  const minutes = Math.abs(offset) / 60;
  return `${local}${offset < 0 ? "-" : "+"}${pad(Math.floor(minutes / 60))}:${pad(Math.round(minutes % 60))}`;
}

/**
 * Write a length of time in its two coarsest units: 12 s, 5 min 3 s, 6 h 12 min, 3 d 4 h.
 * @param {number} seconds
 */
export function formatLength(seconds) {
  let rest = Math.round(seconds);
  if (rest >= HOUR) rest = Math.round(rest / 60) * 60;
  if (rest >= DAY) rest = Math.round(rest / HOUR) * HOUR;
  const words = [];
  for (const [size, unit] of /** @type {[number, string][]} */ ([
    [DAY, "d"],
    [HOUR, "h"],
    [60, "min"],
    [1, "s"],
  ])) {
    if (rest >= size && words.length < 2) words.push(`${Math.floor(rest / size)}\u202f${unit}`);
    rest %= size;
  }
  return words.join(" ") || "0\u202fs";
}

/**
 * Write an age: now, 4 s ago, 3 min ago, 5 d ago.
 * @param {number} seconds elapsed
 */
export function formatAgo(seconds) {
  const elapsed = Math.round(seconds);
  if (elapsed < 2) return "now";
  for (const [size, unit] of /** @type {[number, string][]} */ ([
    [DAY, "d"],
    [HOUR, "h"],
    [60, "min"],
  ])) {
    if (elapsed >= size) return `${Math.floor(elapsed / size)} ${unit} ago`;
  }
  return `${elapsed} s ago`;
}

/**
 * Place the ticks of a time axis: instants with multiples of `step` on the zone's clock.
 * Steps up to an hour have ticks in both passes of a doubled hour; longer steps begin as the server's buckets do.
 * @param {number} start
 * @param {number} end
 * @param {number} step seconds, or days, months of 30 and years of 365
 * @param {string} tz
 * @returns {number[]}
 */
export function placeTicks(start, end, step, tz) {
  const offsets = findOffsets(start, end, tz);
  const [from, to] = [start + Math.min(...offsets), end + Math.max(...offsets)];
  const locals = step < MONTH ? listMultiples(from, to, step) : listMonths(from, to, step);
  const instants = locals.flatMap((local) => {
    const first = findInstant(local, tz);
    if (step > HOUR) return [first];
    const passes = new Set([first, findInstant(local, tz, 1)]);
    return [...passes].filter((at) => at + findOffset(at, tz) === local);
  });
  return instants.filter((at) => at >= start && at <= end).sort((a, b) => a - b);
}

/**
 * List the multiples of `step` around a stretch of local time; multiples of seven days are Mondays.
 * @param {number} from
 * @param {number} to
 * @param {number} step
 */
function listMultiples(from, to, step) {
  // 1970 began on a Thursday.
  const monday = step === 7 * DAY ? 4 * DAY : 0;
  const first = Math.floor((from - monday) / step);
  return listIntegers(first, Math.ceil((to - monday) / step)).map(
    // Below a second, without the noise of binary fractions.
    (number) => Math.round((number * step + monday) * 1000) / 1000,
  );
}

/**
 * List the first days of every N months around a stretch of local time, N by the step.
 * @param {number} from
 * @param {number} to
 * @param {number} step
 */
function listMonths(from, to, step) {
  const size = step < YEAR ? Math.round(step / MONTH) : 12 * Math.round(step / YEAR);
  const [first, last] = [from, to].map((local) => {
    const date = new Date(local * 1000);
    return (date.getUTCFullYear() * 12 + date.getUTCMonth()) / size;
  });
  return listIntegers(Math.floor(first), Math.ceil(last)).map(
    (number) => Date.UTC(Math.floor((number * size) / 12), (number * size) % 12) / 1000,
  );
}

/** List the whole numbers from `first` to `last`. @param {number} first @param {number} last */
const listIntegers = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

/**
 * Label the ticks of a time axis `step` seconds apart; a second line names a new day or year.
 * @param {number[]} ticks
 * @param {number} step
 * @param {string} tz
 * @returns {string[]}
 */
export function labelTicks(ticks, step, tz) {
  let before = "";
  return ticks.map((tick) => {
    const w = readClock(tick, tz);
    const first =
      step < 60
        ? formatClock(w, true)
        : step < DAY
          ? formatClock(w)
          : step < 27 * DAY
            ? formatDate(w)
            : step < 360 * DAY
              ? MONTHS[w.month - 1]
              : String(w.year);
    const second = step < DAY ? formatDate(w) : step < 360 * DAY ? String(w.year) : "";
    const label = second && second !== before ? `${first}\n${second}` : first;
    before = second;
    return label;
  });
}
