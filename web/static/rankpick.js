// Permalinks where all ranks are together: #R3L120 is line 120 of rank 3, wherever it is among the others.
const PATTERN = /^#R(\d{1,6})L(\d{1,9})$/;

export function pickRank(viewer) {
  const bar = viewer.find("picked");
  const own = viewer.find("own-log");

  const say = () => {
    const line = viewer.picked;
    bar.hidden = !line;
    if (!line) return;
    viewer.find("picked-words").textContent = `${line.n} of rank ${line.rank}`;
    own.href = viewer.lineAddress(line);
    own.hidden = false;
  };
  const read = async () => {
    const match = location.hash.match(PATTERN);
    viewer.picked = match ? { rank: Number(match[1]), n: Number(match[2]) } : null;
    say();
    if (!match) return;
    const answer = await fetch(viewer.lines.url("log/where", { rank: match[1], line: match[2] })).catch(() => null);
    const { row } = answer?.ok ? await answer.json() : { row: 0 };
    if (!row) return viewer.say(`line ${match[2]} of rank ${match[1]} is not here`);
    viewer.show(row);
    viewer.panel.scrollIntoView({ block: "nearest" });
  };
  viewer.box.addEventListener("click", (event) => {
    const anchor = event.target.closest("a.n");
    if (!anchor || event.shiftKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    viewer.picked = { rank: Number(anchor.dataset.n), n: Number(anchor.dataset.line) };
    history.replaceState(null, "", `#R${viewer.picked.rank}L${viewer.picked.n}`);
    viewer.window.leave();
    say();
    viewer.window.update();
  });
  viewer.find("copy-lines").hidden = true;
  addEventListener("hashchange", read);
  read();
  return { grew() {} };
}
