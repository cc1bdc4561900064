// Gestures of pointers and wheels on a chart, as changes of time: select, pan, zoom, point, go back.

/** @import { TimeWindow } from "./view.js" */

/**
 * @typedef {object} Target
 * @property {HTMLElement} surface
 * @property {(clientX: number) => number} timeAt
 * @property {TimeWindow} window
 */
/**
 * @typedef {object} Handlers
 * @property {(time: number | null) => void} point the pointer is at an instant, or null: it left
 * @property {(from: number | null, to?: number) => void} select shade a stretch of time, or null: none
 * @property {(start: number, end: number) => void} preview show a window for now
 * @property {(held: boolean) => void} hold a gesture begins or ends
 * @property {(start: number, end: number) => void} commit show a window and fetch it
 * @property {() => void} back
 * @property {() => boolean} isChoosing whether a drag chooses readings; else it zooms
 * @property {(start: number, end: number) => void} choose a stretch was dragged
 * @property {(time: number) => void} pick the chart was pressed at an instant
 */

/** Pointers need no focus ring; it is for keys. */
const QUIET_FOCUS = /** @type {FocusOptions} */ ({ preventScroll: true, focusVisible: false });
const LEAST_DRAG = 6;
const SETTLE_MS = 250;
const SCROLL_REST_MS = 400;
let lastScroll = -Infinity;
addEventListener(
  "scroll",
  () => {
    lastScroll = performance.now();
  },
  { passive: true },
);

/**
 * Watch a chart's surface. Dragging zooms or chooses readings, with shift it pans; two fingers pinch; one finger
 * points or chooses; the wheel zooms about the pointer unless the page has just been scrolled.
 * @param {Target} target
 * @param {Handlers} handlers
 */
export function watchGestures(target, handlers) {
  const { surface } = target;
  watchPointers(target, handlers);
  watchWheel(target, handlers);
  surface.addEventListener("dblclick", (event) => {
    event.preventDefault();
    if (!handlers.isChoosing()) handlers.back();
  });
}

/** @param {Target} target @param {Handlers} handlers */
function watchPointers(target, handlers) {
  const { surface } = target;
  /** @type {Map<number, number>} clientX of each pressed pointer */
  const pressed = new Map();
  /** @type {ReturnType<typeof startDrag> | null} */
  let drag = null;

  surface.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    pressed.set(event.pointerId, event.clientX);
    surface.setPointerCapture(event.pointerId);
    handlers.hold(true);
    /** @type {HTMLElement | null} */ (surface.closest("[tabindex]"))?.focus(QUIET_FOCUS);
    drag?.cancel();
    if (pressed.size === 2) drag = startPinch(target, handlers, pressed);
    else {
      const isScrub = event.pointerType === "touch" && !handlers.isChoosing();
      drag = isScrub ? startScrub(target, handlers) : startDrag(target, handlers, event);
    }
  });
  surface.addEventListener("pointermove", (event) => {
    if (pressed.has(event.pointerId)) {
      pressed.set(event.pointerId, event.clientX);
      drag?.move(event.clientX);
    } else if (event.pointerType !== "touch") handlers.point(target.timeAt(event.clientX));
  });
  const release = (/** @type {PointerEvent} */ event) => {
    if (!pressed.delete(event.pointerId)) return;
    if (event.type === "pointerup") drag?.end(event.clientX);
    else drag?.cancel();
    drag = null;
    handlers.hold(pressed.size > 0);
  };
  surface.addEventListener("pointerup", release);
  surface.addEventListener("pointercancel", release);
  surface.addEventListener("pointerleave", (event) => {
    if (event.pointerType !== "touch" && !pressed.size) handlers.point(null);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && drag) {
      drag.cancel();
      drag = null;
    }
  });
}

/** @param {Target} target @param {Handlers} handlers @param {PointerEvent} down */
function startDrag(target, handlers, down) {
  if (down.shiftKey) return startPan(target, handlers, down.clientX);
  const origin = down.clientX;
  const from = target.timeAt(origin);
  const far = (/** @type {number} */ x) => Math.abs(x - origin) >= LEAST_DRAG;
  return {
    move(/** @type {number} */ x) {
      handlers.point(target.timeAt(x));
      handlers.select(far(x) ? from : null, target.timeAt(x));
    },
    end(/** @type {number} */ x) {
      handlers.select(null);
      const to = target.timeAt(x);
      const act = handlers.isChoosing() ? handlers.choose : handlers.commit;
      if (far(x)) act(Math.min(from, to), Math.max(from, to));
      else if (handlers.isChoosing()) handlers.pick(from);
    },
    cancel: () => handlers.select(null),
  };
}

/** @param {Target} target @param {Handlers} handlers @param {number} origin */
function startPan(target, handlers, origin) {
  const before = target.window;
  const perPixel = (before.end - before.start) / target.surface.clientWidth;
  const moved = (/** @type {number} */ x) =>
    /** @type {[number, number]} */ ([
      before.start - (x - origin) * perPixel,
      before.end - (x - origin) * perPixel,
    ]);
  return {
    move: (/** @type {number} */ x) => handlers.preview(...moved(x)),
    end: (/** @type {number} */ x) => (x === origin ? undefined : handlers.commit(...moved(x))),
    cancel: () => handlers.preview(before.start, before.end),
  };
}

/** @param {Target} target @param {Handlers} handlers */
function startScrub(target, handlers) {
  const move = (/** @type {number} */ x) => handlers.point(target.timeAt(x));
  return { move, end: move, cancel: () => handlers.point(null) };
}

/** @param {Target} target @param {Handlers} handlers @param {Map<number, number>} pressed */
function startPinch(target, handlers, pressed) {
  const before = target.window;
  const box = target.surface.getBoundingClientRect();
  const shares = () => [...pressed.values()].map((x) => (x - box.left) / box.width);
  const [a0, b0] = shares();
  let [start, end] = [before.start, before.end];
  return {
    move() {
      const [a, b] = shares();
      if (Math.abs(b - a) < 0.02 || Math.abs(b0 - a0) < 0.02) return;
      // The instants under both fingers stay under them.
      const span = ((before.end - before.start) * (b0 - a0)) / (b - a);
      if (span <= 0) return;
      start = before.start + a0 * (before.end - before.start) - a * span;
      end = start + span;
      handlers.preview(start, end);
    },
    end: () => handlers.commit(start, end),
    cancel: () => handlers.preview(before.start, before.end),
  };
}

/** @param {Target} target @param {Handlers} handlers */
function watchWheel(target, handlers) {
  let settle = 0;
  target.surface.addEventListener(
    "wheel",
    (event) => {
      const passingBy = performance.now() - lastScroll < SCROLL_REST_MS;
      if (!event.ctrlKey && !settle && passingBy) return;
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) return;
      event.preventDefault();
      const { start, end } = target.window;
      const centre = target.timeAt(event.clientX);
      const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
      const factor = Math.exp(Math.max(-100, Math.min(100, pixels)) * (event.ctrlKey ? 0.01 : 0.003));
      handlers.hold(true);
      handlers.preview(centre - (centre - start) * factor, centre + (end - centre) * factor);
      clearTimeout(settle);
      settle = setTimeout(() => {
        settle = 0;
        handlers.commit(target.window.start, target.window.end);
        handlers.hold(false);
      }, SETTLE_MS);
    },
    { passive: false },
  );
}
