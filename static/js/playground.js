// A prompt's page: words as they come, and everything else as soon as it changes.

import { refreshSoon, Stream } from "./live.js";

const { generation: id } = document.getElementById("generation").dataset;
const FINAL = ["COMPLETED", "FAILED", "CANCELLED"];

const stream = new Stream(`/ws/generations/${id}`, { cursor: 0, onMessage: take, onPoll: poll });

function take(message) {
  if (message.type === "text") write(message.side, message.offset, message.text);
  if (message.type === "generation") {
    refreshSoon();
    if (FINAL.includes(message.generation.status)) stream.close();
  }
}

// Characters as Python counts them: whole ones, not halves of pairs.
function write(side, offset, text) {
  const place = document.getElementById(`text-${side}`);
  place.textContent = [...place.textContent].slice(0, offset).join("") + text;
}

// Sockets are blocked: the same news by asking for them.
async function poll() {
  const answer = await fetch(`/api/generations/${id}`).catch(() => null);
  if (!answer?.ok) return;
  const { status, answers } = await answer.json();
  for (const [side, { text }] of Object.entries(answers)) write(side, 0, text);
  refreshSoon();
  if (FINAL.includes(status)) stream.close();
}
