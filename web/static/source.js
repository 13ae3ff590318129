// Ranges of lines: #L12-L20 marks them all; a click with Shift on a second number makes one.
const range = () => {
  const found = /^#L(\d{1,6})(?:-L?(\d{1,6}))?$/.exec(location.hash);
  if (!found) return null;
  const ends = [Number(found[1]), Number(found[2] ?? found[1])];
  return [Math.min(...ends), Math.max(...ends)];
};

function mark() {
  for (const line of document.querySelectorAll(".picked")) line.classList.remove("picked");
  const [from, to] = range() ?? [1, 0];
  const first = document.getElementById(`L${from}`);
  for (let line = first, n = from; line && n <= to; line = line.nextElementSibling, n++) line.classList.add("picked");
  if (first && to > from) first.scrollIntoView();
}

document.querySelector(".source")?.addEventListener("click", (event) => {
  const number = event.target.closest(".at");
  const picked = range();
  if (!number || !event.shiftKey || !picked) return;
  event.preventDefault();
  const other = Number(number.dataset.n);
  const [from, to] = other < picked[0] ? [other, picked[1]] : [picked[0], other];
  location.hash = from === to ? `#L${from}` : `#L${from}-L${to}`;
});
addEventListener("hashchange", mark);
mark();
