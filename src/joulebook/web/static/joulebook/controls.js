// The bar above the charts: ranges, steps, any range, zone, metrics, live.

import { formatInputValue, formatWindow, parseLocalTime } from "./instant.js";

/**
 * @import { MetricInfo } from "./panel.js"
 * @import { TimeWindow, View } from "./view.js"
 */

const LIVE_WORDS = {
  loading: "Loading",
  live: "Live",
  silent: "Silent",
  reconnecting: "Reconnecting",
  paused: "Paused",
};

/**
 * @typedef {object} ControlHandlers
 * @property {(preset: string) => void} preset
 * @property {(direction: -1 | 1) => void} step
 * @property {(start: number, end: number) => void} range
 * @property {(tz: string) => void} zone
 * @property {(metrics: string[]) => void} metrics
 * @property {() => void} live pause, or return to the present
 */

/** The bar; it shows the page's view and reports requests for others. */
export class Controls {
  /**
   * @param {HTMLElement} root
   * @param {string[]} zones
   * @param {ControlHandlers} handlers
   */
  constructor(root, zones, handlers) {
    this.root = root;
    this.handlers = handlers;
    this.tz = zones[0];
    const zoneSelect = /** @type {HTMLSelectElement} */ (this.getPart("zone"));
    zoneSelect.replaceChildren(...zones.map((name) => new Option(name, name)));
    zoneSelect.addEventListener("change", () => handlers.zone(zoneSelect.value));
    for (const button of this.#buttons("[data-range]")) {
      button.addEventListener("click", () => handlers.preset(/** @type {string} */ (button.dataset.range)));
    }
    for (const button of this.#buttons("[data-step]")) {
      button.addEventListener("click", () => handlers.step(button.dataset.step === "1" ? 1 : -1));
    }
    this.getPart("live").addEventListener("click", () => handlers.live());
    this.getPart("range-form").addEventListener("submit", (event) => this.#submitRange(event));
    this.getPart("metric-choices").addEventListener("change", () => handlers.metrics(this.#listChosen()));
    root.hidden = false;
  }

  /** @param {string} name */
  getPart(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
  }

  /**
   * Show the page's view, and its window once that is known.
   * @param {View} view
   * @param {TimeWindow | null} window
   */
  show(view, window) {
    this.tz = view.tz;
    for (const button of this.#buttons("[data-range]")) {
      const pressed = button.dataset.range === view.preset;
      button.setAttribute("aria-pressed", String(pressed));
      // On a small screen the ranges scroll sideways.
      if (pressed && button.parentElement) button.parentElement.scrollLeft = button.offsetLeft - 80;
    }
    for (const button of this.#buttons("[data-step='1']")) button.disabled = view.preset !== null;
    for (const button of this.#buttons("[data-step='-1']")) button.disabled = view.preset === "all";
    const zoneSelect = /** @type {HTMLSelectElement} */ (this.getPart("zone"));
    if (![...zoneSelect.options].some((option) => option.value === view.tz))
      zoneSelect.add(new Option(view.tz, view.tz));
    zoneSelect.value = view.tz;
    if (!window) return;
    this.getPart("range-text").textContent = formatWindow(window.start, window.end, view.tz);
    const form = /** @type {HTMLFormElement} */ (this.getPart("range-form"));
    if (form.contains(document.activeElement)) return;
    for (const name of /** @type {const} */ (["start", "end"])) {
      /** @type {HTMLInputElement} */ (form.elements.namedItem(name)).value = formatInputValue(
        window[name],
        view.tz,
      );
    }
  }

  /** @param {MetricInfo[]} infos @param {string[]} shown */
  showMetrics(infos, shown) {
    this.getPart("metric-count").textContent =
      shown.length === infos.length ? `${infos.length}` : `${shown.length} of ${infos.length}`;
    const box = this.getPart("metric-choices");
    const known = new Map(this.#checkboxes().map((input) => [input.value, input]));
    for (const { metric, label } of infos) {
      const input = known.get(metric) ?? this.#addCheckbox(box, metric, label);
      input.checked = shown.includes(metric);
      // The last metric stays checked: a page without metrics would be empty.
      input.disabled = input.checked && shown.length === 1;
    }
  }

  /** @param {keyof typeof LIVE_WORDS} state */
  showLive(state) {
    this.getPart("live").dataset.state = state;
    this.getPart("live").title = state === "paused" ? "Back to the present" : "Pause here";
    this.getPart("live-text").textContent = LIVE_WORDS[state];
  }

  /** @param {string} selector @returns {HTMLButtonElement[]} */
  #buttons(selector) {
    return [...this.root.querySelectorAll(selector)].map(
      (button) => /** @type {HTMLButtonElement} */ (button),
    );
  }

  /** @returns {HTMLInputElement[]} */
  #checkboxes() {
    return [...this.getPart("metric-choices").querySelectorAll("input")];
  }

  #listChosen() {
    return this.#checkboxes()
      .filter((input) => input.checked)
      .map((input) => input.value);
  }

  /** @param {HTMLElement} box @param {string} metric @param {string} text */
  #addCheckbox(box, metric, text) {
    const label = document.createElement("label");
    label.className = "choice";
    const input = Object.assign(document.createElement("input"), { type: "checkbox", value: metric });
    label.append(input, ` ${text}`);
    box.append(label);
    return input;
  }

  /** @param {Event} event */
  #submitRange(event) {
    event.preventDefault();
    const data = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const [start, end] = ["start", "end"].map((name) => parseLocalTime(String(data.get(name)), this.tz));
    const error = this.getPart("range-error");
    error.hidden = start < end;
    error.textContent = "The end must lie after the start.";
    if (!(start < end)) return;
    this.getPart("range-menu").removeAttribute("open");
    this.handlers.range(start, end);
  }
}
