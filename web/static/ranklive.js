// All ranks together while they run: what is new is asked for again and again, by its rows; nothing is lost or doubled.
import { refresh } from "./refresh.js";

const EVERY_MS = 1000;
const MOST_MS = 5000;
const ROWS = 400;

export function live(viewer, done) {
  const { lines } = viewer;
  let wait_ms = EVERY_MS;
  let { state } = lines;

  const ask = async () => {
    if (document.hidden) return setTimeout(ask, EVERY_MS);
    const keep = viewer.window.atEnd ? null : viewer.place();
    const [before, firm] = [lines.total, lines.firm];
    try {
      await lines.fetch(firm + 1, keep ? 1 : ROWS);
      viewer.say(lines.state === "running" ? "running" : "");
      wait_ms = lines.total === before && lines.firm === firm ? Math.min(wait_ms * 1.5, MOST_MS) : EVERY_MS;
    } catch (error) {
      if (/ (401|403|404)$/.test(error.message)) return viewer.say("not connected: reload the page");
      viewer.say("reconnecting…");
      wait_ms = MOST_MS;
    }
    if (keep) viewer.putBack(keep);
    viewer.redraw();
    if (lines.state !== state) refresh();
    ({ state } = lines);
    if (!lines.ended) return setTimeout(ask, wait_ms);
    viewer.live = false;
    viewer.say("");
    return done();
  };
  setTimeout(ask, EVERY_MS);
}
