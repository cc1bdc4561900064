// For every page: theme button, closing menus, copy buttons, ages that count up.

import { formatAgo } from "./instant.js";

const root = document.documentElement;

document.querySelector("form.theme")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.currentTarget);
  const dark =
    root.dataset.theme === "dark" ||
    (root.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  const body = new FormData(form);
  body.set("theme", root.dataset.theme);
  // If this fails, the theme is not remembered; the page has changed already.
  fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => {});
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(/** @type {Node} */ (event.target))) menu.removeAttribute("open");
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" ? document.querySelector("details.menu[open]") : null;
  if (!menu) return;
  menu.removeAttribute("open");
  menu.querySelector("summary")?.focus();
});

for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
  document.querySelectorAll("[data-copy]")
)) {
  // Browsers allow the clipboard to pages from this machine or behind TLS only.
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling?.textContent ?? "");
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = "Copy";
    }, 1500);
  });
}

// A browser's clock more than 5 s wrong is corrected by the server's, else ages would be wrong.
const ahead = Number(root.dataset.now) * 1000 - Date.now();
const offset = Math.abs(ahead) > 5000 ? ahead : 0;
setInterval(() => {
  for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time.ago"))) {
    time.textContent = formatAgo((Date.now() + offset - Date.parse(time.dateTime)) / 1000);
  }
}, 1000);
