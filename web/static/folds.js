// Groups of a log, and which of its lines are hidden by folded ones: rows (from 0) to line numbers (from 1) and back.
export class Folds {
  constructor() {
    this.groups = new Map(); // by the number of their first line
    this.hidden = []; // [{first, last, before}]: folded lines, and how many are hidden up to there
  }
  // Take in the outline; who opened or folded a group keeps it so.
  update(groups, errors) {
    for (const fresh of groups) {
      const old = this.groups.get(fresh.first);
      const last = fresh.last ?? Infinity;
      const bad = errors.some((line) => line > fresh.first && line <= last);
      const folded = old?.chosen ? old.folded : !(fresh.expanded || bad || fresh.last === null);
      this.groups.set(fresh.first, { ...fresh, folded, chosen: old?.chosen || false });
    }
    this.count();
  }
  clear() {
    this.groups.clear();
    this.count();
  }
  toggle(first) {
    const group = this.groups.get(first);
    group.folded = !group.folded;
    group.chosen = true;
    this.count();
  }
  // So that a line can be seen.
  reveal(number) {
    for (const group of this.groups.values()) {
      if (group.folded && group.first < number && number <= group.last) this.toggle(group.first);
    }
  }
  count() {
    const folded = [...this.groups.values()].filter((group) => group.folded && group.last > group.first);
    folded.sort((one, other) => one.first - other.first);
    let before = 0;
    this.hidden = folded.map(({ first, last }) => {
      before += last - first;
      return { first: first + 1, last, before };
    });
  }
  rows(total) {
    let hidden = 0;
    for (const range of this.hidden) {
      if (range.first > total) break;
      hidden = range.before - Math.max(range.last - total, 0);
    }
    return total - hidden;
  }
  rowOf(number) {
    let row = number - 1;
    for (const { first, last } of this.hidden) {
      if (number > last) row -= last - first + 1;
      else if (number >= first) return row - (number - first) - 1;
      else break;
    }
    return row;
  }
  lineOf(row) {
    let number = row + 1;
    for (const { first, last } of this.hidden) {
      if (number < first) break;
      number += last - first + 1;
    }
    return number;
  }
}
