// Which uploads this browser has begun and not ended: where the same file goes on when it is dropped again. A file is
// the same by its name, size and time of change. The server keeps what is not finished for a day.
const BEGINNING = "upload ";
const KEPT_MS = 7 * 86400 * 1000;
const mine = new Set(); // on their way from this page

export function claim(form, { file, path }) {
  const mark = BEGINNING + JSON.stringify([form, path, file.size, file.lastModified]);
  if (mine.has(mark)) return ""; // the same once more: another upload
  mine.add(mark);
  return mark;
}

export const release = (mark) => mine.delete(mark);

export function placeOf(mark) {
  try {
    return mark ? JSON.parse(localStorage.getItem(mark))?.place ?? "" : "";
  } catch {
    return ""; // there is no storage, or somebody else's words in it
  }
}

export function keep(mark, place) {
  try {
    if (mark) localStorage.setItem(mark, JSON.stringify({ place, at: Date.now() }));
  } catch {
    // without storage it goes on as long as the page is open
  }
}

export function forget(mark) {
  try {
    if (mark) localStorage.removeItem(mark);
  } catch {
    // nothing is kept
  }
}

function forgetOld() {
  const all = Object.keys(localStorage).filter((name) => name.startsWith(BEGINNING));
  for (const mark of all) {
    const at = JSON.parse(localStorage.getItem(mark))?.at;
    if (!(Date.now() - at < KEPT_MS)) localStorage.removeItem(mark);
  }
}

try {
  forgetOld();
} catch {
  // there is no storage
}
