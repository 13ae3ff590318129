"""A person at the pages of runs, the queue and times: live charts that move nothing, arrow keys, a zone."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import sign_in
from tests.programs import shell
from tests.service import Service, wait_for

LIMITS = '[run]\ncpus = 0.5\nmemory = "64M"\n[gpu]\ncount = 0\n'
ZONE = "Asia/Kolkata"  # half an hour off, no summer time


@pytest.fixture(scope="module")
def ranks(service: Service) -> dict[str, Any]:
    """A run of 40 ranks that was cancelled before most of them began."""
    pushed = service.push(shell("sleep 30\n", f"{LIMITS}[ranks]\nrepeat = 40\n"), "detach", repo="grid")
    run: dict[str, Any] = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    with service.client() as client:
        assert client.post(f"/api/v1/runs/{run['id']}/cancel").status_code == 202
    return service.run_of(pushed)


def test_charts_renew_themselves_and_move_nothing(service: Service, browser_page: Page) -> None:
    pushed = service.push(shell("sleep 600\n", LIMITS), "detach", repo="charted")
    run: dict[str, Any] = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    wait_for(lambda: service.api(f"/runs/{run['id']}")["state"] == "running")  # that moves the page
    browser_page.goto(f"/runs/{run['id']}")
    first = browser_page.locator("#charts polyline").first
    expect(first).to_be_attached()
    plot, inputs = browser_page.locator(".plots"), browser_page.locator("#inputs-title")
    before, below = plot.bounding_box(), inputs.bounding_box()
    points = len((first.get_attribute("points") or "").split())
    browser_page.wait_for_function(
        "most => document.querySelector('#charts polyline').getAttribute('points').split(' ').length > most",
        arg=points,
    )
    assert service.api(f"/runs/{run['id']}")["state"] == "running", "they grew only after the end"
    assert plot.bounding_box() == before and inputs.bounding_box() == below
    expect(browser_page.locator("#charts")).to_contain_text("now")
    browser_page.get_by_role("button", name="Cancel").click()
    expect(browser_page.locator("#charts")).not_to_contain_text("now")


def test_arrow_keys_walk_through_the_grid(browser_page: Page, ranks: dict[str, Any]) -> None:
    browser_page.goto(f"/runs/{ranks['id']}?rank=3")
    cells = browser_page.locator("[data-grid] a")
    assert cells.count() == 40
    assert browser_page.locator("[data-grid] a:not([tabindex])").count() == 1  # one stop of the Tab key
    cells.nth(3).focus()
    for key, number in (("ArrowRight", 4), ("End", 39), ("ArrowLeft", 38), ("Home", 0)):
        browser_page.keyboard.press(key)
        expect(cells.nth(number)).to_be_focused()
    browser_page.keyboard.press("ArrowRight")
    browser_page.keyboard.press("Enter")
    expect(browser_page.get_by_role("heading", name="Timeline of rank 1")).to_be_visible()


def test_times_are_in_the_zone_of_the_viewer(service: Service, browser: Browser) -> None:
    root = service.admin("user", "add", "clock", "--admin").stdout.strip()
    context = browser.new_context(base_url=service.url, timezone_id=ZONE, locale="en-GB")
    page = context.new_page()
    sign_in(page, service, root)
    page.goto("/admin/audit?who=clock")
    cell = page.locator("td time").first
    at = datetime.fromisoformat(cell.get_attribute("datetime") or "")
    expect(cell).to_have_text(f"{at.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M:%S}")
    title = cell.get_attribute("title") or ""
    assert "GMT+5:30" in title and str(at.astimezone(ZoneInfo(ZONE)).year) in title
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_telephone(
    service: Service, browser: Browser, ranks: dict[str, Any], scheme: Any
) -> None:
    root = service.admin("user", "add", f"small-{scheme}", "--admin").stdout.strip()
    context = browser.new_context(
        base_url=service.url, viewport={"width": 360, "height": 800}, color_scheme=scheme
    )
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    sign_in(page, service, root)
    admin = ("/admin", "/admin/runners", "/admin/images", "/admin/settings", "/admin/audit")
    for path in (f"/runs/{ranks['id']}", f"/runs/{ranks['id']}/again", "/", "/queue", "/gpus", *admin):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.locator("h1, h2").count(), path
    assert problems == []
    context.close()


def test_the_form_to_run_again_works_without_scripts(
    service: Service, browser: Browser, ranks: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=service.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, service, service.token)
    page.goto(f"/runs/{ranks['id']}")
    page.get_by_role("link", name="Run again with…").click()
    page.get_by_label("Time limit").fill("soon")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_label("Time limit")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Time limit")).to_be_focused()
    expect(page.locator("[id='run.timeout-wrong']")).to_contain_text("is not a duration")
    page.get_by_label("Time limit").fill("2s")
    page.get_by_label("Ranks of each set of parameters").fill("1")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("again")
    number = int(page.url.rpartition("/")[2])
    assert number > ranks["id"] and len(service.api(f"/runs/{number}")["ranks"]) == 1
    context.close()
