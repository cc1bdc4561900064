// A state: shares of the time in each bucket; single readings as steps, with words as a timeline; flags in rows.

import { formatLength, formatWithin } from "./instant.js";
import { chooseStateStyle, paintSpans, SERIES_COLOUR } from "./paint.js";
import { makeCurveColumns } from "./points.js";
import { formatPlain, formatShare, NO_VALUE } from "./quantity.js";
import { describePerBucket } from "./resolution.js";
import {
  findStays,
  formatState,
  isBinary,
  isTimeline,
  listValues,
  readFlags,
  sumKnownSeconds,
  sumSeconds,
} from "./stays.js";
import { countRequestedSeconds } from "./tracks.js";

/**
 * @import { Columns, Drawing, Figure, Kind, MetricData } from "./kinds.js"
 * @import { Span, StateStyle } from "./paint.js"
 * @import { Track } from "./tracks.js"
 */

/** A longer flag is shortened beside its row; the legend has all of it. */
const LONGEST_LABEL = 8;

/** @type {Kind} */
export const state = {
  describePoints: (resolution) => describePerBucket(resolution, "share of"),
  makeColumns(data) {
    const { points, track, silence } = data;
    if (track) return makeShareColumns(track, data);
    if (!isTimeline(data)) return makeCurveColumns(points, 0, silence);
    const fill = (/** @type {number} */ level) => points.time.map(() => level);
    return [points.time, fill(1), fill(0), fill(1)];
  },
  makeDrawing(data) {
    if (data.isFlags) return drawFlags(data);
    if (data.track) return drawShares(data, data.track);
    if (isTimeline(data)) return drawStays(data);
    const label = (/** @type {number} */ tick) => (Number.isInteger(tick) ? formatState(tick, data) : "");
    return { shape: "step", label, ...(isBinary(listValues(data)) ? { range: [-0.1, 1.1] } : {}) };
  },
  formatValue: (value, data) => (value == null ? NO_VALUE : formatNewest(value, data)),
  describePoint(data, index) {
    const { track, columns, points } = data;
    if (!track) {
      const at = points.time.indexOf(columns[0][index]);
      return at < 0 ? NO_VALUE : formatState(points.mean[at], data);
    }
    const words = (track.states ?? [])
      .filter(({ share }) => (share?.[index] ?? 0) > 0)
      .map(({ value, share }) => `${formatState(value, data)} ${formatShare(share?.[index] ?? 0)}\u202f%`);
    if (!words.length) words.push("none");
    const changes = track.changes?.[index] ?? 0;
    if (changes) words.push(changes === 1 ? "1 change" : `${changes} changes`);
    if (track.coverage[index] < 0.995) words.push(`${formatShare(track.coverage[index])}\u202f% covered`);
    return words.join(" · ");
  },
  makeFigures(data) {
    const all = sumKnownSeconds(data);
    if (!all) return [{ name: "on", label: "On", text: NO_VALUE }];
    return [makeMainFigure(data, all), ...makeChangeFigures(data)];
  },
  makeLegend(data) {
    if (!isTimeline(data) && (!data.track || isBinary(listValues(data)))) return [];
    const all = sumKnownSeconds(data);
    return listRows(data).map(({ word, seconds, style }) => ({
      text: `${word} ${formatShare(all ? seconds / all : 0)}\u202f%`,
      style,
    }));
  },
  makeTableColumns(data) {
    const { points, track } = data;
    if (!track) {
      const column = isTimeline(data) ? points.mean.map((value) => formatState(value, data)) : points.mean;
      return { time: points.time, figures: [{ name: "", column }] };
    }
    const isOnOff = isBinary(listValues(data)) && !isTimeline(data);
    const indices = track.time.map((_, index) => index).filter((index) => track.coverage[index] > 0);
    const figures = (track.states ?? [])
      .filter(({ value }) => !isOnOff || value === 1)
      .map(({ value, share }) => ({
        name: `share of ${formatState(value, data)}`,
        column: indices.map((index) => share?.[index] ?? null),
        plain: true,
      }));
    const pick = (/** @type {number[]} */ column) => indices.map((index) => column[index]);
    if (track.changes) figures.push({ name: "changes", column: pick(track.changes), plain: true });
    figures.push({ name: "coverage", column: pick(track.coverage), plain: true });
    return { time: indices.map((index) => track.time[index]), figures };
  },
};

/** Write the newest value; of flags in buckets only the words are known. @param {number} value @param {MetricData} data */
function formatNewest(value, data) {
  if (!data.isFlags) return formatState(value, data);
  const flags = readFlags(data, value);
  return flags ? flags.join(", ") || "none" : NO_VALUE;
}

/**
 * List the states, or the flags, with their words, their seconds in the window and their styles.
 * @param {MetricData} data
 * @returns {{word: string, seconds: number, style: StateStyle}[]}
 */
function listRows(data) {
  if (data.isFlags && !data.track) {
    const seconds = [...sumSeconds(data, (value) => readFlags(data, value) ?? [])];
    return seconds
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([word, each], index) => ({ word, seconds: each, style: chooseStateStyle(index + 1, []) }));
  }
  const values = listValues(data);
  const seconds = sumSeconds(data, (value) => [value]);
  return values.map((value, index) => ({
    word: formatState(value, data),
    seconds: seconds.get(value) ?? 0,
    style: data.isFlags
      ? chooseStateStyle(index + 1, [], data.words.get(value)?.colour)
      : chooseStateStyle(value, values, data.words.get(value)?.colour),
  }));
}

/** @param {MetricData} data @param {Track} track @param {(index: number, from: number, to: number) => void} act */
function forEachBucket({ bucket }, track, act) {
  const whole = { start: -Infinity, end: Infinity };
  track.time.forEach((from, index) => {
    if (track.coverage[index] > 0) act(index, from, from + countRequestedSeconds(track, index, bucket, whole));
  });
}

/**
 * Stack each covered bucket's shares on a ground; the ground shows the rest, such as the time off.
 * @param {MetricData} data @param {Track} track
 * @returns {Drawing}
 */
function drawShares(data, track) {
  const isOnOff = isBinary(listValues(data)) && !isTimeline(data);
  const rows = listRows(data);
  /** @type {Span[]} */
  const spans = [];
  forEachBucket(data, track, (index, from, to) => {
    spans.push({ from, to, row: 0, low: 0, high: 1, style: null });
    let low = 0;
    (track.states ?? []).forEach(({ value, share }, number) => {
      const part = share?.[index] ?? 0;
      if (!part || (isOnOff && value === 0)) return;
      const style = isOnOff ? { colour: SERIES_COLOUR, pattern: 0 } : rows[number].style;
      spans.push({ from, to, row: 0, low, high: low + part, style });
      low += part;
    });
  });
  return {
    shape: "blocks",
    range: [0, 1],
    label: (tick) => `${Math.round(tick * 100)}\u202f%`,
    paint: (plot, colours) => paintSpans(plot, spans, { colours, rows: 1 }),
  };
}

/** Draw single readings with words as a timeline. @param {MetricData} data @returns {Drawing} */
function drawStays(data) {
  const values = listValues(data);
  const rows = listRows(data);
  const spans = findStays(data).map(({ from, to, value }) => {
    const { word, style } = rows[values.indexOf(value)];
    return { from, to: Math.max(to, from + 1e-3), row: 0, low: 0.15, high: 0.85, style, word };
  });
  return {
    shape: "blocks",
    range: [0, 1],
    label: () => "",
    paint: (plot, colours) => paintSpans(plot, spans, { colours, rows: 1 }),
  };
}

/** Draw a row for each flag: the share of the time with it. @param {MetricData} data @returns {Drawing} */
function drawFlags(data) {
  const { track } = data;
  const rows = listRows(data);
  const count = Math.max(1, rows.length);
  /** @type {Span[]} */
  const spans = [];
  const add = (/** @type {number} */ number, /** @type {number} */ from, /** @type {number} */ to, share = 1) =>
    spans.push({ from, to, row: count - 1 - number, low: 0, high: share, style: rows[number].style });
  if (track)
    forEachBucket(data, track, (index, from, to) => {
      (track.states ?? []).forEach(({ share }, number) => {
        if (share?.[index]) add(number, from, to, share[index]);
      });
    });
  else
    for (const { from, to, value } of findStays(data))
      for (const flag of readFlags(data, value) ?? [])
        add(
          rows.findIndex(({ word }) => word === flag),
          from,
          Math.max(to, from + 1e-3),
        );
  return {
    shape: "blocks",
    range: [0, 1],
    ticks: rows.map((_, index) => (index + 0.5) / count),
    label: (tick) => shorten(rows[count - 1 - Math.floor(tick * count)]?.word ?? ""),
    paint: (plot, colours) => paintSpans(plot, spans, { colours, rows: count }),
  };
}

/** @param {string} text */
const shorten = (text) => (text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1)}…` : text);

/**
 * Make columns of time, 1, 0 and the share of on (1 for other states); null in buckets without readings.
 * @param {Track} track
 * @param {MetricData} data
 * @returns {Columns}
 */
function makeShareColumns(track, data) {
  const isOnOff = isBinary(listValues(data)) && !data.isFlags;
  const on = (track.states ?? []).find(({ value }) => value === 1);
  const share = track.time.map((_, index) => {
    if (!(track.coverage[index] > 0)) return null;
    return isOnOff ? (on?.share?.[index] ?? 0) : 1;
  });
  const fill = (/** @type {number} */ level) => share.map((each) => (each == null ? null : level));
  return [track.time, fill(1), fill(0), share];
}

/** Make the figure of the time on, or of the most frequent state. @param {MetricData} data @param {number} all */
function makeMainFigure(data, all) {
  const rows = listRows(data);
  const isOnOff = isBinary(listValues(data)) && !data.isFlags;
  const values = listValues(data);
  if (isOnOff) {
    const on = rows[values.indexOf(1)];
    const word = data.words.get(1)?.word || "on";
    const seconds = on?.seconds ?? 0;
    const label = word.slice(0, 1).toUpperCase() + word.slice(1);
    return { name: "on", label, text: `${formatShare(seconds / all)}\u202f%`, aside: formatLength(seconds) };
  }
  const top = rows.reduce((best, row) => (best && best.seconds >= row.seconds ? best : row), rows.at(0));
  if (!top?.seconds) return { name: "on", label: "Mostly", text: "none" };
  const share = `${formatShare(top.seconds / all)}\u202f%`;
  return { name: "on", label: "Mostly", text: `${top.word}: ${share}`, aside: formatLength(top.seconds) };
}

/** Make the figures of the changes, and of the newest one. @param {MetricData} data @returns {Figure[]} */
function makeChangeFigures(data) {
  const { track, points, window, tz } = data;
  if (track) {
    if (!track.changes) return [];
    const changes = track.changes.reduce((sum, each) => sum + each, 0);
    return [{ name: "changes", label: "Changes", text: formatPlain(changes) }];
  }
  const changed = points.time.filter((_, index) => index > 0 && points.mean[index] !== points.mean[index - 1]);
  const newest = changed.at(-1);
  return [
    { name: "changes", label: "Changes", text: formatPlain(changed.length) },
    ...(newest == null
      ? []
      : [{ name: "since", label: "Since", text: formatWithin(newest, window.end - window.start, tz) }]),
  ];
}
