// Shows notifications, for the open pages and for push messages alike: whoever comes first with an
// event shows it, and nobody shows it again. It leaves requests alone.

const TOLD = "trainyard-told";
const REMEMBERED_MS = 7 * 24 * 3600 * 1000;

// Claimed while the cache is still asked: two pages come with the same event at the same moment.
const claimed = new Set();

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(Promise.all([self.clients.claim(), forgetOld()])));
self.addEventListener("message", (event) => event.data.tell && event.waitUntil(tell(event.data.tell)));
self.addEventListener("push", (event) => event.waitUntil(tell(event.data.json())));
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(lead(event.notification.data.href));
});

async function tell({ id, title, body, href }) {
  if (!(await isFirst(id))) return;
  const look = { body, tag: id, icon: "/static/icon.svg", data: { href } };
  try {
    await self.registration.showNotification(title, look);
  } catch (error) {
    await forget(id); // whoever comes next with it may have more luck
    throw error;
  }
}

async function isFirst(id) {
  if (claimed.has(id)) return false;
  claimed.add(id);
  const told = await caches.open(TOLD);
  if (await told.match(place(id))) return false;
  await told.put(place(id), new Response(String(Date.now())));
  return true;
}

async function forget(id) {
  claimed.delete(id);
  await (await caches.open(TOLD)).delete(place(id));
}

function place(id) {
  return `/told/${id}`;
}

async function forgetOld() {
  const told = await caches.open(TOLD);
  for (const request of await told.keys()) {
    const at = Number(await (await told.match(request)).text());
    if (Date.now() - at > REMEMBERED_MS) await told.delete(request);
  }
}

// To the page of the thing: one that shows it already, else any of ours, else a new one.
async function lead(href) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = pages.find((page) => new URL(page.url).pathname === href);
  const page = there ?? pages[0];
  if (!page) return self.clients.openWindow(href);
  if (!there) page.postMessage({ go: href });
  return page.focus();
}
