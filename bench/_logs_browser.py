"""From the moment a program prints a line to the moment it is in the page of a browser that follows."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench._runner_runs import Runs
from bench._tools import Figures, percentile, say
from tests.browsing import sign_in
from tests.conftest import CHROMIUM, CHROMIUM_FLAGS
from tests.service import Service

#: Prints `seconds` as it goes, so many lines a second (perl is in every Debian image).
_CLOCK = """perl -MTime::HiRes=time,sleep -e '
$| = 1; my ($rate, $lasts) = @ARGV; my $start = time; my $said = 0;
while ((my $now = time) < $start + $lasts) {
  for (; $said < ($now - $start) * $rate; $said++) { printf "%%.4f some words that fill the line\\n", time }
  sleep(0.002);
}' %d %d"""
#: Every frame: which lines are in the page that were not, and how long ago each was printed.
_WATCH = """() => {
  const { viewer } = document.querySelector("[data-log]");
  window.delays = [];
  let seen = viewer.lines.total;
  const look = () => {
    const rows = viewer.box.querySelectorAll(".l");
    const last = rows.length ? Number(rows[rows.length - 1].dataset.line) : 0;
    for (let number = seen + 1; number <= last; number += 1) {
      const printed = parseFloat(viewer.lines.known.get(number)?.text);
      if (printed) window.delays.push(Date.now() / 1000 - printed);
    }
    seen = Math.max(seen, last);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
_LASTS_S = 8


@contextmanager
def signed_in(service: Service) -> Iterator[Page]:
    """A page of a browser whose user is signed in."""
    with sync_playwright() as playwright:
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = browser.new_context(base_url=service.url).new_page()
        sign_in(page, service, service.token)
        yield page
        browser.close()


def measure_delay(runs: Runs, figures: Figures, rates: tuple[int, ...]) -> None:
    """At each rate, of every line."""
    with signed_in(runs.service) as page:
        for rate in rates:
            run_id = runs.push(_CLOCK % (rate, _LASTS_S), 1)
            page.goto(f"/runs/{run_id}")
            expect(page.locator("[data-log].scripted")).to_be_visible(timeout=30_000)
            page.evaluate(_WATCH)
            expect(page.locator(".verdict .status")).to_have_text("succeeded", timeout=60_000)
            delays = page.evaluate("window.delays")
            say(f"{rate} lines/s: {len(delays)} of {rate * _LASTS_S} lines were seen coming")
            figures.add(f"delay_{rate}_p50", percentile(delays, 50), "s")
            figures.add(f"delay_{rate}_p95", percentile(delays, 95), "s", most=0.25)


def measure_opening(runs: Runs, run_id: int, lines: int, times: int, figures: Figures) -> None:
    """Its page from the click until its last line can be read; in the same browser, a search through all."""
    opened, searched = [], []
    with signed_in(runs.service) as page:
        for number in range(times):
            page.goto("/")
            began = time.monotonic()
            page.goto(f"/runs/{run_id}", wait_until="commit")
            expect(page.locator(f'.l[data-line="{lines}"]')).to_be_attached(timeout=30_000)
            opened.append(time.monotonic() - began)
            page.get_by_role("searchbox").fill(f"x {lines // 3 + number} ")
            began = time.monotonic()
            page.keyboard.press("Enter")
            expect(page.locator("[data-count]")).to_have_text("1 of 1", timeout=30_000)
            searched.append(time.monotonic() - began)
    figures.median("open_100_mb", opened, most=1.0)
    figures.median("search_100_mb", searched, most=2.0)
