// Finds words in the whole log, on the server; each line that has them leads to its place.

import { marked } from "./log.js";

const WAIT_MS = 300;

export class LogSearch {
  constructor(form, place, log) {
    Object.assign(this, { form, place, log, box: form.elements.log, turn: 0 });
    form.addEventListener("submit", (event) => (event.preventDefault(), this.begin()));
    this.box.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.begin(), WAIT_MS);
    });
  }

  begin() {
    clearTimeout(this.timer);
    const words = this.box.value.trim();
    this.list = Object.assign(document.createElement("ol"), { className: "found-lines" });
    this.place.replaceChildren();
    if (!words) return this.log.away && this.log.back();
    return this.look(words, 0, ++this.turn);
  }

  // A long log comes in parts: on and on, until there is something to show.
  async look(words, offset, turn) {
    const answer = await fetch(`${this.form.dataset.url}?q=${encodeURIComponent(words)}&offset=${offset}`).catch(() => null);
    if (turn !== this.turn) return;
    if (!answer?.ok) return this.say("The log cannot be searched now.");
    const { lines, next_offset, size } = await answer.json();
    this.list.append(...lines.map((line) => this.item(line, words)));
    const isOver = next_offset >= size;
    if (!lines.length && !isOver) return this.look(words, next_offset, turn);
    const count = this.list.children.length;
    if (!count) return this.say(`No line has “${words}” in it.`);
    this.say(`${count} line${count === 1 ? "" : "s"}${isOver ? "" : ", and perhaps more further on"}`, this.list);
    if (!isOver) this.place.append(button("Look further", () => this.look(words, next_offset, turn)));
  }

  item({ offset, text }, words) {
    const item = document.createElement("li");
    const there = button("", () => this.log.goTo(offset, words));
    there.replaceChildren(...marked(text, words));
    item.append(there);
    return item;
  }

  say(text, ...more) {
    const line = Object.assign(document.createElement("p"), { className: "quiet", textContent: text });
    this.place.replaceChildren(line, ...more);
  }
}

function button(text, onClick) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: text });
  made.addEventListener("click", onClick);
  return made;
}
