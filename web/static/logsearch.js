// Search over the whole log, on the server: next, previous, how many.
export function search(viewer) {
  const form = viewer.find("search");
  const [words, regex, match] = ["words", "regex", "case"].map((name) => form.elements[name]);
  const count = viewer.find("count");
  let found = { lines: [], count: 0 };
  let asked = "";
  let at = -1;

  const key = () => JSON.stringify([words.value, regex.checked, match.checked, viewer.live && viewer.lines.total]);
  const clear = () => {
    found = { lines: [], count: 0 };
    asked = "";
    count.textContent = "";
    viewer.matches = new Set();
    viewer.current = 0;
    CSS.highlights?.delete("found");
    viewer.window.update();
  };
  const say = () => {
    const all = `${found.count.toLocaleString()}${found.whole ? "" : "+"}`;
    count.textContent = found.count ? `${at + 1} of ${all}` : "nothing found";
  };
  const look = async () => {
    const now = key();
    const parameters = { q: words.value, regex: regex.checked ? 1 : 0, case: match.checked ? 1 : 0 };
    count.textContent = "searching…";
    const answer = await fetch(viewer.lines.url("log/search", parameters), { headers: { Accept: "application/json" } });
    if (!answer.ok) {
      const told = await answer.json().catch(() => null);
      clear();
      count.textContent = told?.error?.message || `not possible now (${answer.status})`;
      return false;
    }
    found = await answer.json();
    asked = now;
    viewer.matches = new Set(found.lines);
    return true;
  };
  const go = async (step) => {
    if (!words.value) return clear();
    const fresh = asked !== key();
    const from = viewer.current || viewer.folds.lineOf(viewer.window.anchor()[0]);
    if (fresh && !(await look())) return undefined;
    const { lines } = found;
    if (!lines.length) {
      viewer.current = 0;
      viewer.window.update();
      return say();
    }
    if (step > 0) at = lines.findIndex((line) => (fresh ? line >= from : line > from));
    else at = lines.findLastIndex((line) => line < from);
    if (at < 0) at = step > 0 ? 0 : lines.length - 1; // round
    viewer.current = lines[at];
    viewer.show(viewer.current);
    say();
    return highlight();
  };
  const highlight = () => {
    if (!CSS.highlights) return;
    CSS.highlights.delete("found");
    let pattern = null;
    try {
      const source = regex.checked ? words.value : words.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      pattern = new RegExp(source, match.checked ? "g" : "gi");
    } catch {
      return; // the server's expressions are a little different: its lines are marked all the same
    }
    const ranges = [];
    for (const row of viewer.box.querySelectorAll(".found > span:not(.t)")) {
      const walker = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node && ranges.length < 500; node = walker.nextNode()) {
        for (const hit of node.data.matchAll(pattern)) {
          if (!hit[0]) break;
          const range = new Range();
          range.setStart(node, hit.index);
          range.setEnd(node, hit.index + hit[0].length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(1);
  });
  viewer.find("previous").addEventListener("click", () => go(-1));
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.shiftKey) {
      event.preventDefault();
      go(-1);
    } else if (event.key === "Escape") {
      words.value = "";
      clear();
      viewer.box.focus({ preventScroll: true });
    }
  });
  words.addEventListener("input", () => words.value || clear());
  viewer.box.addEventListener("scroll", () => viewer.matches.size && highlight(), { passive: true });
  return { go, focus: () => words.select() || words.focus() };
}
