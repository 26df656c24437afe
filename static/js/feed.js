// The feed, live: one socket for the whole page. Whoever wants to know what happens, listens.

import { Stream } from "./live.js";

const AS_LONG_AS_MS = 60_000;

const listeners = new Set();
let stream;

// Called with each message, and with null when the page is to look for itself (sockets are blocked).
export function listen(listener) {
  listeners.add(listener);
}

// From the cursor of the page, or from where the page before it ended: between two pages nothing
// is missed. What comes twice by this is told twice to the listeners.
export function follow(user, cursor) {
  const place = `trainyard-feed-${user}`;
  const left = JSON.parse(localStorage.getItem(place) ?? "null");
  const isFresh = left && Date.now() - left.at < AS_LONG_AS_MS;
  stream = new Stream("/ws/activity", {
    cursor: isFresh ? Math.min(cursor, left.cursor) : cursor,
    onMessage: tell,
    onPoll: poll,
    onBack: () => tell(null), // what was read meanwhile is no line of the feed
  });
  window.addEventListener("pagehide", () => {
    localStorage.setItem(place, JSON.stringify({ cursor: stream.cursor, at: Date.now() }));
  });
}

function tell(message) {
  for (const listener of listeners) listener(message);
}

async function poll() {
  const answer = await fetch(`/activity/news?after=${stream.cursor}`).catch(() => null);
  if (answer?.ok) {
    for (const message of (await answer.json()).news) {
      stream.cursor = message.cursor;
      tell(message);
    }
  }
  tell(null);
}
