// Paints bars, states and corrected stretches on a chart's canvas: patterns beside colours.

/**
 * @import Plot from "../vendor/uPlot.esm.js"
 * @import { Bar } from "./bars.js"
 * @import { TimeWindow } from "./view.js"
 */

/**
 * @typedef {object} Colours
 * @property {string} line
 * @property {string} ink
 * @property {string} grid
 * @property {string} ground
 * @property {string[]} states by number
 */
/**
 * A colour is the number of one of the style sheet's, the owner's like #1f77b4, or the series' own.
 * @typedef {{colour: number | string, pattern: number}} StateStyle
 */
/**
 * A state over [from, to), from `low` to `high` (0 to 1) of the height of its row.
 * @typedef {object} Span
 * @property {number} from
 * @property {number} to
 * @property {number} row
 * @property {number} low
 * @property {number} high
 * @property {StateStyle | null} style null: the ground, on which a state is absent
 * @property {string} [word]
 */

/** Stands for the series' own colour in a style. */
export const SERIES_COLOUR = "series";
const STATE_COLOURS = 8;
const PATTERNS = 4;
const CELL = 6;
/** @type {Map<string, CanvasPattern>} */
const patterns = new Map();

/**
 * Paint bars; above them, hatched, what rose at an unknown time. Lines from top to bottom mark resets and replaced
 * meters.
 * @param {Plot} plot
 * @param {Bar[]} bars
 * @param {{colours: Colours, replacements: number[]}} options
 */
export function paintBars(plot, bars, { colours, replacements }) {
  paintInside(plot, (ctx) => {
    const y = (/** @type {number} */ value) => plot.valToPos(value, "y", true);
    for (const bar of bars) {
      const [left, width] = findSides(plot, bar);
      if (!width) continue;
      const { flow, back = 0, lost = 0 } = bar;
      ctx.fillStyle = bar.isSpread ? getPattern(ctx, 3, colours.line) : colours.line;
      fillSpan(ctx, left, y(0), width, y(flow));
      if (back) {
        ctx.fillStyle = getPattern(ctx, 2, colours.line);
        fillSpan(ctx, left, y(0), width, y(-back));
      }
      if (!lost) continue;
      ctx.fillStyle = getPattern(ctx, 1, colours.line);
      fillSpan(ctx, left, y(flow), width, y(flow + lost));
      ctx.strokeStyle = colours.line;
      ctx.strokeRect(left + 0.5, y(flow + lost) + 0.5, Math.max(1, width - 1), y(flow) - y(flow + lost));
    }
    for (const bar of bars) {
      const [left, width] = findSides(plot, bar);
      if (bar.resets && width) paintMark(plot, left + width / 2, colours, "triangle");
    }
    for (const time of replacements) paintMark(plot, plot.valToPos(time, "x", true), colours, "diamond");
  });
}

/**
 * Paint spans of states, each in its row: the share of a span's height that its state has; a word where it fits.
 * @param {Plot} plot
 * @param {Span[]} spans
 * @param {{colours: Colours, rows: number}} options rows from bottom to top
 */
export function paintSpans(plot, spans, { colours, rows }) {
  paintInside(plot, (ctx) => {
    const y = (/** @type {number} */ level) => plot.valToPos(level, "y", true);
    const ratio = devicePixelRatio || 1;
    ctx.font = `${12 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    for (const { from, to, row, low, high, style, word } of spans) {
      const [left, width] = findSides(plot, { from, to });
      if (!width) continue;
      const level = (/** @type {number} */ share) => y((row + (rows > 1 ? 0.1 + 0.8 * share : share)) / rows);
      ctx.fillStyle = style ? getPattern(ctx, style.pattern, chooseColour(colours, style)) : colours.grid;
      fillSpan(ctx, left, level(low), width, level(high));
      if (!word) continue;
      const length = ctx.measureText(word).width + 12 * ratio;
      if (length > width - 8 * ratio) continue;
      const middle = level((low + high) / 2);
      ctx.fillStyle = colours.ground;
      ctx.beginPath();
      ctx.roundRect(left + 4 * ratio, middle - 10 * ratio, length, 20 * ratio, 4 * ratio);
      ctx.fill();
      ctx.fillStyle = colours.ink;
      ctx.fillText(word, left + 10 * ratio, middle);
    }
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
  ctx.fillStyle = getPattern(ctx, style.pattern, chooseColour(colours, style));
  ctx.fillRect(0, 0, canvas.width, canvas.height);
}

/**
 * Paint the stretches with corrected readings as a hatched ground.
 * @param {Plot} plot
 * @param {TimeWindow[]} stretches
 * @param {Colours} colours
 */
export function paintStretches(plot, stretches, colours) {
  paintInside(plot, (ctx) => {
    ctx.globalAlpha = 0.35;
    ctx.fillStyle = getPattern(ctx, 1, colours.ink);
    for (const { start, end } of stretches) {
      const [left, width] = findSides(plot, { from: start, to: end });
      const least = 4 * (devicePixelRatio || 1);
      if (width) ctx.fillRect(left - (width < least ? least / 2 : 0), plot.bbox.top, Math.max(least, width), plot.bbox.height);
    }
  });
}

/**
 * Choose a state's style: the owner's colour; else small codes have the same in every range, others by their index
 * among the values.
 * @param {number} value
 * @param {number[]} values
 * @param {string} [colour] the owner's
 * @returns {StateStyle}
 */
export function chooseStateStyle(value, values, colour = "") {
  if (colour) return { colour, pattern: 0 };
  const small = Number.isInteger(value) && value >= 0 && value < STATE_COLOURS * PATTERNS;
  const number = small ? value : Math.max(0, values.indexOf(value));
  return { colour: number % STATE_COLOURS, pattern: (number + Math.floor(number / STATE_COLOURS)) % PATTERNS };
}

/** @param {Colours} colours @param {StateStyle} style */
function chooseColour(colours, { colour }) {
  if (typeof colour === "number") return colours.states[colour];
  return colour === SERIES_COLOUR ? colours.line : colour;
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
 * Find the left side and the width of a stretch on the canvas; the width is 0 outside the window.
 * @param {Plot} plot
 * @param {{from: number, to: number}} stretch
 * @returns {[number, number]}
 */
function findSides(plot, { from, to }) {
  const { min, max } = plot.scales.x;
  if (min == null || max == null || to <= min || from >= max) return [0, 0];
  const gap = devicePixelRatio || 1;
  const left = Math.round(plot.valToPos(from, "x", true));
  const right = Math.round(plot.valToPos(to, "x", true));
  // Bars that are wide enough stand apart.
  return [left, Math.max(1, right - left - (right - left > 6 * gap ? gap : 0))];
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
