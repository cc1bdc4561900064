// The form to upload files: files can be dropped on it, and it shows the progress.

const form = /** @type {HTMLFormElement} */ (document.querySelector("[data-upload]"));
const input = /** @type {HTMLInputElement} */ (form.querySelector('input[type="file"]'));
const drop = getPart("drop");

/** @param {string} name @returns {HTMLElement} */
function getPart(name) {
  return /** @type {HTMLElement} */ (form.querySelector(`[data-part="${name}"]`));
}

drop.classList.add("whole");
if (matchMedia("(pointer: fine)").matches) {
  getPart("drop-text").textContent = "Drop files of readings here, or choose them";
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
// Without this the browser would open a file dropped beside the form in place of the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

function showChosen() {
  const chosen = getPart("chosen");
  chosen.replaceChildren(
    ...Array.from(input.files ?? [], (file) => {
      const line = document.createElement("li");
      line.textContent = `${file.name} · ${formatBytes(file.size)}`;
      return line;
    }),
  );
  chosen.hidden = !input.files?.length;
  showProblem("");
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
function showProblem(problem) {
  getPart("problem").textContent = problem;
  getPart("problem").hidden = !problem;
}

/** @typedef {{location?: string, problems?: string[]}} UploadAnswer the next page, or the form's problems */

/** @param {XMLHttpRequest} request */
function handleAnswer(request) {
  /** @type {UploadAnswer} */
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // A refusal before the form's own checks; its text is not written for people.
  }
  if (answer.location) {
    location.assign(answer.location);
    return;
  }
  setSending(false);
  const there = new URL(request.responseURL || location.href);
  // The session has ended: the answer comes from the sign-in page.
  if (there.pathname !== location.pathname) location.assign(there);
  else if (answer.problems) showProblem(answer.problems.join(" "));
  else if (request.status === 413)
    showProblem("The file exceeds the size limit. Compress it with gzip, or split it.");
  else if (request.status === 507) showProblem("The disk of the Joulebook server has no room for this file.");
  else if (request.status === 403) showProblem("You are not signed in any more, or this page is old. Load it again.");
  else showProblem(`The file could not be uploaded (${request.status}). Try again.`);
}

/** @param {boolean} isSending */
function setSending(isSending) {
  getPart("sending").hidden = !isSending;
  /** @type {HTMLButtonElement} */ (form.querySelector("button.primary")).disabled = isSending;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  showProblem("");
  setSending(true);
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    /** @type {HTMLProgressElement} */ (getPart("sent")).value = total ? loaded / total : 0;
    const done = loaded >= total;
    getPart("sent-text").textContent = done
      ? "Reading the file …"
      : `${formatBytes(loaded)} of ${formatBytes(total)} sent`;
  });
  request.addEventListener("load", () => handleAnswer(request));
  request.addEventListener("error", () => {
    setSending(false);
    showProblem("The connection broke. Try again.");
  });
  getPart("stop").addEventListener("click", () => {
    request.abort();
    setSending(false);
  }, { once: true });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(new FormData(form));
});
