// Renews the parts of a page that are marked `data-refresh`, by asking for the page again.
let busy = false;
let again = false;
const sent = new WeakMap(); // what the server sent of each part: what its reader opened or plays does not count
for (const part of document.querySelectorAll("[data-refresh]")) sent.set(part, part.innerHTML);

const hasFocus = (part) => part.contains(document.activeElement);

export async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok && !answer.redirected) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.title = fresh.title;
      for (const part of document.querySelectorAll("[data-refresh]")) {
        const other = fresh.getElementById(part.id);
        if (other && other.innerHTML !== sent.get(part)) swap(part, other);
      }
    }
  } catch {
    // The service restarts or the network is away: the next time will do.
  }
  busy = false;
  if (again) {
    again = false;
    setTimeout(refresh, 500);
  }
}

function swap(part, other) {
  const at = hasFocus(part) ? [...part.querySelectorAll("a, button, input")].indexOf(document.activeElement) : -1;
  sent.set(part, other.innerHTML);
  part.replaceChildren(...document.adoptNode(other).childNodes);
  if (at >= 0) part.querySelectorAll("a, button, input")[at]?.focus({ preventScroll: true });
}
