// Keeping a page true: a socket that comes back by itself, and parts that are fetched again.
//
// The socket rings and brings numbers; words and states are rendered by the server alone, in the
// elements marked data-live. Where sockets are blocked the page is fetched every 30 seconds.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5_000;
const POLL_MS = 30_000;
const REFRESH_EVERY_MS = 1000;
const FOCUSED = "a, button, input";
const SAY_SO_AFTER_MS = 1500;
const REFUSED = [4400, 4401, 4404]; // activity/streaming.py: asking again would not help

// A socket that asks, each time it opens, for what came after the last cursor it has seen.
export class Stream {
  constructor(path, { cursor = null, onMessage, onPoll, onBack = () => {} }) {
    Object.assign(this, { path, cursor, onMessage, onPoll, onBack, failures: 0, closed: false });
    this.wake = () => document.visibilityState === "visible" && this.retryNow();
    document.addEventListener("visibilitychange", this.wake);
    window.addEventListener("online", this.wake);
    this.open();
  }

  open() {
    const after = this.cursor === null ? "" : `?after=${this.cursor}`;
    this.socket = new WebSocket(new URL(this.path + after, location.href.replace(/^http/, "ws")));
    this.socket.onopen = () => {
      const wasAway = this.failures > 0;
      this.failures = 0;
      this.stopPolling();
      connection.up(this);
      if (wasAway) this.onBack();
    };
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.cursor !== undefined) this.cursor = message.cursor;
      this.onMessage(message);
    };
    this.socket.onclose = ({ code }) => this.lost(code);
  }

  lost(code) {
    if (this.closed) return;
    if (REFUSED.includes(code)) return this.close();
    connection.down(this);
    this.poll ??= setInterval(this.onPoll, POLL_MS);
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.failures++, LONGEST_WAIT_MS);
    this.timer = setTimeout(() => this.open(), wait * (0.75 + Math.random() / 2));
  }

  retryNow() {
    if (this.closed || this.socket.readyState <= WebSocket.OPEN) return;
    clearTimeout(this.timer);
    this.open();
  }

  stopPolling() {
    clearInterval(this.poll);
    this.poll = undefined;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.stopPolling();
    document.removeEventListener("visibilitychange", this.wake);
    window.removeEventListener("online", this.wake);
    connection.up(this);
    // Browsers complain of a socket that is closed before it is open.
    if (this.socket.readyState === WebSocket.CONNECTING) this.socket.onopen = () => this.socket.close();
    else this.socket.close();
  }
}

// The quiet word at the top of the page while some socket is away.
const connection = {
  away: new Set(),
  down(stream) {
    this.away.add(stream);
    this.timer ??= setTimeout(() => this.show("Reconnecting…"), SAY_SO_AFTER_MS);
  },
  up(stream) {
    this.away.delete(stream);
    if (this.away.size) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.show("");
  },
  show(text) {
    const place = document.getElementById("connection");
    place.textContent = text;
    place.hidden = !text;
  },
};

// Fetch this page's live parts and put in those that have changed, so that focus, selection and
// what a screen reader says stay with the others.
const seen = new Map();
for (const part of document.querySelectorAll("[data-live]")) {
  seen.set(part.dataset.live, comparable(part.innerHTML));
}

async function refresh() {
  const asked = location.href;
  const answer = await fetch(asked, { headers: { "HX-Request": "true" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (location.href !== asked) return; // the list was filtered in the meantime
  for (const fresh of page.querySelectorAll("[data-live]")) {
    const name = fresh.dataset.live;
    const part = document.querySelector(`[data-live="${name}"]`);
    if (!part || seen.get(name) === comparable(fresh.innerHTML)) continue;
    seen.set(name, comparable(fresh.innerHTML));
    replace(part, fresh);
  }
  document.dispatchEvent(new Event("refreshed"));
}

function replace(part, fresh) {
  const scrolled = [...part.querySelectorAll("[id], .timeline, .scroll")].map((e) => e.scrollTop);
  const kept = [...part.querySelectorAll("input:checked[id]")].map((e) => e.id);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && [...part.querySelectorAll(FOCUSED)].indexOf(focused);
  part.replaceChildren(...fresh.childNodes);
  [...part.querySelectorAll("[id], .timeline, .scroll")].forEach((e, n) => (e.scrollTop = scrolled[n] ?? 0));
  for (const id of kept) if (document.getElementById(id)) document.getElementById(id).checked = true;
  if (focused) part.querySelectorAll(FOCUSED)[place]?.focus();
  window.htmx?.process(part);
}

// The token in a form is another one each time.
function comparable(html) {
  return html.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
}

function visible() {
  if (!document.hidden) return null;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

// At most one fetch a second, always one after the last ring, and none for a page that nobody sees.
let running = false;
let wanted = false;

export async function refreshSoon() {
  wanted = true;
  if (running) return;
  running = true;
  while (wanted) {
    await visible();
    wanted = false;
    try {
      await refresh();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the network is away: the stream says so
    }
    await new Promise((resolve) => setTimeout(resolve, REFRESH_EVERY_MS));
  }
  running = false;
}
