// The page of a draft: keeps what somebody is doing while htmx draws the preview again beneath it.

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-draft]"));
const lost = /** @type {HTMLElement} */ (document.querySelector('[data-part="lost"]'));

let entered = 0;
let asked = 0;
/** @type {Map<string, boolean>} */
let open = new Map();
/** @type {Map<string, number>} */
let scrolled = new Map();

form.addEventListener("input", () => {
  entered += 1;
});
form.addEventListener("htmx:beforeRequest", () => {
  asked = entered;
  form.setAttribute("aria-busy", "true");
});
form.addEventListener("htmx:afterRequest", () => form.removeAttribute("aria-busy"));
form.addEventListener("htmx:beforeSwap", (event) => {
  // An answer to what has changed since would take it back: another one is on its way.
  if (asked !== entered) /** @type {CustomEvent} */ (event).detail.shouldSwap = false;
  open = new Map(Array.from(form.querySelectorAll("details[id]"), (each) => [each.id, each.hasAttribute("open")]));
  scrolled = new Map(Array.from(form.querySelectorAll(".scroll[id]"), (each) => [each.id, each.scrollLeft]));
});
form.addEventListener("htmx:afterSwap", () => {
  lost.hidden = true;
  for (const details of form.querySelectorAll("details[id]")) {
    details.toggleAttribute("open", open.get(details.id) ?? details.hasAttribute("open"));
  }
  for (const table of form.querySelectorAll(".scroll[id]")) table.scrollLeft = scrolled.get(table.id) ?? 0;
  updateImportButton();
});
form.addEventListener("submit", (event) => {
  // Enter in a field presses the form's first button, which draws the whole page again where there is no script.
  if (!event.submitter?.classList.contains("hidden")) return;
  event.preventDefault();
  form.dispatchEvent(new Event("input", { bubbles: true }));
});
for (const name of ["htmx:sendError", "htmx:responseError"]) {
  form.addEventListener(name, () => {
    lost.hidden = false;
  });
}

/** Let nobody confirm what cannot be imported yet; what is missing stands beside the button. */
function updateImportButton() {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('[data-part="import"]'));
  button.disabled = button.hasAttribute("data-blocked");
  /** @type {HTMLElement} */ (form.querySelector('[data-part="again"]')).hidden = true;
}
updateImportButton();
