// Instants as people read them, in any time zone, by the browser's own calendar.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY = 86_400;
/** @type {Map<string, Intl.DateTimeFormat>} */
const calendars = new Map();

/** @typedef {{year: number, month: number, day: number, weekday: string, hour: number, minute: number, second: number}} Wall */

/**
 * The clock on the wall of the zone `tz`.
 * @param {number} seconds since 1970 UTC
 * @param {string} tz IANA name
 * @returns {Wall}
 */
export function wallClock(seconds, tz) {
  let calendar = calendars.get(tz);
  if (!calendar) {
    calendar = new Intl.DateTimeFormat("en-GB", {
      timeZone: tz,
      hourCycle: "h23",
      weekday: "short",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    calendars.set(tz, calendar);
  }
  /** @type {Record<string, string>} */
  const parts = {};
  for (const part of calendar.formatToParts(seconds * 1000)) parts[part.type] = part.value;
  return {
    year: +parts.year,
    month: +parts.month,
    day: +parts.day,
    weekday: parts.weekday,
    hour: +parts.hour,
    minute: +parts.minute,
    second: +parts.second,
  };
}

/**
 * The instant at which the clock of `tz` shows `text` (2026-11-20T14:35[:07]).
 * In the doubled hour of autumn the first; in the missing hour of spring as if the clock had not moved.
 * @param {string} text
 * @param {string} tz
 * @returns {number} seconds since 1970 UTC; NaN if the text is no time
 */
export function instantOfWall(text, tz) {
  const asUtc = Date.parse(`${text}Z`) / 1000;
  if (Number.isNaN(asUtc)) return NaN;
  const before = asUtc - offsetAt(asUtc - DAY, tz);
  if (offsetAt(before, tz) === asUtc - before) return before;
  const after = asUtc - offsetAt(asUtc + DAY, tz);
  return offsetAt(after, tz) === asUtc - after ? after : before;
}

/**
 * Seconds by which the zone is ahead of UTC at an instant.
 * @param {number} seconds
 * @param {string} tz
 */
export function offsetAt(seconds, tz) {
  const at = Math.floor(seconds);
  const w = wallClock(at, tz);
  return Date.UTC(w.year, w.month - 1, w.day, w.hour, w.minute, w.second) / 1000 - at;
}

/** @param {number} value */
const two = (value) => String(value).padStart(2, "0");

/** 14:35 or 14:35:07 @param {Wall} w @param {boolean} [withSeconds] */
const clock = (w, withSeconds = false) =>
  `${two(w.hour)}:${two(w.minute)}${withSeconds ? `:${two(w.second)}` : ""}`;

/** 20 Nov or 20 Nov 2026 @param {Wall} w @param {boolean} [withYear] */
const date = (w, withYear = false) => `${w.day} ${MONTHS[w.month - 1]}${withYear ? ` ${w.year}` : ""}`;

/**
 * A full instant: Fri 20 Nov 2026, 07:12:30.
 * @param {number} seconds
 * @param {string} tz
 */
export function formatInstant(seconds, tz) {
  const w = wallClock(seconds, tz);
  return `${w.weekday} ${date(w, true)}, ${clock(w, true)}`;
}

/**
 * A bucket, from `start` on and `length` seconds long, as briefly as its length allows.
 * @param {number} start
 * @param {number} length seconds; 0 for one reading
 * @param {string} tz
 */
export function formatBucket(start, length, tz) {
  const w = wallClock(start, tz);
  const day = `${w.weekday} ${date(w, true)}`;
  if (length === 0) return `${day}, ${clock(w, true)}`;
  const end = wallClock(start + length, tz);
  if (length < 60) return `${day}, ${clock(w, true)}`;
  if (length < 23 * 3600) return `${day}, ${clock(w)}–${clock(end)}`;
  if (length <= 25 * 3600) return day;
  return `from ${day}`;
}

/**
 * When, as briefly as the window that it lies in allows: 14:35 within a day, 20 Nov 14:35 within a
 * year, 20 Nov 2026 beyond.
 * @param {number} seconds
 * @param {number} span the window's length in seconds
 * @param {string} tz
 */
export function formatWithin(seconds, span, tz) {
  const w = wallClock(seconds, tz);
  if (span <= 3600) return clock(w, true);
  if (span <= DAY + 3600) return clock(w);
  return span <= 100 * DAY ? `${date(w)} ${clock(w)}` : date(w, true);
}

/**
 * A window: Fri 20 Nov, 14:00–15:00 · 19 Nov 14:00 – 20 Nov 14:00 · 20 Oct – 20 Nov 2026.
 * @param {number} start
 * @param {number} end
 * @param {string} tz
 */
export function formatWindow(start, end, tz) {
  const [a, b] = [wallClock(start, tz), wallClock(end, tz)];
  const withSeconds = end - start < 600;
  const thisYear = b.year === wallClock(Date.now() / 1000, tz).year;
  if (a.year === b.year && a.month === b.month && a.day === b.day) {
    return `${a.weekday} ${date(a, !thisYear)}, ${clock(a, withSeconds)}–${clock(b, withSeconds)}`;
  }
  const sameYear = a.year === b.year;
  if (end - start < 15 * DAY) {
    return `${date(a, !sameYear)} ${clock(a)} – ${date(b, !sameYear || !thisYear)} ${clock(b)}`;
  }
  return `${date(a, !sameYear)} – ${date(b, true)}`;
}

/**
 * Value for an <input type="datetime-local"> in the zone `tz`.
 * @param {number} seconds
 * @param {string} tz
 */
export function wallInputValue(seconds, tz) {
  const w = wallClock(Math.floor(seconds), tz);
  return `${String(w.year).padStart(4, "0")}-${two(w.month)}-${two(w.day)}T${clock(w, true)}`;
}

/**
 * RFC 3339 with the zone's offset, for tables and files.
 * @param {number} seconds
 * @param {string} tz
 */
export function formatRfc3339(seconds, tz) {
  const offset = offsetAt(seconds, tz);
  const local = new Date((seconds + offset) * 1000).toISOString().replace(/\.000Z$|Z$/, "");
  if (offset === 0) return `${local}Z`;
  const minutes = Math.abs(offset) / 60;
  return `${local}${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(Math.round(minutes % 60))}`;
}

/**
 * A length of time in its two coarsest units: 12 s, 5 min 3 s, 6 h 12 min, 3 d 4 h.
 * @param {number} seconds
 */
export function formatLength(seconds) {
  let rest = Math.round(seconds);
  if (rest >= 3600) rest = Math.round(rest / 60) * 60;
  if (rest >= DAY) rest = Math.round(rest / 3600) * 3600;
  const words = [];
  for (const [size, unit] of /** @type {[number, string][]} */ ([
    [DAY, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ])) {
    if (rest >= size && words.length < 2) words.push(`${Math.floor(rest / size)}\u202f${unit}`);
    rest %= size;
  }
  return words.join(" ") || "0\u202fs";
}

/**
 * How long ago: now, 4 s ago, 3 min ago, 5 d ago.
 * @param {number} seconds elapsed
 */
export function formatAgo(seconds) {
  const elapsed = Math.round(seconds);
  if (elapsed < 2) return "now";
  for (const [size, unit] of /** @type {[number, string][]} */ ([
    [DAY, "d"],
    [3600, "h"],
    [60, "min"],
  ])) {
    if (elapsed >= size) return `${Math.floor(elapsed / size)} ${unit} ago`;
  }
  return `${elapsed} s ago`;
}

/**
 * Labels of a time axis whose ticks are `step` seconds apart; a second line names the day or year
 * where it changes.
 * @param {number[]} ticks
 * @param {number} step
 * @param {string} tz
 * @returns {string[]}
 */
export function axisLabels(ticks, step, tz) {
  let before = "";
  return ticks.map((tick) => {
    const w = wallClock(tick, tz);
    const first =
      step < 60
        ? clock(w, true)
        : step < DAY
          ? clock(w)
          : step < 27 * DAY
            ? date(w)
            : step < 360 * DAY
              ? MONTHS[w.month - 1]
              : String(w.year);
    const second = step < DAY ? date(w) : step < 360 * DAY ? String(w.year) : "";
    const label = second && second !== before ? `${first}\n${second}` : first;
    before = second;
    return label;
  });
}
