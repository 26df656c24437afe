// Files that are sent in parts (tus 1.0), as soon as they are chosen. A part that is lost is sent
// again; after a reload the same file goes on where it was.

const PART_BYTES = 8 * 1024 * 1024;
const VERSION = { "Tus-Resumable": "1.0.0" };
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

const form = document.getElementById("upload");
const list = document.getElementById("under-way");
const news = document.getElementById("upload-news");
const token = form.elements.csrfmiddlewaretoken.value;
const underWay = new Set();
let wantsToGo = false;

class Refused extends Error {}

class Sending {
  constructor(file, split) {
    Object.assign(this, { file, split, offset: 0, failures: 0, stopped: false });
    this.key = `upload:${file.name}:${file.size}:${file.lastModified}`;
    this.row = document.createElement("li");
    this.bar = Object.assign(document.createElement("progress"), { max: file.size, value: 0 });
    this.bar.setAttribute("aria-label", file.name);
    this.text = Object.assign(document.createElement("span"), { className: "quiet" });
    const name = Object.assign(document.createElement("span"), { className: "strong break", textContent: file.name });
    this.stopper = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "Remove" });
    this.stopper.setAttribute("aria-label", `Remove ${file.name}`);
    this.stopper.addEventListener("click", () => this.discard());
    this.row.append(name, this.stopper, this.bar, this.text);
    list.append(this.row);
  }

  async run() {
    underWay.add(this);
    this.say("Waits…");
    try {
      await this.begin();
      while (this.offset < this.file.size && !this.stopped) await this.next();
      if (!this.stopped) this.done();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      localStorage.removeItem(this.key);
      this.row.dataset.tone = "bad";
      this.say(error.message);
      news.textContent = error.message;
      wantsToGo = false;
    } finally {
      underWay.delete(this);
      if (wantsToGo && !underWay.size) form.requestSubmit();
    }
  }

  // Go on with what has come before, or announce the file.
  async begin() {
    this.address = localStorage.getItem(this.key);
    if (this.address && (await this.ask())) return;
    const project = form.elements.project.value;
    const metadata = `filename ${base64(this.file.name)},project_id ${base64(project)}`;
    const headers = { "Upload-Length": this.file.size, "Upload-Metadata": metadata };
    const answer = await this.insist(() => request("POST", "/api/uploads", headers));
    this.address = answer.location;
    localStorage.setItem(this.key, this.address);
  }

  // How much has come; false where the server knows nothing of it (any more).
  async ask() {
    const answer = await this.insist(() => request("HEAD", this.address, {}), [404, 410]);
    if (!answer.ok) return false;
    this.offset = answer.offset;
    return true;
  }

  async next() {
    const part = this.file.slice(this.offset, this.offset + PART_BYTES);
    const headers = { "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" };
    const from = this.offset;
    try {
      const answer = await request("PATCH", this.address, headers, part, (sent) => this.show(from + sent), (xhr) => (this.xhr = xhr));
      if (answer.status === 404 || answer.status === 410) throw new Refused("The server has forgotten this upload; choose the file again.");
      if (answer.status >= 500 || [409, 423, 429, 460].includes(answer.status)) throw new TypeError(answer.error);
      if (!answer.ok) throw new Refused(answer.error);
      this.offset = answer.offset;
      this.failures = 0;
      this.show(this.offset);
    } catch (error) {
      if (error instanceof Refused || this.stopped) throw error instanceof Refused ? error : new Refused("Removed.");
      await this.rest(error);
      await this.ask();
    }
  }

  // Until there is an answer that is not for want of one.
  async insist(asking, fine = []) {
    while (true) {
      try {
        const answer = await asking();
        if (answer.ok || fine.includes(answer.status)) return answer;
        if (answer.status < 500 && ![423, 429].includes(answer.status)) throw new Refused(answer.error);
        if (answer.status === 507) throw new Refused(answer.error);
        throw new TypeError(answer.error);
      } catch (error) {
        if (error instanceof Refused || this.stopped) throw error;
        await this.rest(error);
      }
    }
  }

  async rest(error) {
    this.say(`Interrupted, tries again… ${error.message}`);
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.failures++, LONGEST_WAIT_MS);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      window.addEventListener("online", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }

  show(bytes) {
    this.bar.value = bytes;
    this.say(`${Math.floor((100 * bytes) / this.file.size)} % of ${size(this.file.size)}`);
  }

  say(text) {
    this.text.textContent = text;
  }

  done() {
    const id = this.address.split("/").at(-1);
    this.kept = Object.assign(document.createElement("input"), { type: "hidden", name: `upload-${id}`, value: this.split });
    this.row.append(this.kept);
    this.row.dataset.tone = "good";
    this.show(this.file.size);
    this.say(`${size(this.file.size)}, complete`);
    news.textContent = `${this.file.name} is complete.`;
    document.querySelector(`[data-upload="${id}"]`)?.remove();
    localStorage.removeItem(this.key);
  }

  async discard() {
    this.stopped = true;
    this.xhr?.abort();
    this.row.remove();
    localStorage.removeItem(this.key);
    if (this.address) await request("DELETE", this.address, {}).catch(() => null);
  }
}

// An answer in few words, or a TypeError where there was none. XMLHttpRequest, because fetch does
// not tell how much has been sent.
function request(method, address, headers, body = null, onProgress = null, onStart = null) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open(method, address);
    for (const [name, value] of Object.entries({ ...VERSION, "X-CSRFToken": token, ...headers })) xhr.setRequestHeader(name, value);
    if (onProgress) xhr.upload.addEventListener("progress", ({ loaded }) => onProgress(loaded));
    xhr.addEventListener("load", () =>
      resolve({
        ok: xhr.status < 300,
        status: xhr.status,
        offset: Number(xhr.getResponseHeader("Upload-Offset")),
        location: xhr.getResponseHeader("Location"),
        error: sentence(xhr),
      }),
    );
    for (const what of ["error", "abort", "timeout"]) xhr.addEventListener(what, () => reject(new TypeError("")));
    onStart?.(xhr);
    xhr.send(body);
  });
}

function sentence(xhr) {
  try {
    const { error, details } = JSON.parse(xhr.responseText);
    return details ? Object.values(details).join(" ") : error;
  } catch {
    return `The server answered ${xhr.status}.`;
  }
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

function size(bytes) {
  const power = bytes ? Math.min(Math.floor(Math.log2(bytes) / 10), 4) : 0;
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${["bytes", "KB", "MB", "GB", "TB"][power]}`;
}

function take(files, split) {
  for (const file of files) {
    // A file of a model is called as its neighbours are: config.json.
    if (!form.elements.name.value && split !== "model") form.elements.name.value = file.name.replace(/(\.tar)?\.[^.]+$/, "");
    new Sending(file, split).run();
  }
}

// A dropped folder is the files in it, as a model's is: neither what is hidden nor further folders.
async function dropped({ items }) {
  const found = [...items].map((item) => [item.webkitGetAsEntry(), item.getAsFile()]); // now, or they are gone
  const files = await Promise.all(found.map(([entry, file]) => (entry?.isDirectory ? filesIn(entry) : [file])));
  return files.flat().filter(Boolean); // dragged text is no file
}

async function filesIn(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (let some; (some = await promised((...then) => reader.readEntries(...then))).length; ) entries.push(...some);
  const wanted = entries.filter((entry) => entry.isFile && !entry.name.startsWith("."));
  return Promise.all(wanted.map((entry) => promised((...then) => entry.file(...then))));
}

function promised(work) {
  return new Promise((resolve, reject) => work(resolve, reject));
}

for (const drop of document.querySelectorAll(".drop")) {
  const input = drop.querySelector("input");
  input.multiple = true;
  input.addEventListener("change", () => {
    take([...input.files], drop.dataset.split);
    input.value = ""; // the form itself sends no file any more
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.dataset.over = "";
  });
  drop.addEventListener("dragleave", () => delete drop.dataset.over);
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete drop.dataset.over;
    take(await dropped(event.dataTransfer), drop.dataset.split);
  });
}

// Beside these places the browser would open the file, and the page be gone.
for (const what of ["dragover", "drop"]) {
  window.addEventListener(what, (event) => event.dataTransfer.types.includes("Files") && event.preventDefault());
}

form.addEventListener("submit", (event) => {
  if (event.submitter?.formAction.endsWith("/discard")) return;
  if (!underWay.size) return;
  event.preventDefault();
  wantsToGo = true;
  news.textContent = "It is created as soon as the files are complete.";
});

window.addEventListener("beforeunload", (event) => {
  if (underWay.size) event.preventDefault();
});
