// A log that goes on where the server's rendering of it ends. Text only ever enters through textContent.
import { refresh } from "./refresh.js";

const MOST_LINES = 5000;
const ESCAPE = /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^\[\]]/g;
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,2000}\x1b?)?$/;
const HIDDEN = /[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g;

class Screen {
  constructor(panel) {
    this.box = panel.querySelector("[data-lines]");
    this.cut = panel.querySelector("[data-cut]");
    this.line = this.box.lastElementChild || this.newLine();
    this.count = this.box.childElementCount;
    this.bold = panel.dataset.style.includes("bold");
    this.colour = panel.dataset.style.replace("bold", "").trim();
    this.returned = false;
    this.rest = "";
  }
  newLine() {
    this.line = document.createElement("span");
    this.line.className = "l";
    this.box.append(this.line);
    this.count += 1;
    return this.line;
  }
  clear() {
    this.box.replaceChildren();
    this.count = 0;
    Object.assign(this, { bold: false, colour: "", returned: false, rest: "" });
    this.newLine();
    this.cut.hidden = true;
  }
  feed(text) {
    text = this.rest + text;
    const unfinished = text.match(UNFINISHED);
    this.rest = unfinished ? unfinished[0] : "";
    text = text.slice(0, text.length - this.rest.length);
    let at = 0;
    for (const match of text.matchAll(ESCAPE)) {
      this.print(text.slice(at, match.index));
      if (match[2] === "m") this.sgr(match[1]);
      at = match.index + match[0].length;
    }
    this.print(text.slice(at));
    while (this.count > MOST_LINES) {
      this.box.firstElementChild.remove();
      this.count -= 1;
      this.cut.hidden = false;
    }
  }
  print(text) {
    for (const part of text.split(/([\n\r])/)) {
      if (part === "\n") {
        this.line.append("\n");
        this.newLine();
        this.returned = false;
      } else if (part === "\r") {
        this.returned = true;
      } else if (part) {
        if (this.returned) this.line.replaceChildren();
        this.returned = false;
        const span = document.createElement("span");
        span.className = `${this.colour} ${this.bold ? "bold" : ""}`.trim();
        span.textContent = part.replace(HIDDEN, "\ufffd");
        this.line.append(span);
      }
    }
  }
  sgr(codes) {
    const numbers = codes.slice(0, 100).split(";").map((code) => Number(code) || 0);
    for (let i = 0; i < numbers.length; i += 1) {
      const code = numbers[i];
      if (code === 0) Object.assign(this, { bold: false, colour: "" });
      else if (code === 1 || code === 22) this.bold = code === 1;
      else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) this.colour = `c${code}`;
      else if (code === 39) this.colour = "";
      else if (code === 38 || code === 48) i += numbers[i + 1] === 5 ? 2 : 4;
    }
  }
}

export function follow(panel, done) {
  const screen = new Screen(panel);
  const note = panel.querySelector("[data-note]");
  const toggle = panel.querySelector("[data-follow]");
  panel.querySelector("[data-follow-box]").hidden = false;
  let put = screen.box.scrollTop; // where we left it: a reader who moves up is seen before the event says so
  const toBottom = () => {
    if (screen.box.scrollTop < put) toggle.checked = false;
    if (toggle.checked) screen.box.scrollTop = screen.box.scrollHeight;
    put = screen.box.scrollTop;
  };
  screen.box.addEventListener("scroll", () => {
    toggle.checked = screen.box.scrollHeight - screen.box.scrollTop - screen.box.clientHeight < 24;
    put = screen.box.scrollTop;
  });
  toggle.addEventListener("change", () => {
    put = 0;
    toBottom();
  });
  toBottom();

  const address = new URL(panel.dataset.events, location.href);
  address.searchParams.set("after", panel.dataset.after);
  const source = new EventSource(address);
  source.addEventListener("open", () => (note.textContent = ""));
  source.addEventListener("error", () => {
    note.textContent = source.readyState === EventSource.CLOSED ? "not connected" : "reconnecting…";
  });
  source.addEventListener("attempt", () => screen.clear());
  source.addEventListener("log", (event) => {
    panel.querySelector("[data-empty]")?.remove();
    screen.feed(JSON.parse(event.data));
    toBottom();
  });
  source.addEventListener("state", () => refresh());
  source.addEventListener("end", () => {
    source.close();
    refresh();
    done();
  });
}
