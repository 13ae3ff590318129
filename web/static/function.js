// The form of a function: sent without leaving the page; what came of it is shown below it.
const MOST_BYTES = 256 * 1024;
const form = document.getElementById("invoke");
const outcome = document.getElementById("outcome");
const part = (name) => outcome.querySelector(`[data-${name}]`);
const button = form?.querySelector("button.primary");

function show(name, value) {
  const element = part(name);
  element.hidden = !value;
  return element;
}

function say(words, state) {
  const status = part("status");
  status.className = state ? `status s-${state}` : "";
  status.textContent = words;
}

function forget() {
  for (const old of form.querySelectorAll(".problem")) old.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    field.setAttribute("aria-describedby", (field.getAttribute("aria-describedby") ?? "").replace(` ${field.id}-wrong`, ""));
  }
}

function complain(answer) {
  forget();
  for (const [name, words] of Object.entries(answer.problems ?? {})) {
    const field = form.elements.namedItem(name);
    if (!field) continue;
    field.closest("details")?.setAttribute("open", "");
    const problem = document.createElement("span");
    Object.assign(problem, { className: "problem", id: `${name}-wrong`, textContent: words });
    field.after(problem);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} ${problem.id}`);
  }
  form.querySelector("[aria-invalid]")?.focus();
  say([answer.error.message, answer.error.hint].filter(Boolean).join(". "), "failed");
}

function ended(url) {
  return new Promise((resolve) => {
    const events = new EventSource(`${url}/events`);
    const told = (event) => {
      const { state, words } = JSON.parse(event.data);
      say(words || state, state);
      return state;
    };
    events.addEventListener("state", told);
    events.addEventListener("end", (event) => {
      events.close();
      resolve(told(event));
    });
  });
}

async function display(url) {
  const result = `${url}/result?inline=1`;
  const answer = await fetch(result, { headers: { Range: `bytes=0-${MOST_BYTES - 1}` } });
  if (!answer.ok) return; // 416: it wrote nothing
  const kind = answer.headers.get("content-type") ?? "";
  const size = Number(answer.headers.get("content-range")?.split("/")[1] ?? answer.headers.get("content-length"));
  Object.assign(show("download", true), { href: `${url}/result?download=1` });
  if (kind.startsWith("image/")) {
    show("picture", true).src = result;
  } else if (kind.startsWith("text/")) {
    const text = await answer.text();
    show("text", true).textContent = pretty(text);
    if (size > MOST_BYTES) show("more", true).textContent = "This is its beginning; the download has all of it.";
  } else {
    show("more", true).textContent = `${size} bytes that are no text.`;
  }
}

function pretty(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

async function invoke() {
  for (const name of ["picture", "text", "more", "download"]) show(name, false);
  outcome.hidden = false;
  part("run").hidden = true;
  say("is being sent", "queued");
  const began = performance.now();
  const sent = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
  const answer = await sent.json();
  if (!sent.ok) return complain(answer);
  forget();
  Object.assign(part("run"), { href: answer.url, textContent: `Run ${answer.run}`, hidden: false });
  const state = await ended(answer.url);
  const took = performance.now() - began;
  say(`${part("status").textContent} · ${(took / 1000).toFixed(2)} s there and back`, state);
  await display(answer.url);
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  try {
    await invoke();
  } catch {
    say("The service did not answer. Try again.", "failed");
  }
  button.disabled = false;
});
