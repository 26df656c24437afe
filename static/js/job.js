// A job's page: the curves, the log, and everything else as soon as it changes.

import { attach, leaveDrawings } from "./charts.js";
import { offerCopies } from "./copy.js";
import { Curve } from "./curve.js";
import { refreshSoon, Stream } from "./live.js";
import { Log } from "./log.js";
import { pageTitle, setTitle } from "./title.js";
import { LogSearch } from "./log_search.js";

const LOG_EVERY_MS = 2000;
const AT_WORK = ["RUNNING", "PAUSING"];

const { job: id, cursor } = document.getElementById("job").dataset;
const given = (key) => JSON.parse(document.getElementById(key).textContent);
const log = new Log(document.getElementById("log"), document.getElementById("follow"));
new LogSearch(document.getElementById("log-search"), document.getElementById("log-found"), log);
let status = "";

offerCopies();
const curve = window.Chart ? drawCurve() : leaveDrawings();

new Stream(`/ws/jobs/${id}`, { cursor: Number(cursor), onMessage: take, onPoll: poll });
setInterval(() => AT_WORK.includes(status) && !document.hidden && log.more(), LOG_EVERY_MS);

function drawCurve() {
  const made = new Curve(document.querySelector("#chart canvas"));
  document.getElementById("drawings")?.remove();
  attach(made);
  show(made, rows(given("points")));
  for (const { step, loss } of given("evaluations")) showEvaluation(made, step, loss);
  return made;
}

// {step: [1, 2], loss: [3, 2]} as [{step: 1, loss: 3}, {step: 2, loss: 2}]
function rows(columns) {
  const names = Object.keys(columns);
  return columns.step.map((_, n) => Object.fromEntries(names.map((name) => [name, columns[name][n]])));
}

function show(made, metrics) {
  if (!made) return;
  made.add(metrics);
  if (metrics.length) reveal();
}

function showEvaluation(made, step, loss) {
  if (!made) return;
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
  setTitle(AT_WORK.includes(status) ? `${Math.floor(job.progress.percent)} % · ${pageTitle}` : pageTitle);
}

// Sockets are blocked: the same news by asking for them.
async function poll() {
  refreshSoon();
  log.more();
  const answer = await fetch(`/api/jobs/${id}/metrics?points=500`).catch(() => null);
  if (answer?.ok) show(curve, (await answer.json()).metrics);
}
