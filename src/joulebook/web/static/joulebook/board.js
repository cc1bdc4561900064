// The board: all panels of a device, with one window, one cursor and the same keys.

import { watchGestures } from "./gestures.js";
import { getServerTime } from "./history-client.js";
import { Panel } from "./panel.js";

/**
 * @import { Choice, MetricInfo } from "./panel.js"
 * @import { Sheet } from "./sheet.js"
 * @import { TimeWindow } from "./view.js"
 */

const ZOOM_STEP = 0.5;
/** In seconds. */
const LONG_WINDOW = 600;

/** All panels together. */
export class Board {
  /**
   * @param {object} elements
   * @param {HTMLElement} elements.host contains the panels, at first skeletons
   * @param {HTMLTemplateElement} elements.template
   * @param {HTMLElement} elements.announcer a polite live region
   * @param {object} handlers
   * @param {(start: number, end: number) => void} handlers.commit show this window
   * @param {() => void} handlers.back
   * @param {() => void} handlers.released a gesture ended
   * @param {(choice: Choice) => void} handlers.choose readings were chosen; see `startChoosing`
   */
  constructor({ host, template, announcer }, handlers) {
    this.host = host;
    this.template = template;
    this.announcer = announcer;
    this.handlers = handlers;
    /** @type {Map<string, Panel>} */
    this.panels = new Map();
    /** @type {number | null} */
    this.cursor = null;
    /** During a gesture nothing else moves or redraws the charts. */
    this.held = false;
    this.isChoosing = false;
    /** @type {Choice | null} */
    this.chosen = null;
    /** @type {Choice | null} the end of a choice that the keyboard has begun */
    this.anchor = null;
    this.host.addEventListener("keydown", (event) => this.#onKey(event));
    const redraw = () => this.forEachPanel((panel) => panel.chart.redraw());
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  /** @param {(panel: Panel) => void} action */
  forEachPanel(action) {
    this.panels.forEach(action);
  }

  /**
   * Arrange exactly these panels in this order; panels already on the board stay unchanged.
   * @param {MetricInfo[]} infos
   */
  arrange(infos) {
    const wanted = new Set(infos.map((info) => info.metric));
    for (const [metric, panel] of this.panels) {
      if (wanted.has(metric)) continue;
      panel.destroy();
      this.panels.delete(metric);
    }
    for (const root of [...this.host.children]) {
      if (!wanted.has(/** @type {HTMLElement} */ (root).dataset.metric ?? "")) root.remove();
    }
    infos.forEach((info, position) => {
      const panel = this.panels.get(info.metric) ?? this.#adopt(info);
      if (this.host.children[position] !== panel.root)
        this.host.insertBefore(panel.root, this.host.children[position] ?? null);
    });
  }

  /** Draw a sheet in all panels. @param {Sheet} sheet */
  show(sheet) {
    const now = getServerTime();
    this.forEachPanel((panel) => panel.show(sheet, now));
    this.pointAt(this.cursor);
  }

  /** Stretch the curves over another window while its readings are fetched. @param {TimeWindow} window */
  stretch(window) {
    this.forEachPanel((panel) => panel.chart.setWindow(window));
  }

  /** @param {boolean} busy */
  setBusy(busy) {
    this.host.setAttribute("aria-busy", String(busy));
  }

  /** Move the cursor of all panels to an instant, or hide it. @param {number | null} time */
  pointAt(time) {
    this.cursor = time;
    this.forEachPanel((panel) => panel.pointAt(time));
  }

  /** From now on drags, presses and Enter choose readings. */
  startChoosing() {
    this.isChoosing = true;
    this.anchor = null;
    this.showChosen(null);
  }

  /** Zoom again by drags. */
  stopChoosing() {
    this.isChoosing = false;
    this.showChosen(null);
  }

  /** Shade the chosen readings in all panels, or nothing. @param {Choice | null} choice */
  showChosen(choice) {
    this.chosen = choice;
    this.forEachPanel((panel) => panel.chart.setSelection(choice && choice.start, choice?.end));
  }

  /** @param {Choice} choice */
  #choose(choice) {
    this.showChosen(choice);
    this.handlers.choose(choice);
  }

  /** Choose by the keyboard: first one point, then all up to another. @param {Panel} panel */
  #chooseAtCursor(panel) {
    const here = this.cursor == null ? null : panel.getChoiceAt(this.cursor);
    if (!here) return;
    const { anchor } = this;
    this.anchor = anchor ? null : here;
    if (!anchor || anchor.start === here.start) this.#choose(here);
    else {
      const [first, last] = anchor.start < here.start ? [anchor, here] : [here, anchor];
      this.#choose({ start: first.start, end: last.end, isPoint: false });
    }
  }

  /** @param {MetricInfo} info */
  #adopt(info) {
    const skeleton = [...this.host.children].find(
      (root) => /** @type {HTMLElement} */ (root).dataset.metric === info.metric,
    );
    const fresh = () =>
      /** @type {HTMLElement} */ (
        /** @type {DocumentFragment} */ (this.template.content.cloneNode(true)).firstElementChild
      );
    const panel = new Panel(/** @type {HTMLElement} */ (skeleton ?? fresh()), info);
    this.panels.set(info.metric, panel);
    this.host.append(panel.root);
    watchGestures(panel.chart, {
      point: (time) => this.pointAt(time),
      select: (from, to) => {
        if (from == null) this.showChosen(this.chosen);
        else this.forEachPanel((other) => other.chart.setSelection(from, to));
      },
      preview: (start, end) => this.stretch({ start, end }),
      hold: (held) => this.#hold(held),
      commit: this.handlers.commit,
      back: this.handlers.back,
      isChoosing: () => this.isChoosing,
      choose: (start, end) => this.#choose({ ...roundStretch(start, end, panel.chart.window), isPoint: false }),
      pick: (time) => {
        const choice = panel.getChoiceAt(time);
        if (choice) this.#choose(choice);
      },
    });
    return panel;
  }

  /** @param {boolean} held */
  #hold(held) {
    const released = this.held && !held;
    this.held = held;
    if (released) this.handlers.released();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const panel = [...this.panels.values()].find((candidate) => candidate.plotBox === target);
    if (!panel || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#press(event.key, event.shiftKey, panel)) event.preventDefault();
  }

  /**
   * @param {string} key @param {boolean} shift @param {Panel} panel
   * @returns {boolean} whether the key has a meaning here
   */
  #press(key, shift, panel) {
    const step = shift ? 10 : 1;
    if (key === "ArrowLeft") this.#moveCursor(panel, -step);
    else if (key === "ArrowRight") this.#moveCursor(panel, step);
    else if (key === "Home") this.#moveCursor(panel, -Infinity);
    else if (key === "End") this.#moveCursor(panel, Infinity);
    else if ((key === "Enter" || key === " ") && this.isChoosing) this.#chooseAtCursor(panel);
    else if (key === "+" || key === "=") this.#zoom(panel, ZOOM_STEP);
    else if (key === "-" || key === "_") this.#zoom(panel, 1 / ZOOM_STEP);
    else if (key === "Backspace") this.handlers.back();
    else if (key === "Escape") this.pointAt(null);
    else return false;
    return true;
  }

  /**
   * Move the cursor along the panel's points in the window, and announce the point.
   * @param {Panel} panel @param {number} by
   */
  #moveCursor(panel, by) {
    const { start, end } = panel.chart.window;
    const [times, , , mean] = panel.columns;
    const stops = times.flatMap((time, index) =>
      mean[index] != null && time >= start && time <= end ? [index] : [],
    );
    if (!stops.length) return;
    const at =
      this.cursor == null
        ? -1
        : stops.findIndex((index) => times[index] >= /** @type {number} */ (this.cursor));
    const here = this.cursor == null ? (by > 0 ? -1 : stops.length) : at < 0 ? stops.length - 1 : at;
    const index = stops[Math.max(0, Math.min(stops.length - 1, here + by))];
    this.pointAt(times[index]);
    this.announcer.textContent = `${panel.info.label}, ${panel.describePoint(index, times[index])}`;
  }

  /** Zoom about the cursor, or about the middle. @param {Panel} panel @param {number} factor */
  #zoom(panel, factor) {
    const { start, end } = panel.chart.window;
    const inside = this.cursor != null && this.cursor >= start && this.cursor <= end;
    const centre = inside ? /** @type {number} */ (this.cursor) : (start + end) / 2;
    this.handlers.commit(centre - (centre - start) * factor, centre + (end - centre) * factor);
  }
}

/**
 * Round a dragged stretch to whole seconds, where a pixel is longer than one.
 * @param {number} start
 * @param {number} end
 * @param {TimeWindow} window
 */
function roundStretch(start, end, window) {
  const step = window.end - window.start > LONG_WINDOW ? 1 : 0.001;
  const from = Math.floor(start / step) * step;
  return { start: from, end: Math.max(from + step, Math.ceil(end / step) * step) };
}
