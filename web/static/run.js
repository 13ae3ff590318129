// The page of a run: its charts renew themselves while it goes on; arrow keys walk through the grid of ranks.
const PERIOD_MS = 2000;
const charts = document.querySelector("[data-charts]");

async function renew() {
  if (document.hidden) return setTimeout(renew, PERIOD_MS);
  try {
    const answer = await fetch(charts.dataset.charts, { headers: { Accept: "text/html" } });
    if (answer.ok && !answer.redirected) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-open]");
      charts.dataset.open = fresh.dataset.open;
      charts.replaceChildren(...document.adoptNode(fresh).childNodes);
    } else if (answer.status < 500) return; // signed out, or hidden from this visitor
  } catch {
    // The service restarts or the network is away: the next time will do.
  }
  if (charts.dataset.open === "yes") setTimeout(renew, PERIOD_MS);
}
if (charts?.dataset.open === "yes") setTimeout(renew, PERIOD_MS);

// One stop of the Tab key for all cells. The grid is renewed, so the page listens.
document.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.("[data-grid] a");
  if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
  const cells = [...cell.parentElement.children];
  const columns = cells.findIndex((each) => each.offsetTop > cells[0].offsetTop);
  const down = columns < 0 ? cells.length : columns;
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down };
  const at = cells.indexOf(cell);
  const to = { Home: 0, End: cells.length - 1 }[event.key] ?? (event.key in steps ? at + steps[event.key] : at);
  if (to === at || !cells[to]) return;
  event.preventDefault();
  for (const each of cells) each.tabIndex = -1;
  cells[to].tabIndex = 0;
  cells[to].focus();
});
