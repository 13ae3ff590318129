// The lines of one log: those that were fetched by number, and those that come live at its end. Bounded.
import { PLAIN, penAfter } from "./terminal.js";

const MOST_LINES = 20000;
const MOST_TEXT = 1 << 14;
const FETCH = 400;

export class Lines {
  constructor(address, query, attempt) {
    this.address = address;
    this.query = query;
    this.clear(attempt);
    this.changed = () => {};
  }
  clear(attempt) {
    this.attempt = attempt;
    this.total = 0;
    this.known = new Map(); // by number, from 1
    this.asked = new Set();
    this.open = false; // whether the last line may go on
    this.pen = PLAIN;
    this.began = null; // when the first line came
  }
  url(part, parameters) {
    const url = new URL(`${this.address}/${part}`, location.href);
    const all = { ...Object.fromEntries(new URLSearchParams(this.query)), attempt: this.attempt, ...parameters };
    for (const [name, value] of Object.entries(all)) url.searchParams.set(name, value);
    return url;
  }
  async fetch(from, count) {
    const answer = await fetch(this.url("log/lines", { from, count }));
    if (!answer.ok) throw new Error(`lines: ${answer.status}`);
    const rows = await answer.json();
    if (rows.attempt !== this.attempt) return rows;
    this.total = Math.max(this.total, rows.total);
    let pen = penAfter(rows.sgr, PLAIN);
    rows.lines.forEach((text, at) => {
      this.keep(rows.first + at, { text, pen, cut: rows.cut[at], ...this.mark(rows.marks, at) });
      pen = penAfter(text, pen);
    });
    return rows;
  }
  mark(marks, at) {
    let found = null;
    for (const mark of marks) {
      if (mark[0] > at) break;
      found = mark;
    }
    if (found && (this.began === null || found[1] < this.began)) this.began = found[1];
    return found ? { at: found[1], stream: found[2] } : { at: null, stream: 0 };
  }
  keep(number, line) {
    this.known.delete(number);
    this.known.set(number, line);
    if (this.known.size > MOST_LINES) {
      for (const old of this.known.keys()) {
        this.known.delete(old);
        if (this.known.size <= MOST_LINES * 0.9) break;
      }
    }
  }
  // Has the lines fetched that are not known; `changed` is called when they are there.
  async need(first, last) {
    for (let number = Math.max(first, 1); number <= Math.min(last, this.total); number += 1) {
      if (this.known.has(number) || this.asked.has(number)) continue;
      const asked = [];
      for (let at = number; at < number + FETCH && at <= this.total && !this.known.has(at); at += 1) asked.push(at);
      asked.forEach((at) => this.asked.add(at));
      try {
        const rows = await this.fetch(number, asked.length);
        if (!rows.lines.length) return;
        this.changed();
      } catch {
        return; // asked again when it is looked at again
      } finally {
        asked.forEach((at) => this.asked.delete(at));
      }
    }
  }
  // What comes live: `told` says which line the text begins in (numbered.py).
  add(told, text) {
    if (told.sgr !== undefined) this.pen = penAfter(told.sgr, PLAIN);
    let number = told.line;
    let line = this.known.get(number);
    if (told.begins || !line || number !== this.total) line = { text: "", pen: this.pen, cut: 0, at: null, stream: 0 };
    const parts = text.split("\n");
    parts.forEach((part, at) => {
      if (at > 0) {
        this.pen = penAfter(line.text, line.pen);
        number += 1;
        line = { text: "", pen: this.pen, cut: 0, at: null, stream: 0 };
      }
      if (line.at === null) Object.assign(line, this.mark(told.marks, at));
      if (at < parts.length - 1 || part) this.grow(number, line, part);
    });
  }
  grow(number, line, part) {
    const whole = line.text + part;
    if (whole.length > MOST_TEXT) {
      line.cut = (line.cut || line.text.length) + part.length;
      const redrawn = whole.lastIndexOf("\r", whole.length - 2);
      line.text = redrawn > 0 ? whole.slice(redrawn + 1).slice(0, MOST_TEXT) : whole.slice(0, MOST_TEXT);
    } else {
      line.text = whole;
    }
    line.version = (line.version || 0) + 1;
    this.total = Math.max(this.total, number);
    this.keep(number, line);
  }
}
