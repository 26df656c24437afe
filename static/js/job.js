// A job's page: the curve, the log, and everything else as soon as it changes.

import { Curve } from "./curve.js";
import { refreshSoon, Stream } from "./live.js";
import { Log } from "./log.js";

const LOG_EVERY_MS = 2000;
const AT_WORK = ["RUNNING", "PAUSING"];

const { job: id, cursor } = document.getElementById("job").dataset;
const given = (key) => JSON.parse(document.getElementById(key).textContent);
const log = new Log(document.getElementById("log"), document.getElementById("follow"));
const title = document.title;
let status = "";

document.getElementById("follow-label").hidden = false;
const curve = drawCurve();

new Stream(`/ws/jobs/${id}`, { cursor: Number(cursor), onMessage: take, onPoll: poll });
setInterval(() => AT_WORK.includes(status) && !document.hidden && log.more(), LOG_EVERY_MS);

function drawCurve() {
  const place = document.getElementById("chart");
  const canvas = place.querySelector("canvas");
  const made = new Curve(canvas);
  place.querySelector(".curve")?.remove();
  document.getElementById("toggles").hidden = false;
  document.getElementById("show-rate").addEventListener("change", (e) => made.showRate(e.target.checked));
  document.getElementById("log-scale").addEventListener("change", (e) => made.logarithmic(e.target.checked));
  show(made, given("points"));
  for (const { step, loss } of given("evaluations")) showEvaluation(made, step, loss);
  return made;
}

function show(made, metrics) {
  made.add(metrics);
  if (metrics.length) reveal();
}

function showEvaluation(made, step, loss) {
  made.evaluate(step, loss);
  reveal();
}

// The first point takes the place of the words that announce it.
function reveal() {
  document.querySelector("#chart .empty")?.remove();
  document.querySelector("#chart canvas").hidden = false;
}

function take(message) {
  if (message.type === "metrics") show(curve, message.metrics);
  if (message.type === "event") takeEvent(message.event);
  if (message.type === "job") takeState(message.job);
  refreshSoon();
}

function takeEvent({ event, step, facts }) {
  if (event === "evaluation" && Number.isFinite(facts.eval_loss)) showEvaluation(curve, step ?? 0, facts.eval_loss);
  log.more();
}

function takeState(job) {
  status = job.status;
  document.title = AT_WORK.includes(status) ? `${Math.floor(job.progress.percent)} % · ${title}` : title;
}

// Sockets are blocked: the same news by asking for them.
async function poll() {
  refreshSoon();
  log.more();
  const answer = await fetch(`/api/jobs/${id}/metrics?points=500`).catch(() => null);
  if (answer?.ok) show(curve, (await answer.json()).metrics);
}
