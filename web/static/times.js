// Times in the viewer's zone: the exact one in the title of each, and in its text where that is exact. The
// server writes UTC in the same form, so nothing moves. "3 m ago" goes on counting while a page stays open.
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const parts = new Intl.DateTimeFormat("en-CA", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

function short(date) {
  const at = Object.fromEntries(parts.formatToParts(date).map((part) => [part.type, part.value]));
  return `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}:${at.second}`;
}

function ago(date) {
  const passed = Math.max(0, Math.round((Date.now() - date) / 1000));
  if (passed < 5) return "just now";
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]].find(([each]) => passed >= each);
  return `${Math.floor(passed / size)} ${unit} ago`;
}

function ahead(date) {
  const left = Math.round((date - Date.now()) / 1000);
  if (left < 1) return "now";
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]].find(([each]) => left >= each);
  return `in ${Math.floor(left / size)} ${unit}`;
}

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    time.title = exact.format(date);
    if ("exact" in time.dataset) time.textContent = short(date);
  }
}

function count() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    if (/^(just now|\d+ [smhd] ago)$/.test(time.textContent)) time.textContent = ago(new Date(time.dateTime));
    else if (/^(now|in \d+ [smhd])$/.test(time.textContent)) time.textContent = ahead(new Date(time.dateTime));
  }
}

localise(document);
setInterval(() => document.hidden || count(), 10_000);
for (const part of document.querySelectorAll("[data-refresh]")) {
  new MutationObserver(() => localise(part)).observe(part, { childList: true });
}
