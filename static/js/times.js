// Keeps "3 min ago" true while a page stays open. The words are those of templatetags/human.py.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const WEEK_S = 7 * 86400;

export function ago(seconds) {
  if (seconds < 45) return "just now";
  const [unit, size] = UNITS.find(([name, s]) => seconds >= s * 0.75 || name === "s");
  return `${Math.max(Math.round(seconds / size), 1)} ${unit} ago`;
}

function freshen() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (seconds < WEEK_S) time.textContent = ago(seconds);
  }
}

export function keepFresh() {
  setInterval(freshen, 20_000);
}
