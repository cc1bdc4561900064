// Paints bars and shares on a chart's canvas: each bucket from its start to its end, patterns beside colours.

import { countRequestedSeconds } from "./tracks.js";

/**
 * @import Plot from "../vendor/uPlot.esm.js"
 * @import { Track } from "./tracks.js"
 */

/** @typedef {{line: string, ink: string, grid: string, ground: string, states: string[]}} Colours */
/** @typedef {{colour: number, pattern: number}} StateStyle */

const STATE_COLOURS = 8;
const PATTERNS = 4;
const CELL = 6;
/** @type {Map<string, CanvasPattern>} */
const patterns = new Map();

/**
 * Paint a counter's increase; above it, hatched, the increase not allocated to one bucket. Lines from top to
 * bottom mark resets and replaced meters.
 * @param {Plot} plot
 * @param {Track} track
 * @param {{bucket: number, colours: Colours, replacements: number[]}} options
 */
export function paintBars(plot, track, { bucket, colours, replacements }) {
  paintInside(plot, (ctx) => {
    const y = (/** @type {number} */ value) => plot.valToPos(value, "y", true);
    forEachBucket(plot, track, bucket, (index, left, width) => {
      const rise = track.increase?.[index] ?? 0;
      const lost = track.unallocated?.[index] ?? 0;
      ctx.fillStyle = colours.line;
      fillSpan(ctx, left, y(0), width, y(rise));
      if (!lost) return;
      ctx.fillStyle = getPattern(ctx, 1, colours.line);
      fillSpan(ctx, left, y(rise), width, y(rise + lost));
      ctx.strokeStyle = colours.line;
      ctx.strokeRect(left + 0.5, y(rise + lost) + 0.5, Math.max(1, width - 1), y(rise) - y(rise + lost));
    });
    forEachBucket(plot, track, bucket, (index, left, width) => {
      if (track.resets?.[index]) paintMark(plot, left + width / 2, colours, "triangle");
    });
    for (const time of replacements) paintMark(plot, plot.valToPos(time, "x", true), colours, "diamond");
  });
}

/**
 * Stack each covered bucket's shares on a ground; the ground shows the rest, such as the time off.
 * @param {Plot} plot
 * @param {Track} track
 * @param {{bucket: number, colours: Colours, binary: boolean}} options
 */
export function paintShares(plot, track, { bucket, colours, binary }) {
  const states = track.states ?? [];
  const values = states.map(({ value }) => value);
  paintInside(plot, (ctx) => {
    const y = (/** @type {number} */ value) => plot.valToPos(value, "y", true);
    forEachBucket(plot, track, bucket, (index, left, width) => {
      if (!states.some(({ share }) => share[index] != null)) return;
      ctx.fillStyle = colours.grid;
      fillSpan(ctx, left, y(0), width, y(1));
      let level = 0;
      for (const { value, share } of states) {
        const part = share[index] ?? 0;
        if (!part || (binary && value === 0)) continue;
        const style = chooseStateStyle(value, values);
        ctx.fillStyle = binary ? colours.line : getPattern(ctx, style.pattern, colours.states[style.colour]);
        fillSpan(ctx, left, y(level), width, y(level + part));
        level += part;
      }
    });
  });
}

/**
 * Paint a small square in a state's style, for the legend.
 * @param {HTMLCanvasElement} canvas
 * @param {StateStyle} style
 * @param {Colours} colours
 */
export function paintSwatch(canvas, style, colours) {
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  ctx.fillStyle = getPattern(ctx, style.pattern, colours.states[style.colour]);
  ctx.fillRect(0, 0, canvas.width, canvas.height);
}

/**
 * Choose a state's style: small codes have the same in every range, others by their index among the values.
 * @param {number} value
 * @param {number[]} values
 * @returns {StateStyle}
 */
export function chooseStateStyle(value, values) {
  const small = Number.isInteger(value) && value >= 0 && value < STATE_COLOURS * PATTERNS;
  const number = small ? value : values.indexOf(value);
  return { colour: number % STATE_COLOURS, pattern: (number + Math.floor(number / STATE_COLOURS)) % PATTERNS };
}

/** Paint inside the plotting area only. @param {Plot} plot @param {(ctx: CanvasRenderingContext2D) => void} paint */
function paintInside(plot, paint) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = devicePixelRatio || 1;
  paint(ctx);
  ctx.restore();
}

/**
 * @param {Plot} plot @param {Track} track @param {number} bucket
 * @param {(index: number, left: number, width: number) => void} paint
 */
function forEachBucket(plot, track, bucket, paint) {
  const { min, max } = plot.scales.x;
  if (min == null || max == null) return;
  const gap = devicePixelRatio || 1;
  track.time.forEach((time, index) => {
    const length = countRequestedSeconds(track, index, bucket, { start: -Infinity, end: Infinity });
    if (time + length <= min || time >= max) return;
    const left = Math.round(plot.valToPos(time, "x", true));
    const right = Math.round(plot.valToPos(time + length, "x", true));
    // Bars that are wide enough stand apart.
    paint(index, left, Math.max(1, right - left - (right - left > 6 * gap ? gap : 0)));
  });
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} left @param {number} from @param {number} width @param {number} to
 */
function fillSpan(ctx, left, from, width, to) {
  ctx.fillRect(left, Math.min(from, to), width, Math.abs(to - from));
}

/**
 * Paint a dashed line with a sign on top.
 * @param {Plot} plot @param {number} x @param {Colours} colours
 * @param {"triangle" | "diamond"} sign
 */
function paintMark({ ctx, bbox }, x, colours, sign) {
  const size = 5 * (devicePixelRatio || 1);
  const top = bbox.top + 1;
  ctx.strokeStyle = ctx.fillStyle = colours.ink;
  ctx.setLineDash([size / 2, size / 2]);
  ctx.beginPath();
  ctx.moveTo(x, top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  if (sign === "triangle") {
    ctx.moveTo(x - size, top);
    ctx.lineTo(x + size, top);
    ctx.lineTo(x, top + 1.6 * size);
  } else {
    ctx.moveTo(x, top);
    ctx.lineTo(x + size, top + size);
    ctx.lineTo(x, top + 2 * size);
    ctx.lineTo(x - size, top + size);
  }
  ctx.fill();
}

/**
 * Return a pattern: 0 full, 1 hatched, 2 dotted, 3 striped; patterns distinguish states of similar colours.
 * @param {CanvasRenderingContext2D} ctx @param {number} number @param {string} colour
 */
function getPattern(ctx, number, colour) {
  if (number === 0) return colour;
  const key = `${number} ${colour} ${devicePixelRatio}`;
  const found = patterns.get(key);
  if (found) return found;
  const size = CELL * Math.ceil(devicePixelRatio || 1);
  const cell = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const pen = /** @type {CanvasRenderingContext2D} */ (cell.getContext("2d"));
  pen.strokeStyle = pen.fillStyle = colour;
  pen.globalAlpha = 0.3;
  pen.fillRect(0, 0, size, size);
  pen.globalAlpha = 1;
  pen.lineWidth = size / 4;
  pen.beginPath();
  if (number === 1) {
    for (const shift of [-size, 0, size]) {
      pen.moveTo(shift - 1, size + 1);
      pen.lineTo(shift + size + 1, -1);
    }
  } else if (number === 2) pen.arc(size / 2, size / 2, size / 4, 0, 2 * Math.PI);
  else {
    pen.moveTo(0, size / 2);
    pen.lineTo(size, size / 2);
  }
  if (number === 2) pen.fill();
  else pen.stroke();
  const pattern = /** @type {CanvasPattern} */ (ctx.createPattern(cell, "repeat"));
  patterns.set(key, pattern);
  return pattern;
}
