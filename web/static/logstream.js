// What comes live: text, states, who else watches. One EventSource that resumes byte-exactly, also after sleep.
import { refresh } from "./refresh.js";

const SILENT_S = 10;

export function stream(viewer, rows, done) {
  let after = rows.next;
  let told = null;
  let state = {};
  let words = "";
  let heardAt = Date.now();
  let source = null;
  let retry = null;
  let why = ""; // the server lets us wait

  const say = () => {
    if (source?.readyState !== EventSource.OPEN) return viewer.say(why || "reconnecting…");
    const silent_s = Math.floor((Date.now() - heardAt) / 1000);
    const parts = [];
    if (["running", "building"].includes(state.state)) {
      parts.push(silent_s < SILENT_S ? state.state : `${state.state}, silent for ${span(silent_s)}`);
    }
    if (state.watching > 1) parts.push(`${state.watching} people watch`);
    return viewer.say(parts.join(" · "));
  };
  const clock = setInterval(say, 1000);

  const stop = () => {
    clearInterval(clock);
    source.close();
    removeEventListener("online", open);
    viewer.live = false;
    viewer.say("");
    viewer.outline.look();
    refresh();
    done();
  };

  function open() {
    clearTimeout(retry);
    source?.close();
    source = new EventSource(viewer.lines.url("events", { after, lines: 1 }));
    source.addEventListener("open", () => {
      why = "";
      say();
    });
    source.addEventListener("reconnect", (event) => (why = JSON.parse(event.data).words || ""));
    source.addEventListener("error", () => {
      say();
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 5000); // refused: too many, or away
    });
    source.addEventListener("attempt", (event) => {
      const { attempt } = JSON.parse(event.data);
      if (attempt !== viewer.lines.attempt || viewer.lines.total) {
        viewer.lines.clear(attempt);
        viewer.folds.clear();
        viewer.redraw();
      }
      after = event.lastEventId;
    });
    source.addEventListener("lines", (event) => (told = JSON.parse(event.data)));
    source.addEventListener("log", (event) => {
      after = event.lastEventId;
      heardAt = Date.now();
      if (told) viewer.lines.add(told, JSON.parse(event.data));
      else viewer.lines.add({ line: Math.max(viewer.lines.total, 1), begins: false, marks: [] }, JSON.parse(event.data));
      told = null;
      viewer.redraw();
      viewer.outline.grew();
    });
    source.addEventListener("state", (event) => {
      state = JSON.parse(event.data);
      if (state.words !== words) refresh();
      words = state.words;
      say();
    });
    source.addEventListener("end", stop);
  }
  addEventListener("online", open);
  open();
}

export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} m ${Math.round(seconds % 60)} s` : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} m`;
}
