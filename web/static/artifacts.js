// Artifacts when scripts run: digests can be copied. The list may be renewed at any time, so the document listens.
if (navigator.clipboard) {
  document.documentElement.classList.add("copies"); // only over https or on localhost
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-digest]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.digest);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
