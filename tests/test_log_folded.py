"""A folded group of a log may be very long: it is not fetched, and a link to one of its lines opens it."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.programs import shell
from tests.service import Service
from tests.test_log_viewer import open_log, row

LINES = 25_000  # more than the viewer keeps
FOLDED = shell(f"echo before; echo '::group::long'; seq 1 {LINES}; echo '::endgroup::'; echo after\n")


@pytest.fixture(scope="module")
def folded(service: Service) -> dict[str, Any]:
    """A run that printed a long group."""
    run = service.run_of(service.push(FOLDED))
    assert run["state"] == "succeeded", run
    return run


def test_what_is_folded_is_not_fetched(folded: dict[str, Any], browser_page: Page) -> None:
    asked: list[str] = []
    browser_page.on(
        "request", lambda request: asked.append(request.url) if "log/lines" in request.url else None
    )
    open_log(browser_page, folded)
    expect(row(browser_page, 1)).to_contain_text("before")
    expect(row(browser_page, LINES + 4)).to_contain_text("after")
    browser_page.wait_for_load_state("networkidle")
    assert len(asked) <= 4, asked


def test_a_link_into_a_folded_group_opens_it(folded: dict[str, Any], browser_page: Page) -> None:
    open_log(browser_page, folded, "#L15000-L15001")
    expect(row(browser_page, 15_000)).to_be_in_viewport()
    expect(row(browser_page, 15_000)).to_contain_text("14998")
    expect(browser_page.locator(".l.picked")).to_have_count(2)
    browser_page.wait_for_load_state("networkidle")
    expect(row(browser_page, 15_000)).to_be_in_viewport()
