// On every page: times stay true, and what cannot be taken back asks first.

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
