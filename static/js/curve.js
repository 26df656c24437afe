// The loss curve: Chart.js with the colours of the stylesheet, fed point by point.

const MOST_POINTS = 20_000;
const TOKENS = ["accent", "rate", "busy", "quiet", "line", "ink"];

export class Curve {
  constructor(canvas) {
    this.canvas = canvas;
    this.steps = new Set();
    this.paint = {};
    const ink = (token) => () => this.paint[token];
    this.loss = line("Training loss", "y", ink("accent"), { tension: 0.15 });
    this.rate = line("Learning rate", "rate", ink("rate"), { hidden: true, borderDash: [4, 3] });
    this.evaluation = line("Evaluation loss", "y", ink("busy"), { pointRadius: 4, borderDash: [2, 3] });
    this.chart = new Chart(canvas, {
      type: "line",
      data: { datasets: [this.loss, this.evaluation, this.rate] },
      options: options(),
    });
    this.dress();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.dress());
  }

  // Steps may come again, after a reconnect or a resume; what is known is passed over.
  add(metrics) {
    for (const { step, loss, learning_rate } of metrics) {
      if (this.steps.has(step) || loss === null) continue;
      this.steps.add(step);
      this.loss.data.push({ x: step, y: loss });
      if (learning_rate !== null) this.rate.data.push({ x: step, y: learning_rate });
    }
    if (this.loss.data.length > MOST_POINTS) this.thin();
    this.draw();
  }

  evaluate(step, loss) {
    this.evaluation.data = this.evaluation.data.filter((point) => point.x !== step);
    this.evaluation.data.push({ x: step, y: loss });
    this.draw();
  }

  // Many messages, one drawing.
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      for (const set of [this.loss, this.evaluation, this.rate]) set.data.sort((a, b) => a.x - b.x);
      this.chart.options.plugins.legend.display = this.evaluation.data.length > 0 || !this.rate.hidden;
      this.chart.update("none");
    });
  }

  thin() {
    for (const set of [this.loss, this.rate]) set.data = set.data.filter((_, n) => n % 2 === 0);
  }

  showRate(shown) {
    this.rate.hidden = !shown;
    this.chart.options.scales.rate.display = shown;
    this.draw();
  }

  logarithmic(on) {
    this.chart.options.scales.y.type = on ? "logarithmic" : "linear";
    this.dress();
  }

  dress() {
    for (const name of TOKENS) this.paint[name] = resolved(this.canvas, `var(--${name})`);
    const { quiet, line, ink } = this.paint;
    const { scales, plugins } = this.chart.options;
    for (const scale of Object.values(scales)) {
      Object.assign(scale.ticks, { color: quiet });
      Object.assign(scale.grid, { color: line });
      if (scale.title) scale.title.color = quiet;
    }
    plugins.legend.labels.color = ink;
    this.draw();
  }
}

function line(label, yAxisID, colour, more) {
  const colours = { borderColor: colour, backgroundColor: colour };
  return { label, yAxisID, data: [], borderWidth: 1.8, pointRadius: 0, pointHitRadius: 8, ...colours, ...more };
}

function shown({ hidden, datasetIndex }, { datasets }) {
  return !hidden && datasets[datasetIndex].data.length > 0;
}

// light-dark() is worked out only where it is used.
function resolved(element, value) {
  const probe = document.createElement("span");
  probe.style.color = value;
  element.after(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

function options() {
  return {
    animation: false,
    parsing: false,
    normalized: true,
    maintainAspectRatio: false,
    interaction: { mode: "nearest", axis: "x", intersect: false },
    plugins: {
      colors: { enabled: false },
      decimation: { enabled: true, algorithm: "lttb", samples: 600, threshold: 1200 },
      legend: { display: false, position: "bottom", labels: { boxWidth: 18, boxHeight: 1, filter: shown } },
      tooltip: { callbacks: { title: ([item]) => `Step ${item.parsed.x.toLocaleString("en")}` } },
    },
    scales: {
      x: { type: "linear", title: { display: true, text: "Step" }, ticks: { precision: 0, maxRotation: 0 }, grid: { display: false } },
      y: { type: "linear", ticks: { maxTicksLimit: 6 }, grid: {} },
      rate: { type: "linear", position: "right", display: false, ticks: { maxTicksLimit: 6, format: { notation: "scientific" } }, grid: { drawOnChartArea: false } },
    },
  };
}
