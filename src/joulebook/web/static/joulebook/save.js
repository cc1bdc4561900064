// The charts as a picture or their points as CSV: copied to the clipboard or saved as a file.

import { formatRfc3339, formatWindow } from "./instant.js";
import { makeTable, tidy } from "./table.js";

/**
 * @import { Panel } from "./panel.js"
 * @import { Sheet } from "./sheet.js"
 */

const TITLE_HEIGHT = 44;
const MARGIN = 16;

/**
 * Draw the charts below each other in one picture.
 * @param {string} title
 * @param {Sheet} sheet
 * @param {Panel[]} panels
 * @returns {Promise<Blob>} PNG
 */
export async function drawPicture(title, sheet, panels) {
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
    write(`${name} · ${panel.pointsText}`, y + 28 * ratio, 15, "--ink");
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
 * Write the points as CSV: RFC 3339 times, metrics by their own names.
 * @param {Sheet} sheet
 */
export function formatCsv(sheet) {
  const { head, rows } = makeTable(sheet, (metric) => metric);
  const lines = rows.map(([time, ...values]) =>
    [
      formatRfc3339(time, sheet.view.tz),
      ...values.map((value) =>
        value == null ? "" : typeof value === "string" ? quoteCell(value) : String(tidy(value)),
      ),
    ].join(","),
  );
  return `${[head.map(quoteCell).join(","), ...lines].join("\r\n")}\r\n`;
}

/** Quote a name for CSV; spreadsheets read it as text even if it begins like a formula. @param {string} name */
function quoteCell(name) {
  const plain = /^[=+\-@\t\r]/.test(name) ? `'${name}` : name;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** Save a file under a name. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Return whether the page may use the clipboard: browsers allow it from this machine or behind TLS only. */
export const canCopy = () => Boolean(navigator.clipboard && "ClipboardItem" in window);

/** Copy to the clipboard. @param {Blob} blob */
export function copy(blob) {
  return navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
}
