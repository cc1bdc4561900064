// The page of a draft: opened details and scrolled tables stay while htmx draws the preview again.

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-draft]"));
const lost = /** @type {HTMLElement} */ (document.querySelector('[data-part="lost"]'));

let inputs = 0;
let inputsAtRequest = 0;
/** @type {Map<string, boolean>} */
let open = new Map();
/** @type {Map<string, number>} */
let scrolled = new Map();

form.addEventListener("input", () => {
  inputs += 1;
});
form.addEventListener("htmx:beforeRequest", () => {
  inputsAtRequest = inputs;
  form.setAttribute("aria-busy", "true");
});
form.addEventListener("htmx:afterRequest", () => form.removeAttribute("aria-busy"));
form.addEventListener("htmx:beforeSwap", (event) => {
  // The answer is older than the last input and would take it back: the next answer is on its way.
  if (inputsAtRequest !== inputs) /** @type {CustomEvent<{shouldSwap: boolean}>} */ (event).detail.shouldSwap = false;
  open = new Map(Array.from(form.querySelectorAll("details[id]"), (each) => [each.id, each.hasAttribute("open")]));
  scrolled = new Map(Array.from(form.querySelectorAll(".scroll[id]"), (each) => [each.id, each.scrollLeft]));
});
form.addEventListener("htmx:afterSwap", () => {
  lost.hidden = true;
  for (const details of form.querySelectorAll("details[id]")) {
    // What the answer opens holds the way out of a problem.
    details.toggleAttribute("open", open.get(details.id) || details.hasAttribute("open"));
  }
  for (const table of form.querySelectorAll(".scroll[id]")) table.scrollLeft = scrolled.get(table.id) ?? 0;
  updateImportButton();
});
form.addEventListener("submit", (event) => {
  // Enter in a field presses the form's first button. It draws the whole page again, for browsers without scripts.
  if (!event.submitter?.classList.contains("hidden")) return;
  event.preventDefault();
  form.dispatchEvent(new Event("input", { bubbles: true }));
});
for (const name of ["htmx:sendError", "htmx:responseError"]) {
  form.addEventListener(name, () => {
    lost.hidden = false;
  });
}

/** Disable the button while the draft cannot be imported; the reasons are beside it. */
function updateImportButton() {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('[data-part="import"]'));
  button.disabled = button.hasAttribute("data-blocked");
  /** @type {HTMLElement} */ (form.querySelector('[data-part="again"]')).hidden = true;
}
updateImportButton();
