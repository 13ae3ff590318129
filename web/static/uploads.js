// Files and whole folders, dropped or chosen: each is sent by itself, with its path, and starts its run. A large
// one goes in parts (tus 1.0): cut off, it goes on where it was, also after the page was loaded anew.
import { refresh } from "./refresh.js";
import * as marks from "./uploadmarks.js";

const AT_ONCE = 3;
const TRIES = 5;
const MOST_SHOWN = 50;
const WHOLE_BYTES = 1 << 20;
const SAID_STEP = 10; // per cent between two words to a screen reader
const CUT = "the connection was cut";
const TUS = { "Tus-Resumable": "1.0.0" };
const form = document.getElementById("drop");
const input = form.querySelector("#files");
const folder = form.querySelector("#folder");
const list = form.querySelector("[data-sent]");
const status = form.querySelector("[data-status]");
const waiting = [];
let atWork = 0;
let sent = 0;
let failed = 0;
let total = 0;
let said = "";
const underWay = new Map(); // file: bytes that were sent

form.querySelector(".dropping").hidden = false;
form.querySelector("[data-folder]").hidden = false;
input.required = false;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// What a screen reader is told: how many are sent, and of those under way each tenth.
function say() {
  const left = total - sent - failed;
  const words = [`${sent} of ${total} ${total === 1 ? "file" : "files"} sent`];
  if (failed) words.push(`${failed} not taken`);
  let [bytes, of] = [0, 0];
  for (const [file, here] of underWay) [bytes, of] = [bytes + here, of + file.size];
  const step = of ? Math.floor((bytes / of) * (100 / SAID_STEP)) * SAID_STEP : 0;
  if (left && step) words.push(`${step} % of what is under way`);
  if (!left) words.push("the table below shows what comes of them");
  if (words.join(", ") !== said) status.textContent = said = words.join(", ");
}

// The fetch API does not tell how far it is.
function ask(method, address, headers, body, tell) {
  const request = new XMLHttpRequest();
  request.open(method, address);
  for (const [name, value] of Object.entries({ Accept: "application/json", ...headers })) request.setRequestHeader(name, value);
  if (tell) request.upload.addEventListener("progress", (event) => tell(event.loaded));
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(new Error(CUT)));
    request.send(body);
  });
}

function wordsOf(request) {
  if (request.responseURL.includes("/signin")) return "you are not signed in any more: sign in, then drop it again";
  try {
    const { message, hint } = JSON.parse(request.responseText).error;
    return [message, hint].filter(Boolean).join(". ");
  } catch {
    return `the answer was ${request.status}`;
  }
}

function check(request, wanted) {
  if (request.status === wanted) return request;
  const wait = Number(request.getResponseHeader("Retry-After"));
  // 409 and 423: what a browser asks once more by itself, where a connection was cut, is not where the server is.
  const wasCut = request.status === 409 || request.status === 423;
  const passes = wait || wasCut || request.status >= 500;
  throw Object.assign(new Error(wasCut ? CUT : wordsOf(request)), { final: !passes, wait, status: request.status });
}

// Until it is done, or nothing has come through so many times.
async function patiently(step, tell, arrived = () => 0) {
  for (let tries = 1; ; tries += 1) {
    const before = arrived();
    try {
      return await step();
    } catch (error) {
      if (arrived() > before) tries = 1;
      if (error.final || tries >= TRIES) throw error;
      tell.cut(error);
      await pause(error.wait || tries);
    }
  }
}

async function sendWhole({ file, path }, tell) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const address = new URL(form.action);
  address.searchParams.set("path", path);
  const headers = { "Content-Type": "application/octet-stream", "Idempotency-Key": key };
  await patiently(async () => check(await ask("POST", address, headers, file, tell.sent), 201), tell);
}

const encoded = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

async function announce({ file, path }) {
  const place = new URL(form.action);
  place.pathname += "/parts";
  const headers = { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": `path ${encoded(path)}` };
  const request = check(await ask("POST", place, headers), 201);
  return new URL(request.getResponseHeader("Location"), place).href;
}

// How much of it is there; null where it is not known there any more.
async function offsetOf(place) {
  const request = await ask("HEAD", place, TUS);
  if (request.status === 404) return null;
  const offset = check(request, 200).getResponseHeader("Upload-Offset");
  if (offset === null) throw Object.assign(new Error(wordsOf(request)), { final: true });
  return Number(offset);
}

async function sendParts(next, tell) {
  const { file } = next;
  const mark = marks.claim(form.action, next);
  let place = marks.placeOf(mark);
  let offset = 0;
  const step = async () => {
    offset = place ? await offsetOf(place) : null;
    if (offset === null) {
      place = await announce(next);
      marks.keep(mark, place);
      offset = 0;
    }
    tell.sent(offset);
    if (offset === file.size) return;
    const headers = { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
    check(await ask("PATCH", place, headers, file.slice(offset), (bytes) => tell.sent(offset + bytes)), 204);
  };
  try {
    await patiently(step, tell, () => offset ?? 0);
    marks.forget(mark);
  } catch (error) {
    if (error.final && error.status >= 400) marks.forget(mark);
    throw error;
  } finally {
    marks.release(mark);
  }
}

const send = (next, tell) => (next.file.size > WHOLE_BYTES ? sendParts(next, tell) : sendWhole(next, tell));

function shown({ file, path }) {
  const item = document.createElement("li");
  const bar = Object.assign(document.createElement("progress"), { max: file.size || 1, value: 0 });
  const words = document.createElement("span");
  bar.setAttribute("aria-label", `How much of ${path} is sent`);
  item.append(bar, path, words);
  if (list.childElementCount < MOST_SHOWN) list.append(item);
  const sent = (bytes) => {
    bar.value = bytes;
    underWay.set(file, Math.min(bytes, file.size));
    words.textContent = `${Math.floor((bar.value / bar.max) * 100)} %`;
    say();
  };
  const cut = (error) => (words.textContent = `${error.message}; it goes on from ${Math.floor((bar.value / bar.max) * 100)} %`);
  return { item, tell: { sent, cut } };
}

async function work() {
  atWork += 1;
  while (waiting.length) {
    const next = waiting.shift();
    const { item, tell } = shown(next);
    try {
      if (next.file.size > Number(form.dataset.largest)) throw new Error("this is larger than HERMES_INPUT_SIZE allows");
      await send(next, tell);
      sent += 1;
      item.remove();
    } catch (error) {
      failed += 1;
      item.className = "bad";
      item.textContent = `${next.path}: ${error.message}`;
    }
    underWay.delete(next.file);
    say();
  }
  atWork -= 1;
  if (!atWork) refresh();
}

function add(files) {
  if (!atWork) {
    sent = failed = total = 0;
    list.replaceChildren();
  }
  waiting.push(...files);
  total += files.length;
  say();
  while (atWork < AT_ONCE && waiting.length) work();
}

const named = (files) => Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));

async function walk(entry, found) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) await walk(each, found);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...named(input.files), ...named(folder.files)];
  if (!files.length) {
    status.textContent = "Choose a file or a folder first.";
    input.focus();
    return;
  }
  form.reset();
  add(files);
});

for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
  form.addEventListener(name, (event) => {
    event.preventDefault();
    form.classList.toggle("over", over);
  });
}

form.addEventListener("drop", async (event) => {
  const entries = Array.from(event.dataTransfer.items, (each) => each.webkitGetAsEntry?.()).filter(Boolean);
  const plain = named(event.dataTransfer.files);
  const found = [];
  for (const each of entries) await walk(each, found);
  add(entries.length ? found : plain);
});
