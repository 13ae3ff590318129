// A log: any part of it by number, what comes live at its end. Text only ever enters through textContent.
import { Folds } from "./folds.js";
import { Lines } from "./lines.js";
import { askFirst, fold, outline } from "./logoutline.js";
import { pick } from "./logpick.js";
import { RankLines } from "./ranklines.js";
import { live } from "./ranklive.js";
import { pickRank } from "./rankpick.js";
import { headRow, rowOf } from "./logrow.js";
import { search } from "./logsearch.js";
import { stream } from "./logstream.js";
import { Window } from "./window.js";

const TAIL = 400;
const DRAW_MS = 50;

// Everything that the parts of a viewer share.
export class Viewer {
  constructor(panel) {
    this.panel = panel;
    this.find = (name) => panel.querySelector(`[data-${name}]`);
    this.box = this.find("lines");
    this.live = panel.dataset.open === "yes";
    this.together = panel.dataset.together === "yes"; // all ranks of a run
    this.lines = new (this.together ? RankLines : Lines)(panel.dataset.url, panel.dataset.query, Number(panel.dataset.attempt));
    this.folds = new Folds();
    this.picked = null; // [first, last] of a permalink; where all ranks are together: {rank, n}
    this.matches = new Set(); // lines that hold what was searched for
    this.drawn = new Map(); // elements of lines
    this.drawnOver = new Map(); // how lines look in the end that later ones have drawn over (web/screen.py)
    this.current = 0; // the one of them that was gone to
    this.lines.changed = () => this.redraw();
    this.lines.told = ({ heads }) => this.window && heads.length && this.folds.update([], [], heads);
  }
  async begin() {
    let rows = null;
    try {
      rows = await this.lines.fetch(-TAIL, TAIL);
    } catch {
      this.say("not connected: reload the page");
      return null;
    }
    // The page shows it outlined already: drawn without, it would change twice before the reader's eyes.
    const seen = this.panel.dataset.outlined === "yes" ? await askFirst(this) : null;
    if (seen) fold(this, seen);
    this.window = new Window(this.box, {
      rows: () => this.folds.rows(this.lines.total),
      draw: (row) => (this.folds.headOf(row) ? headRow(this, this.folds.headOf(row)) : rowOf(this, this.folds.lineOf(row))),
      seen: (first, last) => this.seen(first, last),
    });
    this.panel.classList.add("scripted");
    this.empty();
    const toggle = this.find("follow");
    toggle.checked = true;
    this.window.onLeave = (atEnd) => (toggle.checked = atEnd);
    toggle.addEventListener("change", () => this.follow(toggle.checked));
    this.window.toEnd();
    this.window.measure();
    this.options();
    this.find("help").addEventListener("click", () => document.querySelector("[data-keys]").showModal());
    this.outline = outline(this, seen);
    this.pick = (this.together ? pickRank : pick)(this);
    this.search = search(this);
    return rows;
  }
  // Only these rows: between two of them there may be very many folded lines.
  seen(first, last) {
    for (let row = first; row < last; ) {
      const from = this.folds.lineOf(row);
      let to = from;
      for (row += 1; row < last && this.folds.lineOf(row) === to + 1; row += 1) to += 1;
      this.lines.need(from, to);
    }
  }
  empty() {
    const widest = this.together ? this.panel.dataset.lastRank : String(this.lines.total);
    this.box.style.setProperty("--numbers", `${Math.max(widest.length, 3)}ch`);
    const rows = this.folds.rows(this.lines.total);
    this.find("empty").hidden = rows > 0;
    this.box.hidden = rows === 0;
    if (this.together) this.find("left-out").hidden = !this.lines.leftOut;
  }
  follow(on) {
    this.find("follow").checked = on;
    if (on) this.window.toEnd();
    else this.window.leave();
  }
  options() {
    const wrap = this.find("wrap");
    const clock = this.find("clock");
    wrap.checked = localStorage.getItem("log-wrap") !== "no" && innerWidth > 700;
    clock.value = localStorage.getItem("log-clock") || "none";
    const apply = () => {
      this.box.classList.toggle("nowrap", !wrap.checked);
      this.box.dataset.clock = clock.value;
      this.window.update();
    };
    for (const [control, name] of [[wrap, "log-wrap"], [clock, "log-clock"]]) {
      control.addEventListener("change", () => {
        localStorage.setItem(name, control === wrap ? (wrap.checked ? "yes" : "no") : clock.value);
        apply();
      });
    }
    apply();
  }
  say(words) {
    this.find("note").textContent = words;
  }
  // Soon: what comes in the same moment is drawn once.
  redraw() {
    if (this.drawing) return;
    this.drawing = true;
    setTimeout(() => {
      this.drawing = false;
      this.empty();
      this.window?.update();
    }, DRAW_MS);
  }
  // Fold and unfold; what is seen stays where it is.
  refold(change) {
    const [row, offset] = this.window.anchor();
    const head = this.folds.headOf(row);
    const number = this.folds.lineOf(row);
    change();
    this.empty();
    if (this.window.atEnd) this.window.update();
    else this.window.around(head ? this.folds.rowOfHead(head.key) : this.folds.rowOf(number), offset);
  }
  isPicked(number, line) {
    if (!this.picked) return false;
    if (this.together) return line?.rank === this.picked.rank && line.n === this.picked.n;
    return number >= this.picked[0] && number <= this.picked[1];
  }
  // Where a line of a rank has its permalink: in the log of its rank.
  lineAddress({ rank, n }) {
    return `${this.panel.dataset.url}?rank=${rank}#L${n}`;
  }
  // What is seen first, and back to it when rows have moved.
  place() {
    const [row, offset] = this.window.anchor();
    const { rank, n } = this.lines.known.get(this.folds.lineOf(row)) || {};
    return { row, offset, rank, n };
  }
  putBack({ row, offset, rank, n }) {
    const head = this.folds.heads.find(({ key }) => key === String(rank));
    this.folds.rows(this.lines.total);
    this.window.around(head ? this.folds.rowOf(head.first + n - 1) : row, offset);
  }
  // A line to where it can be seen, opened if it is folded.
  show(number) {
    this.folds.reveal(number);
    this.window.show(this.folds.rowOf(number));
  }
}

export async function follow(panel, done) {
  const viewer = new Viewer(panel);
  panel.viewer = viewer;
  const rows = await viewer.begin();
  if (rows && viewer.live && viewer.together) live(viewer, done);
  else if (rows && viewer.live) stream(viewer, rows, done);
  else done();
}
