// Files and whole folders, dropped or chosen: each is sent by itself, with its path, and starts its run.
import { refresh } from "./refresh.js";

const AT_ONCE = 3;
const TRIES = 5;
const MOST_SHOWN = 50;
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

form.querySelector(".dropping").hidden = false;
form.querySelector("[data-folder]").hidden = false;
input.required = false;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function say() {
  const left = total - sent - failed;
  const words = [`${sent} of ${total} ${total === 1 ? "file" : "files"} sent`];
  if (failed) words.push(`${failed} not taken`);
  if (!left) words.push("the table below shows what comes of them");
  status.textContent = words.join(", ");
}

// The fetch API does not tell how far it is.
function post(file, path, key, tell) {
  const address = new URL(form.action);
  address.searchParams.set("path", path);
  const request = new XMLHttpRequest();
  request.open("POST", address);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("Idempotency-Key", key);
  request.upload.addEventListener("progress", (event) => tell(event.loaded));
  return new Promise((resolve, reject) => {
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(new Error("the connection was cut")));
    request.send(file);
  });
}

function wordsOf(request) {
  try {
    const { message, hint } = JSON.parse(request.responseText).error;
    return [message, hint].filter(Boolean).join(". ");
  } catch {
    return `the answer was ${request.status}`;
  }
}

async function send({ file, path }, tell) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  for (let tries = 1; ; tries += 1) {
    try {
      const request = await post(file, path, key, tell);
      if (request.status < 300) return;
      const wait = Number(request.getResponseHeader("Retry-After"));
      if (!wait || tries === TRIES) throw Object.assign(new Error(wordsOf(request)), { final: true });
      await pause(wait);
    } catch (error) {
      if (error.final || tries === TRIES) throw error;
      await pause(tries);
    }
  }
}

function shown({ file, path }) {
  const item = document.createElement("li");
  const bar = Object.assign(document.createElement("progress"), { max: file.size || 1, value: 0 });
  bar.setAttribute("aria-label", `How much of ${path} is sent`);
  item.append(bar, path);
  if (list.childElementCount < MOST_SHOWN) list.append(item);
  return { item, bar };
}

async function work() {
  atWork += 1;
  while (waiting.length) {
    const next = waiting.shift();
    const { item, bar } = shown(next);
    try {
      if (next.file.size > Number(form.dataset.largest)) throw new Error("this is larger than HERMES_INPUT_SIZE allows");
      await send(next, (bytes) => (bar.value = bytes));
      sent += 1;
      item.remove();
    } catch (error) {
      failed += 1;
      item.className = "bad";
      item.textContent = `${next.path}: ${error.message}`;
    }
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
