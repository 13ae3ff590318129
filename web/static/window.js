// Shows some rows of very many: those around what is seen are in the page, two empty boxes stand for the others.
// Rows may have any height (long lines wrap); the scroll bar is proportional to row numbers.
const OVERSCAN = 80;
const JUMP = 60;
const MOST_PX = 8e6; // browsers have a largest height of an element

export class Window {
  // rows(): how many there are; draw(row): its element, the same one while it looks the same; seen(first, last): they are in the page now.
  constructor(box, { rows, draw, seen }) {
    Object.assign(this, { box, rows, draw, seen });
    this.above = document.createElement("div");
    this.below = document.createElement("div");
    this.body = document.createElement("div");
    box.replaceChildren(this.above, this.body, this.below);
    this.first = 0;
    this.last = 0; // after the last one that is in the page
    this.height = 18;
    this.atEnd = false;
    this.onLeave = () => {};
    this.put = 0; // where we left the scroll bar: a reader who moves is seen before the event says so
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.atEnd && this.toEnd()).observe(box);
  }
  measure() {
    const row = this.body.firstElementChild;
    if (row) this.height = Math.max(parseFloat(getComputedStyle(row).lineHeight) || 18, 1);
  }
  get scale() {
    return Math.min(this.height, MOST_PX / Math.max(this.rows(), 1));
  }
  fill(first, last) {
    this.first = Math.max(first, 0);
    this.last = Math.min(last, this.rows());
    this.place(Array.from({ length: Math.max(this.last - this.first, 0) }, (_, at) => this.draw(this.first + at)));
    this.above.style.height = `${this.first * this.scale}px`;
    this.below.style.height = `${Math.max(this.rows() - this.last, 0) * this.scale}px`;
    this.seen(this.first, this.last);
  }
  // Touches only what is not there yet: most rows stay from one time to the next.
  place(elements) {
    const stays = new Set(elements);
    for (const old of [...this.body.children]) if (!stays.has(old)) old.remove();
    elements.forEach((element, at) => {
      const there = this.body.children[at];
      if (there !== element) this.body.insertBefore(element, there || null);
    });
  }
  moved() {
    return Math.abs(this.box.scrollTop - this.put) > 2;
  }
  move(top) {
    this.box.scrollTop = top;
    this.put = this.box.scrollTop;
  }
  // The first row that can be seen, and how far its upper edge is from that of the box.
  anchor() {
    const top = this.box.getBoundingClientRect().top;
    const elements = this.body.children;
    let low = 0;
    let high = elements.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (elements[middle].getBoundingClientRect().bottom > top + 1) high = middle;
      else low = middle + 1;
    }
    return elements[low] ? [this.first + low, elements[low].getBoundingClientRect().top - top] : [0, 0];
  }
  // Draw anew around a row, which stays where it is.
  around(row, offset) {
    const shown = Math.ceil(this.box.clientHeight / this.height) + 1;
    this.fill(row - OVERSCAN, row + shown + OVERSCAN);
    const element = this.body.children[row - this.first];
    if (!element) return;
    if (row === 0 && offset === 0) {
      this.move(0); // above the first row is some room
      return;
    }
    const now = element.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    this.move(this.box.scrollTop + now - offset);
  }
  // Something has changed: more rows, other texts.
  update() {
    if (this.atEnd && this.box.scrollTop < this.put - 2) this.leave();
    if (this.atEnd) this.toEnd();
    else this.around(...this.anchor());
    this.measure();
  }
  leave() {
    this.atEnd = false;
    this.onLeave(false);
  }
  toEnd() {
    this.atEnd = true;
    const shown = Math.ceil(this.box.clientHeight / this.height) + 1;
    this.fill(this.rows() - shown - OVERSCAN, this.rows());
    this.move(this.box.scrollHeight);
  }
  toStart() {
    this.leave();
    this.fill(0, 2 * OVERSCAN);
    this.move(0);
  }
  // A row to the upper third of the box.
  show(row) {
    this.leave();
    this.around(row, this.box.clientHeight / 3);
  }
  scrolled() {
    const { box } = this;
    const fromEnd = box.scrollHeight - box.scrollTop - box.clientHeight;
    const atEnd = fromEnd < this.height && this.last >= this.rows();
    if (atEnd !== this.atEnd && this.moved()) {
      this.atEnd = atEnd;
      this.onLeave(atEnd);
    }
    this.put = box.scrollTop;
    const start = this.first * this.scale;
    const end = start + this.body.offsetHeight;
    if (box.scrollTop + box.clientHeight < start) this.around(Math.floor(box.scrollTop / this.scale), 0);
    else if (box.scrollTop > end) this.around(Math.min(this.last + Math.floor((box.scrollTop - end) / this.scale), this.rows() - 1), 0);
    else if ((this.first > 0 && box.scrollTop < start + JUMP * this.height) || (this.last < this.rows() && box.scrollTop + box.clientHeight > end - JUMP * this.height)) {
      this.around(...this.anchor());
    }
  }
}
