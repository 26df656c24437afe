// The switches above a chart: which curve, how smooth, and on which scale.

// Where Chart.js did not arrive: the server's drawings stay, and there is nothing to switch.
export function leaveDrawings() {
  document.getElementById("charts").hidden = true;
  document.getElementById("toggles").hidden = true;
  document.getElementById("drawings")?.setAttribute("data-stay", "");
}

export function attach(picture, { onShow = () => {} } = {}) {
  const tabs = [...document.querySelectorAll("#charts [role=tab]")];
  document.getElementById("smoothing").addEventListener("input", (e) => picture.smooth(Number(e.target.value)));
  document.getElementById("log-scale").addEventListener("change", (e) => picture.logarithmic(e.target.checked));
  for (const tab of tabs) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => move(event, tab));
  }

  function choose(chosen) {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
    }
    picture.show(chosen.dataset.chart);
    onShow(chosen.dataset.chart);
  }

  function move(event, tab) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs.at((tabs.indexOf(tab) + step) % tabs.length);
    next.focus();
    choose(next);
  }
}
