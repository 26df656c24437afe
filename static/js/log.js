// The log's tail: asks for the bytes after those it has, and follows the end unless told not to.
// Where one looks at an earlier place, it waits until one comes back to the end.

const MOST_CHARACTERS = 400_000;
const BEFORE_BYTES = 2000;

export class Log {
  constructor(place, follow) {
    Object.assign(this, { place, follow, offset: Number(place.dataset.offset), busy: false, away: false });
    place.addEventListener("scroll", () => (follow.checked = !this.away && this.atEnd()));
    follow.addEventListener("change", () => (this.away ? this.back() : this.toEnd()));
    this.toEnd();
  }

  atEnd() {
    return this.place.scrollHeight - this.place.scrollTop - this.place.clientHeight < 24;
  }

  toEnd() {
    if (this.follow.checked) this.place.scrollTop = this.place.scrollHeight;
  }

  async more() {
    if (this.busy || this.away) return;
    this.busy = true;
    try {
      let answer;
      do {
        answer = await this.fetch(`?offset=${this.offset}`);
        this.append(answer);
      } while (answer.next_offset < answer.size);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the network is away: asked again later
    } finally {
      this.busy = false;
    }
  }

  async fetch(query) {
    const answer = await fetch(`${this.place.dataset.url}${query}`);
    if (!answer.ok) throw new TypeError(`the log answered ${answer.status}`);
    return answer.json();
  }

  append({ text, next_offset }) {
    this.offset = next_offset;
    if (!text) return;
    this.place.append(text);
    if (this.place.textContent.length > MOST_CHARACTERS) {
      this.place.textContent = this.place.textContent.slice(-MOST_CHARACTERS / 2);
    }
    this.toEnd();
  }

  // What stands around this byte, with the words marked, the ones there in view.
  async goTo(offset, words) {
    this.away = true;
    this.follow.checked = false;
    const begin = Math.max(offset - BEFORE_BYTES, 0);
    const { text } = await this.fetch(`?offset=${begin}`);
    const skipped = new TextDecoder().decode(new TextEncoder().encode(text).slice(0, offset - begin)).length;
    this.place.replaceChildren(...marked(text, words));
    let seen = 0;
    for (const node of this.place.childNodes) {
      seen += node.textContent.length;
      if (node.nodeName !== "MARK" || seen <= skipped) continue;
      node.dataset.here = "";
      this.place.scrollTop = node.offsetTop - this.place.offsetTop - this.place.clientHeight / 3;
      break;
    }
  }

  async back() {
    const answer = await this.fetch("");
    this.away = false;
    this.place.textContent = answer.text;
    this.offset = answer.next_offset;
    this.follow.checked = true;
    this.toEnd();
  }
}

// The text as nodes, each place that has the words in a <mark>.
export function marked(text, words) {
  const nodes = [];
  const wanted = words.toLowerCase();
  const low = text.toLowerCase();
  let at = 0;
  while (wanted) {
    const next = low.indexOf(wanted, at);
    if (next < 0) break;
    nodes.push(text.slice(at, next));
    nodes.push(Object.assign(document.createElement("mark"), { textContent: text.slice(next, next + wanted.length) }));
    at = next + wanted.length;
  }
  nodes.push(text.slice(at));
  return nodes;
}
