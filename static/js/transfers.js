// Transfers: events ring by the socket; while something moves, its numbers are fetched again.

import { refreshSoon, Stream } from "./live.js";

const LOOK_EVERY_MS = 2000;

new Stream("/ws/activity", { onMessage: refreshSoon, onPoll: refreshSoon });
setInterval(() => document.querySelector("[data-moving]") && refreshSoon(), LOOK_EVERY_MS);
