// Several jobs in one chart.

import { attach, leaveDrawings } from "./charts.js";
import { Overlay } from "./curve.js";

const runs = JSON.parse(document.getElementById("series").textContent);
const canvas = document.querySelector("#chart canvas");

if (window.Chart) {
  document.getElementById("drawing").remove();
  canvas.hidden = false;
  attach(new Overlay(canvas, runs));
} else {
  leaveDrawings();
}
