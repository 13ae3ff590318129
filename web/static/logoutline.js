// Groups to fold and what compilers complain of: asked for at the start, at the end, and now and then between.
const EVERY_MS = 3000;
const DRAWN_MS = 700; // while lines are drawn over
const FIRST_MS = 10000; // until then the page shows what the server has put there

// The outline as it is now; null: it cannot be had.
export async function ask(viewer, options = {}) {
  const answer = await fetch(viewer.lines.url("log/outline", {}), options).catch(() => null);
  return answer?.ok ? answer.json().catch(() => null) : null;
}

export const askFirst = (viewer) => ask(viewer, { signal: AbortSignal.timeout(FIRST_MS) });

// How lines look in the end, and which of them are seen.
export function fold(viewer, { groups, heads, diagnostics, drawn, drawn_to: drawnTo }) {
  const errors = diagnostics.filter((each) => each.severity === "error").map((each) => each.at);
  viewer.drawnOver = new Map(drawn);
  viewer.folds.update(groups, errors, heads, viewer.live ? drawnTo : null);
}

// `first` was taken in before anything was drawn; without it, what is drawn changes when it is there.
export function outline(viewer, first) {
  let timer = null;
  let isFirst = !first;
  const look = async () => {
    const seen = await ask(viewer);
    if (!seen) return;
    viewer.refold(() => fold(viewer, seen));
    const linked = isFirst && viewer.picked?.[0]; // groups are folded now: it may be in one
    if (linked) viewer.show(linked);
    isFirst = false;
    say(seen);
  };
  const say = ({ counts, diagnostics }) => {
    const box = viewer.find("problems");
    const words = ["error", "warning"].filter((kind) => counts[kind]).map((kind) => `${counts[kind]} ${kind}${counts[kind] > 1 ? "s" : ""}`);
    box.hidden = !words.length;
    if (!words.length) return;
    box.querySelector("summary").textContent = words.join(", ");
    box.querySelector("ol").replaceChildren(...diagnostics.map((each) => item(viewer, each)));
  };
  if (first) say(first);
  else look();
  return {
    look,
    grew() {
      viewer.pick?.grew();
      timer ??= setTimeout(() => {
        timer = null;
        look();
      }, viewer.folds.drawnTo === null ? EVERY_MS : DRAWN_MS);
    },
  };
}

function item(viewer, each) {
  const row = document.createElement("li");
  row.className = each.severity;
  const line = document.createElement("a");
  line.href = `#${viewer.panel.dataset.anchor}${each.at}`;
  line.textContent = each.words;
  row.append(line);
  if (each.file) {
    const { source } = viewer.panel.dataset;
    const place = document.createElement(source ? "a" : "span");
    if (source) place.href = `${source}/${each.file.split("/").map(encodeURIComponent).join("/")}#L${each.line}`;
    place.className = "place";
    place.textContent = each.line ? `${each.file}:${each.line}` : each.file;
    row.append(" ", place);
  }
  return row;
}
