// The bell: how much is unread, here and in the title, and the latest lines below it.

import { follow, listen } from "./feed.js";
import { notifyFor } from "./notify.js";
import { post } from "./post.js";
import { setUnread } from "./title.js";

const REFRESH_EVERY_MS = 1000;
const OF_A_THING = /\/[0-9a-f-]{36}$/;

const bell = document.getElementById("bell");
const list = bell?.querySelector(".bell-list");
let unread = 0;

export function startBell() {
  if (!bell) return; // nobody has signed in
  show(bell.dataset);
  listen(hear);
  notifyFor(bell.dataset.user);
  follow(bell.dataset.user, Number(bell.dataset.cursor));
  bell.addEventListener("toggle", () => bell.open && refreshSoon());
  bell.addEventListener("submit", submit);
  document.addEventListener("click", ({ target }) => bell.contains(target) || (bell.open = false));
  document.addEventListener("keydown", closeByKey);
  document.addEventListener("visibilitychange", lookAtThisPage);
  lookAtThisPage();
}

function show({ unread: count, words }) {
  unread = Number(count);
  const shown = bell.querySelector(".bell-count");
  shown.textContent = words;
  shown.hidden = !unread;
  bell.querySelector("summary").setAttribute("aria-label", `Activity: ${words} unread`);
  setUnread(unread ? words : "");
  badge();
}

// On the icon of the installed app. Where there is none, there is nothing to put it on.
function badge() {
  navigator.setAppBadge?.(unread).catch(() => {});
}

function hear(message) {
  if (message?.href === location.pathname && !document.hidden) haveSeen();
  refreshSoon();
}

// What the feed tells of the thing on this page is seen as soon as the page is.
function lookAtThisPage() {
  if (OF_A_THING.test(location.pathname) && unread && !document.hidden) haveSeen();
}

async function haveSeen() {
  await post("/activity/visited", { path: location.pathname });
  refreshSoon(); // the socket may not have been open yet
}

async function submit(event) {
  event.preventDefault();
  await post(event.target.action);
  refreshSoon();
}

// At most once a second, always once after the last ring.
let running = false;
let wanted = false;

async function refreshSoon() {
  wanted = true;
  if (running) return;
  running = true;
  while (wanted) {
    wanted = false;
    await refresh();
    await new Promise((resolve) => setTimeout(resolve, REFRESH_EVERY_MS));
  }
  running = false;
}

async function refresh() {
  const answer = await fetch("/activity/bell", { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-unread]");
  const focused = list.contains(document.activeElement);
  show(fresh.dataset);
  list.replaceChildren(fresh);
  if (focused) bell.querySelector("summary").focus();
}

function closeByKey({ key }) {
  if (key !== "Escape" || !bell.open) return;
  bell.open = false;
  bell.querySelector("summary").focus();
}
