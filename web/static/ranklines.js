// The lines of all ranks of a run in one order (web/allranks.py): rows are counted in it, a line keeps its rank and number.
import { Lines } from "./lines.js";
import { PLAIN, penAfter } from "./terminal.js";

export class RankLines extends Lines {
  clear(attempt) {
    super.clear(attempt);
    this.firm = 0; // rows up to here stay where they are
    this.generation = null;
    this.leftOut = false;
    this.ended = false;
    this.state = "";
  }
  url(part, parameters) {
    return super.url(part.replace(/^log\//, "logs/"), parameters);
  }
  async fetch(from, count) {
    const answer = await fetch(this.url("log/lines", { from, count }));
    if (!answer.ok) throw new Error(`lines: ${answer.status}`);
    const rows = await answer.json();
    this.keepFirm(rows);
    let number = rows.first;
    for (const piece of rows.pieces) {
      let pen = penAfter(piece.sgr, PLAIN);
      piece.lines.forEach((text, at) => {
        const line = { text, pen, cut: piece.cut[at], rank: piece.rank, n: piece.first + at, ...this.mark(piece.marks, at) };
        this.keep(number, line);
        pen = penAfter(text, pen);
        number += 1;
      });
    }
    this.told?.(rows);
    return { ...rows, lines: rows.pieces.flatMap((piece) => piece.lines) };
  }
  // What was not firm may be elsewhere now, or be longer.
  keepFirm(rows) {
    const same = rows.generation === this.generation;
    for (let at = same ? this.firm + 1 : 1; at <= this.total; at += 1) this.known.delete(at);
    this.generation = rows.generation;
    this.firm = rows.firm;
    this.total = rows.total;
    this.leftOut = rows.left_out;
    this.ended = rows.ended;
    this.state = rows.state;
  }
}
