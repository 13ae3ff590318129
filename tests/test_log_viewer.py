"""The log viewer as a person uses it: large logs, links to lines, search, groups, keys, a lost connection."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.programs import shell
from tests.service import Service, wait_for

LINES = 2_000_000
LARGE = shell(f"seq 1 {LINES}; printf 'a.cpp:7:1: error: at the very end\\n'")
TOP = """box => {
  const { folds, window } = box.closest("[data-log]").viewer;
  return folds.lineOf(window.anchor()[0]);
}"""
SCROLL = """async (box) => {
  box.scrollTop += 300;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
TALKS = shell(
    "echo '::group::Setting up'; seq 1 20; echo '::endgroup::'\n"
    "printf '\\033[38;5;208morange\\033[0m\\n'; echo to stderr >&2\n"
    "for i in $(seq 1 60); do echo more $i; sleep 0.1; done\n"
)


@pytest.fixture(scope="module")
def large(service: Service) -> dict[str, Any]:
    """A run that printed two million lines."""
    run = service.run_of(service.push(LARGE))
    assert run["state"] == "succeeded", run
    return run


def open_log(page: Page, run: dict[str, Any], anchor: str = "") -> Any:
    """The viewer of its page, in charge, and all of it in sight."""
    page.set_viewport_size({"width": 1280, "height": 1400})
    page.goto(f"/runs/{run['id']}{anchor}")
    expect(page.locator("[data-log].scripted")).to_be_visible()
    return page.locator("[data-lines]")


def row(page: Page, number: int) -> Any:
    """A line by its number."""
    return page.locator(f'.l[data-line="{number}"]')


def test_a_large_log_opens_at_its_end_and_holds_few_rows(large: dict[str, Any], browser_page: Page) -> None:
    log = open_log(browser_page, large)
    expect(row(browser_page, LINES + 1)).to_be_in_viewport()
    expect(row(browser_page, LINES)).to_contain_text(str(LINES))
    assert log.evaluate("box => box.querySelectorAll('.l').length") < 500
    expect(browser_page.locator("[data-problems] summary")).to_have_text("1 error")


def test_any_place_of_a_large_log_by_link_key_and_scroll_bar(
    large: dict[str, Any], browser_page: Page
) -> None:
    log = open_log(browser_page, large, "#L1234567-L1234569")
    expect(row(browser_page, 1_234_568)).to_be_in_viewport()
    expect(row(browser_page, 1_234_568)).to_contain_text("1234568")
    expect(browser_page.locator(".l.picked")).to_have_count(3)
    browser_page.keyboard.press("g")
    expect(row(browser_page, 1)).to_be_in_viewport()
    log.evaluate("box => { box.scrollTop = box.scrollHeight / 2; }")
    first = wait_for(lambda: log.evaluate("box => Number(box.querySelector('.l').dataset.line)") - 1)
    assert abs(first - LINES / 2) < LINES / 100
    before = log.evaluate(TOP)
    for _ in range(30):
        log.evaluate(SCROLL)
    assert 9000 / 21 < log.evaluate(TOP) - before < 9000 / 17, "what is scrolled by hand moves row by row"
    browser_page.keyboard.press("G")
    expect(row(browser_page, LINES + 1)).to_be_in_viewport()
    expect(browser_page.get_by_label("Follow")).to_be_checked()


def test_a_click_on_a_number_makes_a_link_and_shift_a_range(
    large: dict[str, Any], browser_page: Page
) -> None:
    open_log(browser_page, large, "#L5000")
    row(browser_page, 5002).locator(".n").click()
    expect(browser_page).to_have_url(re.compile("#L5002$"))
    row(browser_page, 5004).locator(".n").click(modifiers=["Shift"])
    expect(browser_page).to_have_url(re.compile("#L5002-L5004$"))
    expect(browser_page.locator("[data-picked-words]")).to_have_text("L5002-L5004")
    expect(browser_page.locator(".l.picked")).to_have_count(3)


def test_search_by_keyboard(large: dict[str, Any], browser_page: Page) -> None:
    open_log(browser_page, large, "#L1")
    count = browser_page.locator("[data-count]")
    browser_page.keyboard.press("/")
    browser_page.keyboard.type("77777")
    browser_page.keyboard.press("Enter")
    expect(count).to_have_text(re.compile(r"^1 of \d+$"))
    expect(row(browser_page, 77_777)).to_be_in_viewport()
    browser_page.locator("[data-lines]").focus()
    browser_page.keyboard.press("n")
    expect(count).to_have_text(re.compile("^2 of"))
    expect(row(browser_page, 177_777)).to_be_in_viewport()
    browser_page.keyboard.press("N")
    expect(row(browser_page, 77_777)).to_be_in_viewport()
    browser_page.get_by_label("regular expression").check()
    browser_page.get_by_role("searchbox").fill("^19{5}$")
    browser_page.keyboard.press("Enter")
    expect(count).to_have_text("1 of 1")
    expect(row(browser_page, 199_999)).to_be_in_viewport()
    browser_page.get_by_role("searchbox").fill("(")
    browser_page.keyboard.press("Enter")
    expect(count).to_contain_text("expression cannot be used")
    browser_page.keyboard.press("Escape")
    expect(count).to_have_text("")


def test_what_is_live_is_folded_coloured_marked_and_goes_on_after_a_lost_connection(
    service: Service, browser_page: Page
) -> None:
    pushed = service.push(TALKS, "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    log = open_log(browser_page, run)
    expect(log).to_contain_text("more 3\n")
    browser_page.context.set_offline(True)
    browser_page.wait_for_timeout(500)
    browser_page.context.set_offline(False)
    expect(log).to_contain_text("more 60\n")
    expect(browser_page.locator(".verdict .status")).to_have_text("succeeded")
    browser_page.keyboard.press("g")
    group = browser_page.get_by_role("button", name=re.compile("^Setting up"))
    expect(group).to_have_attribute("aria-expanded", "false")
    expect(row(browser_page, 10)).to_have_count(0)
    group.focus()
    browser_page.keyboard.press("Enter")
    expect(group).to_have_attribute("aria-expanded", "true")
    expect(row(browser_page, 10)).to_be_in_viewport()
    assert browser_page.get_by_text("orange").evaluate("part => part.style.color") == "rgb(255, 135, 0)"
    expect(browser_page.locator(".l.err")).to_contain_text("to stderr")
    expected = [line for line in service.read_log("runs", run["id"]).decode().splitlines() if "more" in line]

    def shown() -> list[str]:
        return [line for line in log.inner_text().splitlines() if line.startswith("more")]

    wait_for(lambda: shown() == expected)  # each line once, in order


def test_two_people_see_that_they_are_two(service: Service, browser_page: Page, browser: Browser) -> None:
    pushed = service.push(shell("echo begun; sleep 600"), "detach")
    run = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    log = open_log(browser_page, run)
    expect(log).to_contain_text("begun")
    other = browser.new_context(base_url=service.url, storage_state=browser_page.context.storage_state())
    open_log(other.new_page(), run)
    expect(browser_page.locator("[data-note]")).to_contain_text("2 people watch")
    expect(browser_page.locator("[data-note]")).to_contain_text("silent for")
    other.close()
    browser_page.get_by_role("button", name="Cancel").click()
    expect(browser_page.locator(".verdict .status")).to_have_text("cancelled")


def test_wrap_times_and_help(large: dict[str, Any], browser_page: Page) -> None:
    log = open_log(browser_page, large, "#L100")
    browser_page.keyboard.press("w")
    expect(log).to_have_class(re.compile("nowrap"))
    browser_page.keyboard.press("t")
    expect(row(browser_page, 100).locator(".t")).to_be_visible()
    time = row(browser_page, 100).locator(".t")
    content = "part => getComputedStyle(part, '::before').content"
    assert wait_for(lambda: re.fullmatch(r'"\+\d+\.\d"', time.evaluate(content)))
    browser_page.keyboard.press("?")
    expect(browser_page.get_by_role("dialog")).to_contain_text("next, previous match")
    browser_page.keyboard.press("Escape")
    expect(browser_page.get_by_role("dialog")).not_to_be_visible()
