// What every page does when scripts run: parts renew themselves, commands can be copied, logs go on live.
import { follow } from "./log.js";
import { keys } from "./logkeys.js";
import { refresh } from "./refresh.js";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // only over https or on localhost
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

const clock = document.querySelector("[data-every]");
if (clock) {
  setInterval(() => document.hidden || refresh(), Number(clock.dataset.every) * 1000);
}

// One stream at a time: a browser has six connections for all pages of a host. A build comes before its run.
const panels = [...document.querySelectorAll("[data-log]")];
const waiting = panels.filter((panel) => panel.dataset.open === "yes");
waiting.sort((one, other) => other.dataset.url.includes("/builds/") - one.dataset.url.includes("/builds/"));
const next = () => {
  const panel = waiting.shift();
  if (panel) follow(panel, next);
};
next();
// What has ended is read when it is looked at: a folded build log may never be.
const looked = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    looked.unobserve(target);
    follow(target, () => {});
  }
});
panels.filter((panel) => panel.dataset.open === "no").forEach((panel) => looked.observe(panel));
if (panels.length) keys(panels);
