"""axe-core looks at every page, light and dark, wide and at a telephone: nothing serious or critical."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.access_tools import open_house
from tests.conftest import missing
from tests.other_clients import clients_home
from tests.programs import shell
from tests.service import Service, wait_for

AXE = clients_home() / "node_modules" / "axe-core" / "axe.min.js"
LOOK = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .flatMap((each) => each.nodes.map((one) => [each.id, one.html, one.failureSummary].join(": ")))"""
WIDTHS = (1280, 360)
COLOURS = "for c in $(seq 30 37) $(seq 90 97); do printf '\\033[%sm%s\\033[0m ' $c $c; done"
LEAVES = f"{COLOURS}; cp picture.ppm notes.txt $HERMES_OUTPUT_DIR; sleep 1; exit $RANK"
MATRIX = 'public = true\n[run]\nenv = { A = "b" }\n[ranks]\nrepeat = 3\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with something on every page."""
    yield from open_house(tmp_path_factory.mktemp("accessible"))


@pytest.fixture(scope="module")
def paths(house: Service) -> dict[str, str]:
    """Every page by its name."""
    files: dict[str, str | bytes] = {"picture.ppm": "P3 1 1 255 0 0 0\n", "notes.txt": "words\n"}
    done = house.push(shell(LEAVES, MATRIX) | files, repo="several")
    failed = house.push(shell("true", make="\tfalse"), repo="broken")
    going = house.push(shell("echo ::hermes progress 0.4 so far; sleep 600"), "detach", repo="going")
    run = house.run_of(done)
    assert run["state"] == "failed", run
    build = house.settled(failed)["builds"][0]
    live = wait_for(lambda: house.commit_page(going)["runs"])[0]
    wait_for(lambda: house.api(f"/runs/{live['id']}")["ranks"][0]["progress"])
    return {
        "dashboard": "/",
        "gpus": "/gpus",
        "tokens": "/settings/tokens",
        "keys": "/settings/keys",
        "a repository": "/alice/several",
        "its settings": "/alice/several/settings",
        "a commit": f"/alice/several/commit/{done.sha}",
        "a failed build's commit": f"/alice/broken/commit/{failed.sha}",
        "a run": f"/runs/{run['id']}",
        "a run that goes on": f"/runs/{live['id']}",
        "a failed build": f"/builds/{build['id']}",
        "a build": f"/builds/{run['build']}",
        "not found": "/alice/nothing",
    }


@pytest.fixture(scope="module")
def visitor(house: Service, browser: Browser) -> Iterator[Page]:
    """Alice. Only here the content security policy is set aside, or axe could not be put into our pages."""
    if not AXE.exists():
        missing("axe-core (scripts/ensure-clients)")
    context = browser.new_context(base_url=house.url, bypass_csp=True, reduced_motion="reduce")
    page = context.new_page()
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    """In every look of the page that is open."""
    page.add_script_tag(path=AXE)
    found: list[str] = []
    looks: list[tuple[Any, int]] = [(scheme, width) for scheme in ("light", "dark") for width in WIDTHS]
    for scheme, width in looks:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        found += [f"{scheme} {width}: {each}" for each in page.evaluate(LOOK)]
        too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        if page.evaluate(too_wide) > 0:
            found.append(f"{scheme} {width}: the page is wider than its window")
    return found


def test_the_way_in(house: Service, visitor: Page) -> None:
    visitor.goto("/signin")
    assert violations(visitor) == []
    visitor.get_by_label("Token").fill("hermes_wrong")
    visitor.keyboard.press("Enter")
    visitor.get_by_role("alert").wait_for()
    assert violations(visitor) == []


def test_the_first_page_of_a_newcomer(house: Service, visitor: Page) -> None:
    """Before `paths` has pushed anything."""
    visitor.get_by_label("Token").fill(house.token)
    visitor.keyboard.press("Enter")
    visitor.wait_for_url(f"{house.url}/")
    assert "Your first run" in visitor.content()
    assert violations(visitor) == []


def test_every_page(paths: dict[str, str], visitor: Page) -> None:
    found = []
    for name, path in paths.items():
        visitor.goto(path)
        found += [f"{name} {each}" for each in violations(visitor)]
    assert not found, "\n".join(found)


def test_forms_that_were_wrong(paths: dict[str, str], visitor: Page) -> None:
    visitor.goto(paths["keys"])
    visitor.locator("textarea").fill("not a key")
    visitor.get_by_role("button", name="Add key").click()
    visitor.get_by_role("alert").wait_for()
    assert violations(visitor) == []
    visitor.goto(paths["tokens"])
    visitor.get_by_label("Name").fill("laptop")
    visitor.get_by_role("button", name="Make token").click()
    visitor.get_by_text("Your new token").wait_for()
    assert violations(visitor) == []


def test_nothing_moves_for_who_asked_for_stillness(paths: dict[str, str], visitor: Page) -> None:
    visitor.goto(paths["a run that goes on"])
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert visitor.evaluate(moving) == 0
    visitor.emulate_media(reduced_motion="no-preference")
    assert visitor.evaluate(moving) > 0, "without the wish the live dot beats"
    visitor.emulate_media(reduced_motion="reduce")


def test_every_page_has_its_landmarks(paths: dict[str, str], visitor: Page) -> None:
    for name, path in paths.items():
        visitor.goto(path)
        counts = [visitor.locator(each).count() for each in ("main", "h1", "header", "html[lang]", "title")]
        assert counts == [1] * 5, name
