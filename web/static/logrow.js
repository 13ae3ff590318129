// One line of a log as an element: its number (a link), its time, its text; places in the source are links.
import { span } from "./logstream.js";
import { PLAIN, paint, render } from "./terminal.js";

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
  const picked = viewer.isPicked(number, line);
  const stamp = [line?.version ?? Boolean(line), picked, viewer.matches.has(number), viewer.current === number, viewer.drawnOver.get(number), group && [group.folded, group.took_s, group.title]].join();
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
  row.append(viewer.together ? rankAnchor(viewer, row, line) : lineAnchor(`#${viewer.panel.dataset.anchor}${number}`, number, `Line ${number}`));
  if (line) fill(viewer, row, line, group);
  else row.classList.add("missing");
  row.append("\n");
  return row;
}

function lineAnchor(href, words, label) {
  const anchor = document.createElement("a");
  anchor.className = "n";
  anchor.href = href;
  anchor.tabIndex = -1;
  anchor.dataset.n = words;
  anchor.setAttribute("aria-label", label);
  return anchor;
}

// Where all ranks are together, the gutter has the rank; a bar in one of eight patterns makes neighbours differ.
function rankAnchor(viewer, row, line) {
  if (!line) return lineAnchor("#", "", "a line that is not there yet");
  row.dataset.rank = line.rank;
  const anchor = lineAnchor(viewer.lineAddress(line), line.rank, `Rank ${line.rank}, line ${line.n}`);
  anchor.dataset.line = line.n;
  anchor.classList.add(`r${line.rank % 8}`);
  return anchor;
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
  const over = viewer.drawnOver.get(Number(row.dataset.line));
  for (const { pen, text } of over === undefined ? render(line.text, line.pen) : render(over, PLAIN)) {
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
  const button = foldButton(viewer, group.folded, () => viewer.folds.groups.get(group.first), `[data-line="${group.first}"]`);
  button.textContent = group.title;
  button.append(...took(group));
  return button;
}

function took({ took_s }) {
  return took_s === null || took_s === undefined ? [] : [note(took_s < 10 ? `${took_s.toFixed(took_s < 1 ? 2 : 1)} s` : span(took_s))];
}

function note(words) {
  const element = document.createElement("span");
  element.className = "note";
  element.textContent = ` ${words}`;
  return element;
}

// `fold()` is asked for at the click: an outline makes them anew.
function foldButton(viewer, folded, fold, place) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "group";
  button.setAttribute("aria-expanded", String(!folded));
  button.addEventListener("click", () => {
    viewer.window.leave();
    viewer.refold(() => viewer.folds.toggle(fold()));
    viewer.box.querySelector(`${place} button`)?.focus({ preventScroll: true });
  });
  return button;
}

// A row without a number: a stage of a build, a rank. What has no lines cannot be folded.
export function headRow(viewer, head) {
  const lines = Math.min(head.last, viewer.lines.total) - head.first + 1;
  const stamp = [lines > 0, head.folded && lines, head.title, head.took_s, head.note].join();
  const drawn = viewer.drawn.get(`head ${head.key}`);
  if (drawn?.stamp === stamp) return drawn.row;
  const row = document.createElement("span");
  row.className = "l head";
  row.dataset.head = head.key;
  const title = lines > 0 ? foldButton(viewer, head.folded, () => viewer.folds.heads.find(({ key }) => key === head.key), `[data-head="${head.key}"]`) : document.createElement("span");
  title.textContent = head.title;
  title.append(...took(head), ...(head.note ? [note(head.note)] : []));
  if (head.folded && lines > 0 && !head.inner) title.append(note(`· ${lines} line${lines > 1 ? "s" : ""}`));
  row.append(title, "\n");
  viewer.drawn.set(`head ${head.key}`, { row, stamp });
  return row;
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
