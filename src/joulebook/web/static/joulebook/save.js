// What is shown, as a picture or as CSV: copied to the clipboard or saved as a file.

import { formatRfc3339, formatWindow } from "./instant.js";
import { tableOf, tidy } from "./table.js";

/** @typedef {import("./sheet.js").Sheet} Sheet */
/** @typedef {import("./panel.js").Panel} Panel */

const TITLE_HEIGHT = 44;
const MARGIN = 16;

/**
 * Draw the charts below each other on one picture.
 * @param {string} title
 * @param {Sheet} sheet
 * @param {Panel[]} panels
 * @returns {Promise<Blob>} PNG
 */
export async function pictureOf(title, sheet, panels) {
  const charts = panels.map((panel) => ({ panel, canvas: panel.chart.canvas }));
  const ratio = devicePixelRatio || 1;
  const width = Math.max(...charts.map(({ canvas }) => canvas.width)) + 2 * MARGIN * ratio;
  const height = charts.reduce(
    (sum, { canvas }) => sum + canvas.height + TITLE_HEIGHT * ratio,
    TITLE_HEIGHT * ratio,
  );
  const picture = Object.assign(document.createElement("canvas"), { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
  const style = getComputedStyle(panels[0].root);
  const write = (
    /** @type {string} */ text,
    /** @type {number} */ y,
    /** @type {number} */ size,
    /** @type {string} */ colour,
  ) => {
    context.fillStyle = style.getPropertyValue(colour).trim();
    context.font = `${size * ratio}px ${style.fontFamily}`;
    context.fillText(text, MARGIN * ratio, y);
  };
  context.fillStyle = style.getPropertyValue("--surface").trim();
  context.fillRect(0, 0, width, height);
  const { start, end } = sheet.window;
  write(
    `${title} · ${formatWindow(start, end, sheet.view.tz)} (${sheet.view.tz})`,
    28 * ratio,
    13,
    "--muted",
  );
  let y = TITLE_HEIGHT * ratio;
  for (const { panel, canvas } of charts) {
    const name = `${panel.info.label}${panel.unit ? ` (${panel.unit})` : ""}`;
    write(`${name} · ${panel.words}`, y + 28 * ratio, 15, "--ink");
    y += TITLE_HEIGHT * ratio;
    context.drawImage(canvas, MARGIN * ratio, y);
    y += canvas.height;
  }
  return new Promise((resolve, reject) => {
    picture.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("the browser made no picture"))),
      "image/png",
    );
  });
}

/**
 * The points as CSV: RFC 3339 times, metrics by their own names.
 * @param {Sheet} sheet
 */
export function csvOf(sheet) {
  const { head, rows } = tableOf(sheet, (metric) => metric);
  const lines = rows.map(([time, ...values]) =>
    [formatRfc3339(time, sheet.view.tz), ...values.map((value) => (value == null ? "" : tidy(value)))].join(
      ",",
    ),
  );
  return `${[head.map(quoted).join(","), ...lines].join("\r\n")}\r\n`;
}

/** A name that a spreadsheet would take for a formula is made plain text. @param {string} name */
function quoted(name) {
  const plain = /^[=+\-@\t\r]/.test(name) ? `'${name}` : name;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Whether the browser lets this page use the clipboard: from this machine or behind TLS only. */
export const canCopy = () => Boolean(navigator.clipboard && "ClipboardItem" in window);

/** @param {Blob} blob */
export function copy(blob) {
  return navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
}
