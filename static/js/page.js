// On every page: times stay true, what cannot be taken back asks first, and a part that was asked for
// in vain says so.

import { startBell } from "./bell.js";
import { keepFresh } from "./times.js";

keepFresh();
startBell();

document.addEventListener("submit", (event) => {
  const form = event.target;
  const pressed = event.submitter ?? form.querySelector("button");
  const question = pressed?.dataset.confirm ?? form.dataset.confirm;
  if (!question || form.dataset.confirmed) return;
  event.preventDefault();
  ask(question, pressed.textContent.trim()).then((yes) => {
    if (!yes) return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(event.submitter);
  });
});

// What is asked for again by itself, and the wizard's saving, are no forms that only ask.
for (const what of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
  document.addEventListener(what, ({ detail: { elt, target, xhr } }) => {
    if (!elt.matches("form[hx-get], a[hx-get]")) return;
    const why = xhr.status ? `The server answered ${xhr.status}.` : "The server did not answer.";
    target.querySelector(":scope > .notice[data-vain]")?.remove(); // a fresh one is read aloud again
    const notice = Object.assign(document.createElement("p"), { className: "notice", role: "alert" });
    Object.assign(notice.dataset, { tone: "bad", vain: "" });
    notice.textContent = `${why} What you see here is as it was before; try again in a moment.`;
    target.prepend(notice);
  });
}

function ask(question, verb) {
  const dialog = document.createElement("dialog");
  const text = Object.assign(document.createElement("p"), { textContent: question, id: "question" });
  const form = Object.assign(document.createElement("form"), { method: "dialog", className: "actions" });
  form.append(button("Keep it", "no"), button(verb, "yes", "bad"));
  dialog.setAttribute("aria-labelledby", "question");
  dialog.append(text, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

function button(text, value, tone = "") {
  const made = Object.assign(document.createElement("button"), { textContent: text, value, className: "button" });
  made.dataset.tone = tone;
  return made;
}
