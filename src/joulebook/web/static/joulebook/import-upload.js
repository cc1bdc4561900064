// The form that uploads files: they can be dropped on it, and it tells how much of them has been sent.

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-upload]"));
const input = /** @type {HTMLInputElement} */ (form.querySelector('input[type="file"]'));
const drop = part("drop");

/** @param {string} name @returns {HTMLElement} */
function part(name) {
  return /** @type {HTMLElement} */ (form.querySelector(`[data-part="${name}"]`));
}

drop.classList.add("whole");
if (matchMedia("(pointer: fine)").matches) {
  part("drop-text").textContent = "Drop files of readings here, or choose them";
}
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!event.dataTransfer?.files.length) return;
  input.files = event.dataTransfer.files;
  showChosen();
});
input.addEventListener("change", showChosen);
// A file that misses the form would replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

function showChosen() {
  const chosen = part("chosen");
  chosen.replaceChildren(
    ...Array.from(input.files ?? [], (file) => {
      const line = document.createElement("li");
      line.textContent = `${file.name} · ${formatBytes(file.size)}`;
      return line;
    }),
  );
  chosen.hidden = !input.files?.length;
  say("");
}

/** @param {number} bytes */
function formatBytes(bytes) {
  const steps = ["bytes", "KB", "MB", "GB"];
  let step = 0;
  while (bytes >= 1024 && step < steps.length - 1) {
    bytes /= 1024;
    step += 1;
  }
  return `${step ? bytes.toFixed(1) : bytes}\u202f${steps[step]}`;
}

/** @param {string} problem */
function say(problem) {
  part("problem").textContent = problem;
  part("problem").hidden = !problem;
}

/** @param {XMLHttpRequest} request */
function answered(request) {
  let answer = /** @type {{location?: string, problems?: string[]}} */ ({});
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // Refused before the form was looked at: the server's own words are not for people.
  }
  if (answer.location) {
    location.assign(answer.location);
    return;
  }
  sending(false);
  const there = new URL(request.responseURL || location.href);
  // Who is not signed in any more was sent elsewhere.
  if (there.pathname !== location.pathname) location.assign(there);
  else if (answer.problems) say(answer.problems.join(" "));
  else if (request.status === 413) say("The file exceeds the size limit. Compress it with gzip, or split it.");
  else if (request.status === 507) say("The disk of the Joulebook server has no room for this file.");
  else if (request.status === 403) say("You are not signed in any more, or this page is old. Load it again.");
  else say(`The file could not be uploaded (${request.status}). Try again.`);
}

/** @param {boolean} isSending */
function sending(isSending) {
  part("sending").hidden = !isSending;
  /** @type {HTMLButtonElement} */ (form.querySelector("button.primary")).disabled = isSending;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say("");
  sending(true);
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    /** @type {HTMLProgressElement} */ (part("sent")).value = total ? loaded / total : 0;
    const done = loaded >= total;
    part("sent-text").textContent = done
      ? "Reading the file …"
      : `${formatBytes(loaded)} of ${formatBytes(total)} sent`;
  });
  request.addEventListener("load", () => answered(request));
  request.addEventListener("error", () => {
    sending(false);
    say("The connection broke. Try again.");
  });
  part("stop").addEventListener("click", () => {
    request.abort();
    sending(false);
  }, { once: true });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(new FormData(form));
});
