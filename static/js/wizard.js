// The wizard saves what is typed: htmx sends the form, this says how that went and lets nobody leave
// before it has been sent. A form that creates something is sent once. Where another page has changed
// the draft, this one says so and waits until somebody has decided.

import { offerCopies } from "./copy.js";

const RETRY_MS = 3000;
const CONFLICT = 409;

const form = document.querySelector("form[data-answers]");
const elsewhere = document.getElementById("elsewhere");
const word = document.getElementById("save-state");
let unsaved = 0;
let saved = 0;
let timer;

offerCopies();
if (form) {
  form.addEventListener("input", () => ++unsaved);
  form.addEventListener("change", () => ++unsaved);
  form.addEventListener("submit", leave);
  document.addEventListener("click", finishFirst);
  window.addEventListener("pagehide", sendLast);
  window.addEventListener("beforeunload", (event) => isUndecided() && event.preventDefault());
  elsewhere.addEventListener("click", decide);
  document.addEventListener("htmx:beforeSwap", tellConflict); // of the place that it would be put into
  form.addEventListener("htmx:beforeRequest", begin);
  form.addEventListener("htmx:afterRequest", end);
}

const isSaved = () => saved >= unsaved;

function begin(event) {
  if (event.detail.elt !== form) return;
  event.detail.xhr.upTo = unsaved;
  clearTimeout(timer);
  word.textContent = "Saving…";
}

function end(event) {
  const { elt, xhr, successful } = event.detail;
  if (elt !== form) return;
  if (xhr.status === CONFLICT) return (word.textContent = "Not saved: changed on another page");
  if (!successful) return again();
  saved = Math.max(saved, xhr.upTo);
  if (isSaved()) word.textContent = "Saved";
}

function again() {
  if (isSaved()) return;
  word.textContent = "Not saved yet. Trying again…";
  timer = setTimeout(() => window.htmx.trigger(form, "change"), RETRY_MS);
}

function isUndecided() {
  return elsewhere.childElementCount > 0 && !isSaved();
}

function tellConflict({ detail }) {
  if (detail.requestConfig.elt === form && detail.xhr.status === CONFLICT) showConflict(detail.xhr.responseText);
}

function showConflict(html) {
  elsewhere.innerHTML = html;
  for (const button of elsewhere.querySelectorAll("[data-keep]")) button.hidden = false;
  document.getElementById("changed-elsewhere")?.focus();
}

// Keep what is here: this page has seen the other's changes now. Or take what is there.
function decide({ target }) {
  const { keep, discard } = target.dataset;
  if (discard !== undefined) saved = unsaved = 0;
  if (keep === undefined) return;
  document.getElementById("draft-version").value = keep;
  elsewhere.replaceChildren();
  window.htmx.trigger(form, "change");
}

// What follows a link may depend on what has just been typed.
async function finishFirst(event) {
  const link = event.target.closest("a[href]");
  if (!link || isSaved() || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const answer = await send(false);
  if (answer?.status !== CONFLICT) return location.assign(link.href);
  saved = -1;
  showConflict(await answer.text());
}

function sendLast() {
  if (!isSaved()) send(true);
}

function send(keepalive) {
  saved = unsaved;
  const address = form.getAttribute("hx-post");
  const headers = { "HX-Request": "true" };
  return fetch(address, { method: "POST", body: new FormData(form), headers, keepalive }).catch(() => null);
}

function leave(event) {
  if (event.defaultPrevented) return;
  saved = unsaved = Infinity;
  clearTimeout(timer);
  if (!("once" in form.dataset)) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
}

// Back from the next page: the form may be sent again.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted || !form) return;
  delete form.dataset.sent;
  saved = unsaved = 0;
});
