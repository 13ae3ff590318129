// Which rows of a log are seen: its lines without those that are folded, and heads, which have no number.
// Rows count from 0, lines from 1. A head (a stage of a build, a rank) stands before its first line.
export class Folds {
  constructor() {
    this.groups = new Map(); // by the number of their first line
    this.heads = [];
    this.drawnTo = null; // lines after this one are not looked at yet: they may draw over others
    this.total = 0; // lines
    this.count = 0; // rows
    this.parts = []; // [{row, first, last, head}]: lines in one piece, or a head, in order
  }
  // Take in the outline; who opened or folded something keeps it so.
  update(groups, errors, heads = [], drawnTo = null) {
    this.drawnTo = drawnTo;
    for (const fresh of groups) {
      const old = this.groups.get(fresh.first);
      const last = fresh.last ?? Infinity;
      const bad = errors.some((line) => line > fresh.first && line <= last);
      const folded = old?.chosen ? old.folded : !(fresh.expanded || bad || fresh.last === null);
      this.groups.set(fresh.first, { ...fresh, folded, chosen: old?.chosen || false });
    }
    const before = new Map(this.heads.map((head) => [head.key, head.folded]));
    this.heads = heads.map((head, at) => {
      const next = heads.slice(at + 1).find((other) => !other.last);
      const last = head.last ?? (next ? next.first - 1 : Infinity);
      return { ...head, last, inner: head.last !== null && head.last !== undefined, folded: before.get(head.key) ?? head.folded ?? false };
    });
    this.lay();
  }
  clear() {
    this.groups.clear();
    this.heads = [];
    this.drawnTo = null;
    this.lay();
  }
  toggle(fold) {
    fold.folded = !fold.folded;
    fold.chosen = true;
    this.lay();
  }
  // So that a line can be seen.
  reveal(number) {
    for (const group of this.groups.values()) {
      if (group.folded && group.first < number && number <= group.last) this.toggle(group);
    }
    for (const head of this.heads) if (head.folded && head.first <= number && number <= head.last) this.toggle(head);
  }
  hidden() {
    const ranges = [...this.groups.values()].filter((one) => one.folded).map(({ first, last }) => ({ first: first + 1, last: last ?? Infinity }));
    ranges.push(...this.heads.filter((one) => one.folded));
    if (this.drawnTo !== null) ranges.push({ first: this.drawnTo + 1, last: Infinity });
    return ranges.filter(({ first, last }) => last >= first).sort((one, other) => one.first - other.first);
  }
  lay() {
    const hidden = this.hidden();
    const outer = this.heads.filter((one) => one.folded && !one.inner);
    this.parts = [];
    let [row, at, next] = [0, 1, 0];
    for (const head of [...this.heads, null]) {
      const until = Math.min(head ? head.first - 1 : Infinity, this.total);
      while (at <= until) {
        while (next < hidden.length && hidden[next].last < at) next += 1;
        const range = next < hidden.length && hidden[next].first <= until ? hidden[next] : null;
        const last = range ? range.first - 1 : until;
        if (at <= last) {
          this.parts.push({ row, first: at, last, head: null });
          row += last - at + 1;
        }
        at = range ? Math.min(range.last, until) + 1 : until + 1;
      }
      if (!head) break;
      if (head.inner && outer.some(({ first, last }) => first <= head.first && head.first <= last)) continue;
      this.parts.push({ row, first: at, last: at, head });
      row += 1;
    }
    this.count = row;
  }
  rows(total) {
    if (total !== this.total) {
      this.total = total;
      this.lay();
    }
    return this.count;
  }
  // The last part for which `key` is not larger.
  part(key, value) {
    let low = 0;
    let high = this.parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.parts[middle][key] <= value) low = middle;
      else high = middle - 1;
    }
    return this.parts[low];
  }
  // Of a line that is hidden: what it is folded into.
  rowOf(number) {
    const part = this.part("first", number);
    return part ? part.row + Math.min(Math.max(number, part.first), part.last) - part.first : 0;
  }
  rowOfHead(key) {
    return this.parts.find((part) => part.head?.key === key)?.row ?? 0;
  }
  headOf(row) {
    return this.part("row", row)?.head ?? null;
  }
  // Of a head: the line that follows it.
  lineOf(row) {
    const part = this.part("row", row);
    return part ? part.first + (part.head ? 0 : Math.min(row - part.row, part.last - part.first)) : 1;
  }
}
