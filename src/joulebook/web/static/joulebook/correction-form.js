// The form of corrections below a chart: chooses readings and an edit, previews, applies and undoes it.

import { askCorrections, CorrectionRefused } from "./correction-client.js";
import { showPreview, showOutcome } from "./correction-result.js";
import { formatExactInput, formatInstant, formatMicros, parseLocalTime } from "./instant.js";

/**
 * @import { CorrectionOrder } from "./correction-client.js"
 * @import { Correction, Preview } from "./correction-result.js"
 * @import { Choice, MetricInfo, Panel } from "./panel.js"
 */
/**
 * @typedef {object} FormHandlers
 * @property {() => string} getZone
 * @property {(metric: string) => string} getLabel
 * @property {(metric: string) => string} getUnit
 * @property {(choice: Choice | null) => void} shade show the chosen readings on the charts
 * @property {() => void} closed
 * @property {() => void} changed readings have changed: fetch them again
 */

const POLL_MS = 700;
/** A correction that waits longer than this has no worker. */
const PATIENCE_MS = 15_000;
const ENDED = new Set(["done", "failed", "undone"]);

/** The form; it moves below the chart of the metric to correct. */
export class CorrectionForm {
  /**
   * @param {HTMLElement} root made from devices/_correction.html
   * @param {{device: string, url: string, metrics: MetricInfo[]}} page `url` is the API's address
   * @param {FormHandlers} handlers
   */
  constructor(root, page, handlers) {
    this.root = root;
    this.page = page;
    this.handlers = handlers;
    /** @type {Choice | null} */
    this.choice = null;
    this.metric = "";
    this.form = /** @type {HTMLFormElement} */ (this.#getPart("form"));
    this.form.addEventListener("input", (event) => this.#onInput(/** @type {HTMLElement} */ (event.target)));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#preview();
    });
    this.#getPart("apply").addEventListener("click", () => this.#apply());
    this.#getPart("close").addEventListener("click", () => this.close());
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  /** Open below a panel. @param {Panel} panel */
  open(panel) {
    this.metric = panel.info.metric;
    panel.root.append(this.root);
    this.root.hidden = false;
    this.#getPart("metric").textContent = panel.info.label;
    for (const unit of this.root.querySelectorAll('[data-part="correction-unit"]'))
      unit.textContent = this.handlers.getUnit(this.metric);
    this.#listMetrics();
    this.#getPart("zone").textContent = this.handlers.getZone();
    this.#getPart("result").replaceChildren();
    this.#offerApply(false);
    this.#getPart("help").hidden = false;
    /** @type {HTMLElement} */ (this.root.querySelector("h3")).focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "nearest" });
  }

  close() {
    this.root.hidden = true;
    this.choice = null;
    this.handlers.closed();
  }

  /** Take over readings chosen on a chart. @param {Choice} choice */
  choose(choice) {
    this.choice = choice;
    const zone = this.handlers.getZone();
    this.#getField("start").value = formatExactInput(choice.start, zone);
    this.#getField("end").value = formatExactInput(choice.end, zone);
    const point = this.#getRadio("which", "point");
    point.disabled = !choice.isPoint;
    this.#getRadio("which", choice.isPoint ? "point" : "range").checked = true;
    this.#getPart("point").textContent = choice.isPoint
      ? `The reading of ${formatInstant(choice.start, zone)}`
      : "One reading: press it on the chart";
    this.#getPart("zone").textContent = zone;
    this.#getPart("help").hidden = true;
    this.#offerApply(false);
    this.#getPart("result").replaceChildren();
  }

  /** @param {string} name @returns {HTMLElement} */
  #getPart(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="correction-${name}"]`));
  }

  /** @param {string} name @returns {HTMLInputElement} */
  #getField(name) {
    return /** @type {HTMLInputElement} */ (this.form.elements.namedItem(name));
  }

  /** @param {string} name @param {string} value @returns {HTMLInputElement} */
  #getRadio(name, value) {
    return /** @type {HTMLInputElement} */ (this.form.querySelector(`[name="${name}"][value="${value}"]`));
  }

  #listMetrics() {
    const others = this.page.metrics.filter(({ metric }) => metric !== this.metric);
    const box = this.#getPart("metrics");
    /** @type {HTMLElement} */ (box.parentElement).hidden = !others.length;
    box.replaceChildren(
      ...others.map(({ metric, label }) => {
        const item = Object.assign(document.createElement("label"), { className: "choice" });
        const input = Object.assign(document.createElement("input"), { type: "checkbox", name: "metric", value: metric });
        item.append(input, ` ${label}`);
        return item;
      }),
    );
  }

  /** @param {HTMLElement} field */
  #onInput(field) {
    const { name } = /** @type {HTMLInputElement} */ (field);
    const kind = String(new FormData(this.form).get("kind"));
    for (const part of /** @type {NodeListOf<HTMLElement>} */ (this.form.querySelectorAll("[data-for]")))
      part.hidden = part.dataset.for !== kind;
    this.#getPart("constant").hidden = this.#getField("fill").value !== "constant";
    if (name === "start" || name === "end") {
      this.#getRadio("which", "range").checked = true;
      const [start, end] = ["start", "end"].map((each) => parseLocalTime(this.#getField(each).value, this.handlers.getZone()));
      this.choice = start < end ? { start, end, isPoint: false } : null;
      this.handlers.shade(this.choice);
    }
    this.#offerApply(false);
  }

  /** @param {boolean} offered */
  #offerApply(offered) {
    this.#getPart("apply").hidden = !offered;
  }

  /** Make the order of the form's fields. @returns {CorrectionOrder} @throws {CorrectionRefused} */
  #makeOrder() {
    const data = new FormData(this.form);
    const read = (/** @type {string} */ name, /** @type {string} */ label) => readNumber(String(data.get(name) ?? ""), label);
    const kind = String(data.get("kind"));
    if (!this.choice) throw new CorrectionRefused("Choose the readings first: the end must lie after the start.");
    /** @type {CorrectionOrder} */
    const order = {
      device: this.page.device,
      metrics: [this.metric, ...data.getAll("metric").map(String)],
      kind,
      reason: String(data.get("reason")).trim(),
    };
    if (data.get("which") === "point") order.times = [formatMicros(this.choice.start)];
    else Object.assign(order, { start: formatMicros(this.choice.start), end: formatMicros(this.choice.end) });
    if (kind === "set") order.value = read("value", "the value");
    if (kind === "scale") Object.assign(order, { factor: read("factor", "the factor"), offset: read("offset", "the offset") });
    if (kind === "shift") order.seconds = read("by", "the shift") * Number(data.get("by_unit"));
    if (kind === "fill") {
      order.step = read("step", "the step");
      if (data.get("fill") === "constant") order.value = read("fill_value", "the value");
    }
    return order;
  }

  async #preview() {
    await this.#act("Looking up what changes …", async () => {
      const order = this.#makeOrder();
      /** @type {Preview} */
      const preview = await this.#post(this.page.url, { ...order, dry_run: true });
      showPreview(this.#getPart("result"), preview, this.handlers);
      this.order = order;
      this.#offerApply(true);
    });
  }

  async #apply() {
    const { order } = this;
    if (!order) return;
    this.#offerApply(false);
    await this.#act("Correcting …", async () => {
      /** @type {Correction} */
      const begun = await this.#post(this.page.url, order);
      await this.#follow(begun);
    });
  }

  /** Undo a correction. @param {number} number */
  async undo(number) {
    await this.#act("Undoing …", async () => {
      /** @type {Correction} */
      const begun = await this.#post(`${this.page.url}/${number}/undo`);
      await this.#follow(begun);
    });
  }

  /** Wait until the worker has finished a correction or its undo, and show it. @param {Correction} begun */
  async #follow(begun) {
    let correction = begun;
    const since = performance.now();
    while (!ENDED.has(correction.state)) {
      if (performance.now() - since > PATIENCE_MS && ["queued", "undoing"].includes(correction.state))
        this.#say(`Correction ${correction.id} waits for a worker: start joulebook worker if none runs.`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      correction = /** @type {Correction} */ (await askCorrections(`${this.page.url}/${correction.id}`));
    }
    showOutcome(this.#getPart("result"), correction, { ...this.handlers, undo: (number) => this.undo(number) });
    this.handlers.shade(null);
    this.handlers.changed();
  }

  /** @param {string} url @param {object} [body] */
  #post(url, body) {
    const csrf = this.#getField("csrfmiddlewaretoken").value;
    return askCorrections(url, { csrf, ...(body ? { body } : {}) });
  }

  /** @param {string} words @param {string} [className] */
  #say(words, className = "muted") {
    this.#getPart("result").replaceChildren(
      Object.assign(document.createElement("p"), { className, textContent: words }),
    );
  }

  /** Say what is being done, do it, and show a refusal. @param {string} words @param {() => Promise<void>} task */
  async #act(words, task) {
    this.#say(words);
    this.root.setAttribute("aria-busy", "true");
    try {
      await task();
    } catch (error) {
      if (!(error instanceof CorrectionRefused)) throw error;
      this.#say(error.message, "note bad");
    } finally {
      this.root.removeAttribute("aria-busy");
    }
  }
}

/**
 * Read a number with a point or a comma.
 * @param {string} text @param {string} label
 * @throws {CorrectionRefused}
 */
function readNumber(text, label) {
  const plain = text.trim().replace("\u2212", "-").replaceAll("\u202f", "");
  const number = Number(plain.includes(".") ? plain : plain.replace(",", "."));
  if (!plain || !Number.isFinite(number))
    throw new CorrectionRefused(`“${text}” is no number; write ${label} like 18342.5.`);
  return number;
}
