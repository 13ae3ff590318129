"""A person at a browser: live logs that survive a reload; pages by keyboard, small, dark, without scripts."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import sign_in
from tests.programs import go_on, shell, told
from tests.service import Pushed, Service, wait_for

TICKS = 'for i in $(seq {}); do echo "{} $i"; sleep 0.1; done'
LINES = [f"line {i}" for i in range(1, 51)]


def lines_of(page: Page) -> list[str]:
    """What the log panel shows."""
    return [line for line in page.locator("[data-lines]").first.inner_text().splitlines() if line]


def start(service: Service, files: dict[str, str | bytes]) -> tuple[Pushed, dict[str, Any]]:
    """Push, and the run that it started."""
    pushed = service.push(files, "detach")
    run: dict[str, Any] = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    return pushed, run


@pytest.fixture
def problems(browser_page: Page) -> list[str]:
    """What the browser complains about."""
    found: list[str] = []
    browser_page.on(
        "console", lambda message: found.append(message.text) if message.type == "error" else None
    )
    browser_page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_the_log_is_live_and_survives_a_reload(
    service: Service, browser_page: Page, problems: list[str]
) -> None:
    last = TICKS.format("21 50", "line") + "; printf '\\033[1;32mdone\\033[0m\\n'"
    script, files = told(TICKS.format("1 20", "line"), last)
    _, run = start(service, files)
    browser_page.goto(f"/runs/{run['id']}")
    log = browser_page.locator("[data-lines]")
    expect(log).to_contain_text("line 5\n")
    assert service.api(f"/runs/{run['id']}")["state"] == "running", "the page showed it only after the end"
    browser_page.reload()
    expect(log).to_contain_text("line 20\n")
    go_on(script)
    expect(browser_page.locator(".verdict .status")).to_have_text("succeeded")
    expect(log.locator(".c32.bold")).to_have_text("done")
    assert lines_of(browser_page) == [*LINES, "done"]
    browser_page.reload()
    expect(log.locator(".c32.bold")).to_have_text("done")
    assert lines_of(browser_page) == [*LINES, "done"]
    assert problems == []


def test_the_commit_page_follows_a_push_from_build_to_verdict(
    service: Service, browser_page: Page, problems: list[str]
) -> None:
    slow_build = shell(
        "echo hello from the run; sleep 1", make="\t@for i in 1 2 3; do echo make $$i; sleep 0.5; done"
    )
    pushed, _ = start(service, slow_build)
    browser_page.goto(f"/{pushed.owner}/{pushed.repo}/commit/{pushed.sha}")
    expect(browser_page.get_by_role("log").get_by_text("hello from the run")).to_be_visible()
    expect(browser_page.locator("#verdict .status")).to_have_text("succeeded")
    assert problems == []


def test_a_reader_who_scrolled_up_stays_there(service: Service, browser_page: Page) -> None:
    first, then, last = (TICKS.format(part, "more") for part in ("1 5", "6 20", "21 30"))
    waits = 'until [ "$told" ]; do sleep 0.05; done'
    script, files = told(f"seq 1 300; {first}", f"told=\n{then}\n{waits}\n{last}")
    _, run = start(service, files)
    browser_page.goto(f"/runs/{run['id']}")
    log = browser_page.locator("[data-lines]")
    expect(log).to_contain_text("more 2\n")
    log.evaluate("box => { box.scrollTop = 0; }")
    expect(browser_page.get_by_label("Follow")).not_to_be_checked()
    go_on(script)
    wait_for(lambda: b"more 20\n" in service.read_log("runs", run["id"]))
    assert log.evaluate("box => box.scrollTop") == 0
    assert lines_of(browser_page)[0] == "1"
    browser_page.get_by_label("Follow").check()
    go_on(script)
    expect(log).to_contain_text("more 30\n")
    wait_for(lambda: log.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight < 24"))


def test_cancel_is_a_button(service: Service, browser_page: Page) -> None:
    _, run = start(service, shell("echo begun; sleep 600"))
    browser_page.goto(f"/runs/{run['id']}")
    expect(browser_page.locator("[data-lines]")).to_contain_text("begun")
    browser_page.get_by_role("button", name="Cancel").click()
    expect(browser_page.locator(".verdict .status")).to_have_text("cancelled")
    browser_page.get_by_role("button", name="Run again").click()
    browser_page.wait_for_url(re.compile(rf"/runs/(?!{run['id']}$)\d+"))
    browser_page.get_by_role("button", name="Cancel").click()
    expect(browser_page.locator(".verdict .status")).to_have_text("cancelled")


def test_sign_in_by_keyboard_alone(service: Service, browser: Browser) -> None:
    context = browser.new_context(base_url=service.url)
    page = context.new_page()
    page.goto("/gpus")
    expect(page.get_by_label("Your token")).to_be_focused()
    page.keyboard.type("hermes_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    expect(page.get_by_label("Your token")).to_be_focused()
    page.keyboard.type(service.token)
    page.keyboard.press("Enter")
    page.wait_for_url("**/gpus")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    context.close()


def test_pages_work_without_scripts(service: Service, browser: Browser) -> None:
    pushed = service.push("pi-montecarlo")
    run = service.run_of(pushed)
    context = browser.new_context(base_url=service.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/signin")
    page.get_by_label("Token").fill(service.token)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"/{pushed.owner}/{pushed.repo}/commit/{pushed.sha}")
    expect(page.locator("[data-lines]").first).to_contain_text("pi = ")
    page.get_by_role("link", name=f"Run {run['id']}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Run {run['id']}")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_telephone_and_follow_the_theme(service: Service, browser: Browser, scheme: Any) -> None:
    pushed = service.push("mandelbrot")
    run = service.run_of(pushed)
    context = browser.new_context(
        base_url=service.url, viewport={"width": 390, "height": 800}, color_scheme=scheme
    )
    page = context.new_page()
    sign_in(page, service, service.token)
    base = f"/{pushed.owner}/{pushed.repo}"
    paths = [
        "/",
        "/gpus",
        "/settings/tokens",
        base,
        f"{base}/commit/{pushed.sha}",
        f"/runs/{run['id']}",
        f"/builds/{run['build']}",
    ]
    for path in paths:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        red = page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
        assert (red < 64) == (scheme == "dark"), path
    context.close()


def test_a_picture_is_shown(service: Service, browser_page: Page, problems: list[str]) -> None:
    pushed = service.push("mandelbrot")
    service.run_of(pushed)
    browser_page.goto(f"/{pushed.owner}/{pushed.repo}/commit/{pushed.sha}")
    picture = browser_page.get_by_role("img", name="mandelbrot.png")
    expect(picture).to_be_visible()
    assert wait_for(lambda: picture.evaluate("image => image.naturalWidth")) == 640
    assert problems == []
