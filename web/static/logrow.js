// One line of a log as an element: its number (a link), its time, its text; places in the source are links.
import { span } from "./logstream.js";
import { paint, render } from "./terminal.js";

const STDERR = 2;
const MOST_DRAWN = 2000;
const PLACE = /(?:\/app\/|\.\/)?([\w+-][\w./+-]*\.(?:cu|cuh|c|cc|cpp|cxx|h|hh|hpp|hxx|inl|ipp|py|mk|f90|F90|rs))(?::(\d{1,6})|\((\d{1,6})\))/g;

const clocked = (at) => {
  const date = new Date(at * 1000);
  return `${date.toLocaleTimeString([], { hour12: false })}.${String(date.getMilliseconds()).padStart(3, "0")}`;
};

// The element of a line: drawn once, and anew when something of it has changed.
export function rowOf(viewer, number) {
  const line = viewer.lines.known.get(number);
  const group = viewer.folds.groups.get(number);
  const picked = viewer.picked && number >= viewer.picked[0] && number <= viewer.picked[1];
  const stamp = [line?.version ?? Boolean(line), picked, viewer.matches.has(number), viewer.current === number, group && [group.folded, group.took_s, group.title]].join();
  const drawn = viewer.drawn.get(number);
  if (drawn?.stamp === stamp && drawn.line === line) return drawn.row;
  const row = drawRow(viewer, number, line, group);
  row.classList.toggle("picked", Boolean(picked));
  row.classList.toggle("found", viewer.matches.has(number));
  row.classList.toggle("current", viewer.current === number);
  if (viewer.drawn.size > MOST_DRAWN) viewer.drawn.clear();
  viewer.drawn.set(number, { row, stamp, line });
  return row;
}

function drawRow(viewer, number, line, group) {
  const row = document.createElement("span");
  row.className = "l";
  row.dataset.line = number;
  const anchor = document.createElement("a");
  anchor.className = "n";
  anchor.href = `#${viewer.panel.dataset.anchor}${number}`;
  anchor.tabIndex = -1;
  anchor.dataset.n = number;
  anchor.setAttribute("aria-label", `Line ${number}`);
  row.append(anchor);
  if (line) fill(viewer, row, line, group);
  else row.classList.add("missing");
  row.append("\n");
  return row;
}

function fill(viewer, row, line, group) {
  if (line.stream === STDERR) row.classList.add("err");
  if (line.at !== null) {
    const time = document.createElement("span");
    time.className = "t";
    time.dataset.clock = clocked(line.at);
    time.dataset.since = `+${(line.at - (viewer.lines.began ?? line.at)).toFixed(1)}`;
    row.append(time);
  }
  if (group) return row.append(groupHead(viewer, group));
  for (const { pen, text } of render(line.text, line.pen)) {
    const part = document.createElement("span");
    paint(part, pen);
    link(viewer, part, text);
    row.append(part);
  }
  if (line.cut) {
    const note = document.createElement("span");
    note.className = "note";
    note.textContent = ` … ${Math.round(line.cut / 1024)} KiB in this line`;
    row.append(note);
  }
  return undefined;
}

function groupHead(viewer, group) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "group";
  button.setAttribute("aria-expanded", String(!group.folded));
  button.textContent = group.title;
  if (group.took_s !== null) {
    const took = document.createElement("span");
    took.className = "note";
    took.textContent = ` ${group.took_s < 10 ? `${group.took_s.toFixed(1)} s` : span(group.took_s)}`;
    button.append(took);
  }
  button.addEventListener("click", () => {
    viewer.window.leave();
    viewer.refold(() => viewer.folds.toggle(group.first));
    viewer.box.querySelector(`[data-line="${group.first}"] button`)?.focus({ preventScroll: true });
  });
  return button;
}

function link(viewer, part, text) {
  const { source } = viewer.panel.dataset;
  let at = 0;
  if (source && text.length < 4000) {
    for (const match of text.matchAll(PLACE)) {
      const anchor = document.createElement("a");
      anchor.href = `${source}/${match[1].split("/").map(encodeURIComponent).join("/")}#L${match[2] || match[3]}`;
      anchor.textContent = match[0];
      part.append(text.slice(at, match.index), anchor);
      at = match.index + match[0].length;
    }
  }
  part.append(text.slice(at));
}
