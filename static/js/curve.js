// Curves over steps: Chart.js with the colours of the stylesheet. `Curve` is one run's, fed row by
// row; `Overlay` has those of several runs.

const MOST_POINTS = 20_000;
const TOKENS = ["accent", "rate", "busy", "quiet", "line", "ink", "surface"];
export const WORDS = { loss: "Training loss", learning_rate: "Learning rate", tokens_per_s: "Tokens per second", memory_mb: "Memory (MiB)", eval_loss: "Held-out loss" };
// In this order; told apart on white and on black, and by people who see few colours.
export const SERIES = ["#3b82f6", "#f97316", "#16a34a", "#a855f7", "#db2777", "#64748b", "#ca8a04", "#0d9488"];
const LOGARITHMIC = ["loss", "eval_loss", "learning_rate"];

class Picture {
  constructor(canvas) {
    Object.assign(this, { canvas, paint: {}, smoothing: 0, column: "loss", isLogarithmic: false });
  }

  begin(datasets, legend) {
    this.legend = legend;
    this.chart = new Chart(this.canvas, { type: "line", data: { datasets }, options: options() });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.dress());
    this.dress();
  }

  show(column) {
    this.column = column;
    this.draw();
  }

  smooth(weight) {
    this.smoothing = weight;
    this.draw();
  }

  logarithmic(on) {
    this.isLogarithmic = on;
    this.draw();
  }

  // Many messages, one drawing.
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.fill();
      const { scales, plugins } = this.chart.options;
      const type = this.isLogarithmic && LOGARITHMIC.includes(this.column) ? "logarithmic" : "linear";
      // Another kind of scale brings its own colours.
      if (scales.y.type !== type) Object.assign(scales.y, { type }) && this.dress();
      scales.y.title.text = WORDS[this.column];
      plugins.legend.display = this.legend();
      this.chart.update("none");
    });
  }

  dress() {
    for (const name of TOKENS) this.paint[name] = resolved(this.canvas, `var(--${name})`);
    const { quiet, line, ink } = this.paint;
    const { scales, plugins } = this.chart.options;
    for (const scale of Object.values(scales)) {
      Object.assign(scale.ticks, { color: quiet });
      Object.assign(scale.grid, { color: line });
      scale.title.color = quiet;
    }
    plugins.legend.labels.color = ink;
    this.draw();
  }
}

export class Curve extends Picture {
  constructor(canvas) {
    super(canvas);
    const ink = (token) => () => this.paint[token];
    const raw = line("Training loss", () => (this.smoothing ? faint(this.paint.accent) : this.paint.accent));
    const evaluation = line("Held-out loss", ink("busy"), { pointRadius: 4, borderDash: [2, 3] });
    const smoothed = line("Smoothed", ink("accent"), { borderWidth: 2.2 });
    Object.assign(this, { raw, evaluation, smoothed, rows: [], steps: new Set(), evaluations: new Map() });
    this.begin([raw, evaluation, smoothed], () => evaluation.data.length > 0);
  }

  // Steps may come again, after a reconnect or a resume; what is known is passed over.
  add(metrics) {
    for (const row of metrics) {
      if (this.steps.has(row.step) || row.loss === null) continue;
      this.steps.add(row.step);
      this.rows.push(row);
    }
    this.rows.sort((a, b) => a.step - b.step);
    if (this.rows.length > MOST_POINTS) this.rows = this.rows.filter((_, n) => n % 2 === 0);
    this.draw();
  }

  evaluate(step, loss) {
    this.evaluations.set(step, loss);
    this.draw();
  }

  fill() {
    this.raw.label = WORDS[this.column];
    this.raw.data = points(this.rows.map((row) => [row.step, row[this.column]]));
    this.smoothed.data = this.smoothing ? smooth(this.raw.data, this.smoothing) : [];
    const measured = this.column === "loss" ? [...this.evaluations].sort((a, b) => a[0] - b[0]) : [];
    this.evaluation.data = points(measured);
  }
}

export class Overlay extends Picture {
  // runs: [{name, loss: [[step, value], …], eval_loss, learning_rate, tokens_per_s}, …]
  constructor(canvas, runs) {
    super(canvas);
    const sets = runs.map(({ name }, n) => line(name, SERIES[n % SERIES.length], dashes(n)));
    Object.assign(this, { runs, sets });
    this.begin(sets, () => true);
  }

  fill() {
    const dots = this.column === "eval_loss" ? 3 : 0;
    this.runs.forEach((run, n) => {
      const data = points(run[this.column]);
      Object.assign(this.sets[n], { data: this.smoothing ? smooth(data, this.smoothing) : data, pointRadius: dots });
    });
  }
}

function points(pairs) {
  return pairs.filter(([, y]) => y !== null && y !== undefined).map(([x, y]) => ({ x, y }));
}

// An average that forgets, corrected for having nothing to remember at first.
function smooth(data, weight) {
  let sum = 0;
  let share = 0;
  return data.map(({ x, y }) => {
    sum = sum * weight + y * (1 - weight);
    share = share * weight + (1 - weight);
    return { x, y: sum / share };
  });
}

// The second eight runs have the colours of the first, and are dashed.
export function dashes(number) {
  return { borderDash: [[], [6, 3], [2, 3]][Math.floor(number / SERIES.length)] ?? [] };
}

function line(label, colour, more) {
  const colours = { borderColor: colour, backgroundColor: colour };
  return { label, data: [], borderWidth: 1.8, pointRadius: 0, pointHitRadius: 8, ...colours, ...more };
}

function faint(colour) {
  return colour?.replace(/^rgb\((.*)\)$/, "rgba($1, 0.28)");
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

function value({ dataset, parsed }) {
  return ` ${dataset.label}: ${Number(parsed.y.toPrecision(5)).toLocaleString("en", { maximumSignificantDigits: 5 })}`;
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
      tooltip: { callbacks: { title: ([item]) => `Step ${item.parsed.x.toLocaleString("en")}`, label: value } },
    },
    scales: {
      x: { type: "linear", title: { display: true, text: "Step" }, ticks: { precision: 0, maxRotation: 0 }, grid: { display: false } },
      y: { type: "linear", title: { display: false, text: "" }, ticks: { maxTicksLimit: 6 }, grid: {} },
    },
  };
}
