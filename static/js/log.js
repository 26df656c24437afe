// The log's tail: asks for the bytes after those it has, and follows the end unless told not to.

const MOST_CHARACTERS = 400_000;

export class Log {
  constructor(place, follow) {
    Object.assign(this, { place, follow, offset: Number(place.dataset.offset), busy: false });
    place.addEventListener("scroll", () => (follow.checked = this.atEnd()));
    follow.addEventListener("change", () => this.toEnd());
    this.toEnd();
  }

  atEnd() {
    return this.place.scrollHeight - this.place.scrollTop - this.place.clientHeight < 24;
  }

  toEnd() {
    if (this.follow.checked) this.place.scrollTop = this.place.scrollHeight;
  }

  async more() {
    if (this.busy) return;
    this.busy = true;
    try {
      let answer;
      do {
        answer = await this.fetch();
        this.append(answer);
      } while (answer.next_offset < answer.size);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the network is away: asked again later
    } finally {
      this.busy = false;
    }
  }

  async fetch() {
    const answer = await fetch(`${this.place.dataset.url}?offset=${this.offset}`);
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
}
