// Home, lists and the feed: whatever happens, and every job on the page that is not at its end,
// has its live parts fetched again.

import { listen } from "./feed.js";
import { refreshSoon, Stream } from "./live.js";

const MOST_JOBS = 12;
const jobs = new Map();

listen(refreshSoon);

function watchJobs() {
  const shown = new Set([...document.querySelectorAll("[data-job]")].map((row) => row.dataset.job));
  for (const [id, stream] of jobs) {
    if (shown.has(id)) continue;
    stream.close();
    jobs.delete(id);
  }
  for (const id of [...shown].slice(0, MOST_JOBS)) {
    if (!jobs.has(id)) jobs.set(id, new Stream(`/ws/jobs/${id}`, { onMessage: refreshSoon, onPoll: refreshSoon }));
  }
}

watchJobs();
document.addEventListener("refreshed", watchJobs);
document.addEventListener("htmx:afterSettle", watchJobs);
