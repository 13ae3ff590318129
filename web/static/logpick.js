// Permalinks: #L120 and #L120-L140 (#B… for a build's log). A click on a number picks it, with shift a range.
export function pick(viewer) {
  const letter = viewer.panel.dataset.anchor;
  const pattern = new RegExp(`^#${letter}(\\d{1,9})(?:-${letter}(\\d{1,9}))?$`);
  const bar = viewer.find("picked");
  let wanted = null; // a line that is not there yet

  const name = () => {
    const [first, last] = viewer.picked;
    return first === last ? `${letter}${first}` : `${letter}${first}-${letter}${last}`;
  };
  const say = () => {
    bar.hidden = !viewer.picked;
    if (viewer.picked) viewer.find("picked-words").textContent = name();
  };
  const read = () => {
    const match = location.hash.match(pattern);
    if (!match) {
      viewer.picked = null;
      return say();
    }
    const ends = [Number(match[1]), Number(match[2] || match[1])].sort((one, other) => one - other);
    viewer.picked = ends;
    wanted = ends[0] > viewer.lines.total && viewer.live ? ends[0] : null;
    say();
    if (ends[0] <= viewer.lines.total) {
      viewer.show(ends[0]);
      viewer.panel.scrollIntoView({ block: "nearest" });
    }
    return undefined;
  };
  viewer.box.addEventListener("click", (event) => {
    const anchor = event.target.closest("a.n");
    if (!anchor) return;
    event.preventDefault();
    const number = Number(anchor.dataset.n);
    const from = event.shiftKey && viewer.picked ? viewer.picked[0] : number;
    viewer.picked = [Math.min(from, number), Math.max(from, number)];
    history.replaceState(null, "", `#${name()}`);
    viewer.window.leave();
    say();
    viewer.window.update();
  });
  viewer.find("copy-lines").addEventListener("click", async (event) => {
    const [first, last] = viewer.picked;
    const parts = [];
    for (let from = first; from <= last; ) {
      const rows = await viewer.lines.fetch(from, Math.min(last - from + 1, 1000));
      if (!rows.lines.length) break;
      parts.push(...rows.lines);
      from += rows.lines.length;
    }
    const text = parts.map((line) => line.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "")).join("\n");
    await navigator.clipboard?.writeText(`${text}\n`);
    event.target.textContent = "Copied";
    setTimeout(() => (event.target.textContent = "Copy lines"), 2000);
  });
  viewer.find("copy-lines").hidden = !navigator.clipboard; // only over https or on localhost
  addEventListener("hashchange", read);
  read();
  return {
    // A link to a line that was not there when the page was opened.
    grew() {
      if (wanted && wanted <= viewer.lines.total) {
        viewer.show(wanted);
        wanted = null;
      }
    },
  };
}
