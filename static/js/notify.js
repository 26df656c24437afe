// Notifications of the browser, once a person has allowed them by a button: never on load. The
// service worker shows them, so that several pages, and push messages, say each event once.

import { listen } from "./feed.js";
import { post } from "./post.js";

const SUBSCRIBED_FOR_MS = 24 * 3600 * 1000;
const BROWSERS = [["Firefox", /Firefox/], ["Edge", /Edg\//], ["Opera", /OPR\//], ["Chrome", /Chrom/], ["Safari", /Safari/]];

const possible = "Notification" in window && "serviceWorker" in navigator;

export function notifyFor(user) {
  sayState();
  if (!possible) return;
  listen(tell);
  navigator.serviceWorker.addEventListener("message", ({ data }) => data.go && location.assign(data.go));
  document.addEventListener("click", ({ target }) => target.closest("[data-allow]") && allow(user));
  if (Notification.permission === "granted") begin(user);
}

// What applies is shown by the stylesheet (data-when).
function sayState(push) {
  const { dataset } = document.documentElement;
  dataset.notifications = possible ? Notification.permission : "impossible";
  if (push) dataset.push = push;
}

async function allow(user) {
  const answer = await Notification.requestPermission();
  sayState();
  if (answer !== "granted") return;
  localStorage.removeItem(placeOf(user));
  await begin(user);
}

async function begin(user) {
  const registration = await navigator.serviceWorker.register("/service-worker.js");
  await subscribe(user, registration);
}

async function tell(message) {
  if (!message?.notify || Notification.permission !== "granted") return;
  const { activity, href } = message;
  const { active } = await navigator.serviceWorker.ready;
  active.postMessage({
    tell: { id: activity.id, title: activity.title, body: activity.message, href: href || "/activity" },
  });
}

// So that messages come with no page open. The server is told once a day: it may have forgotten us.
async function subscribe(user, registration) {
  if (!registration.pushManager) return sayState("impossible");
  if (Date.now() - Number(localStorage.getItem(placeOf(user))) < SUBSCRIBED_FOR_MS) return sayState("on");
  const answer = await fetch("/settings/push/key").catch(() => null);
  if (!answer?.ok) return;
  const { key } = await answer.json();
  const ready = await navigator.serviceWorker.ready;
  let subscription = await ready.pushManager.getSubscription();
  if (subscription && asText(subscription.options.applicationServerKey) !== key) {
    await subscription.unsubscribe();
    subscription = null;
  }
  try {
    subscription ??= await ready.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  } catch (error) {
    return sayState("impossible"); // this browser has no push service, or cannot reach it
  }
  const { endpoint, keys } = subscription.toJSON();
  const told = await post("/settings/push", { endpoint, ...keys, browser: browserName() });
  if (!told?.ok) return;
  localStorage.setItem(placeOf(user), Date.now());
  sayState("on");
}

function placeOf(user) {
  return `trainyard-push-${user}`;
}

function asText(bytes) {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function browserName() {
  const [name] = BROWSERS.find(([, pattern]) => pattern.test(navigator.userAgent)) ?? ["A browser"];
  const system = navigator.userAgentData?.platform ?? navigator.platform;
  return system ? `${name} on ${system}` : name;
}
