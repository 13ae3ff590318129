// Keys for the log that has the focus, or the first one of the page. Never while something is typed.
export function keys(panels) {
  const help = document.querySelector("[data-keys]");
  const viewer = () => (document.activeElement?.closest("[data-log]") || panels.find((panel) => panel.viewer?.window))?.viewer;
  const actions = {
    "/": (one) => one.search.focus(),
    n: (one) => one.search.go(1),
    N: (one) => one.search.go(-1),
    g: (one) => one.window.toStart(),
    G: (one) => one.follow(true),
    f: (one) => one.follow(!one.window.atEnd),
    w: (one) => one.find("wrap").click(),
    t: (one) => {
      const clock = one.find("clock");
      clock.selectedIndex = (clock.selectedIndex + 1) % clock.options.length;
      clock.dispatchEvent(new Event("change"));
    },
    "?": () => help?.showModal(),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    const one = viewer();
    if (!one?.window || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key](one);
  });
}
