// The form to export readings: "as shown" takes the range in the address bar.

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-export]"));
const menu = /** @type {HTMLDetailsElement} */ (form.closest("details"));

/** @param {string} name */
const getField = (name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
const times = [getField("begin"), getField("until")];

/** @param {string} value */
const getChoice = (value) =>
  /** @type {HTMLInputElement} */ (form.querySelector(`[name="which"][value="${value}"]`));

function followAddress() {
  const query = new URLSearchParams(location.search);
  for (const name of ["range", "start", "end"]) getField(name).value = query.get(name) ?? "";
  getField("tz").value = query.get("tz") ?? getField("tz").value;
  const shown = document.querySelector('[data-part="range-text"]')?.textContent ?? "";
  write("shown", shown === "…" ? "" : shown);
  write("zone", getField("tz").value);
}

/** @param {string} name @param {string} text */
function write(name, text) {
  const element = form.querySelector(`[data-export-${name}]`);
  if (element) element.textContent = text;
}

function requireTimes() {
  for (const input of times) input.required = getChoice("own").checked;
}

menu.addEventListener("toggle", () => menu.open && followAddress());
form.addEventListener("change", requireTimes);
for (const input of times) {
  input.addEventListener("input", () => {
    getChoice("own").checked = true;
    requireTimes();
  });
}
form.addEventListener("submit", () => {
  followAddress();
  // The answer is a file: the page stays, and the browser shows the download's progress.
  menu.removeAttribute("open");
});
requireTimes();
