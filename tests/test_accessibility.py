"""axe-core looks at every page, light and dark, wide and at a telephone: nothing serious or critical."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.access_tools import open_house
from tests.browsing import sign_in
from tests.conftest import missing
from tests.other_clients import clients_home
from tests.programs import shell
from tests.service import Pushed, Service, wait_for

AXE = clients_home() / "node_modules" / "axe-core" / "axe.min.js"
LOOK = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .flatMap((each) => each.nodes.map((one) => [each.id, one.html, one.failureSummary].join(": ")))"""
WIDTHS = (1280, 360)
LANDMARKS = ("main", "h1", "header", "html[lang]", "head > title")
COLOURS = "for c in $(seq 30 37) $(seq 90 97); do printf '\\033[%sm%s\\033[0m ' $c $c; done"
LEAVES = f"{COLOURS}; cp picture.ppm notes.txt table.csv $HERMES_OUTPUT_DIR; sleep 1; exit $RANK"
MATRIX = 'public = true\non.upload = "*.txt"\n[run]\nenv = { A = "b" }\n[ranks]\nrepeat = 3\n'
FILES: dict[str, str | bytes] = {
    "picture.ppm": "P3 1 1 255 0 0 0\n",
    "notes.txt": "words\n",
    "table.csv": "step,loss\n1,0.5\n2,0.4\n3,0.2\n",
    "src/pi.py": "# words\ndef pi() -> float:\n    return 3.14 * int('1')\n",
}
TWO = '[on]\nschedule = ["@daily", { cron = "0 3 * * *", timezone = "Europe/Berlin", args = ["7"] }]\n'
COMPLAINS = "\techo 'main.sh:1:5: error: no such thing'; echo 'main.sh:1:7: warning: odd'; false"
ADMIN = ("", "/runners", "/images", "/settings", "/audit")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with something on every page."""
    yield from open_house(tmp_path_factory.mktemp("accessible"))


def measured(house: Service) -> Pushed:
    """Two commits with figures to compare: the second one."""
    first = house.push(shell("echo ::metric loss=0.5; echo ::metric speed=80 GB/s"), repo="measured")
    house.run_of(first)
    first.tree.write({"main.sh": "echo ::metric loss=0.25; echo ::metric speed=81 GB/s"}).commit("better")
    second = house.push(first.tree, repo="measured")
    assert house.run_of(second)["state"] == "succeeded"
    return second


def waiting(house: Service, root: str) -> int:
    """A run that goes on; behind it in the queue are one of alice's and one that she may not see."""
    going = house.push(shell("echo ::hermes progress 0.4 so far; sleep 3000"), "detach", repo="going")
    live = wait_for(lambda: house.commit_page(going)["runs"])[0]
    wait_for(lambda: house.api(f"/runs/{live['id']}")["ranks"][0]["progress"])
    large = shell("true", "[run]\ncpus = 2\n")
    house.push(large, "detach", repo="root/hidden", token=root, user="root")
    house.push(large, "detach", repo="large")
    return int(live["id"])


def tell(client: httpx.Client, path: str) -> None:
    """One that fails, one that is paused."""
    for kind in ("webhook", "ntfy"):
        made = client.post(
            path, json={"kind": kind, "target": "https://hermes.invalid/x", "branches": ["a/*"]}
        )
        assert client.post(f"{path}/{made.json()['id']}/test").json()["error"]
    assert client.patch(f"{path}/{made.json()['id']}", json={"paused": True}).status_code == 200


@pytest.fixture(scope="module")
def root(house: Service) -> str:
    """The token of an admin."""
    return house.admin("user", "add", "--admin", "root").stdout.strip()


@pytest.fixture(scope="module")
def paths(house: Service, root: str) -> dict[str, str]:
    """Every page by its name."""
    done = house.push(shell(LEAVES, MATRIX) | FILES, repo="several")
    failed = house.push(shell("true", make=COMPLAINS), repo="broken")
    run, figures = house.run_of(done), measured(house)
    assert run["state"] == "failed", run
    build, source = house.settled(failed)["builds"][0], f"/alice/several/source/{done.sha}"
    house.run_of(house.push(shell("true", TWO), repo="scheduled"))
    with house.client() as client:
        for name in ("notes.txt", "deep/folder/with/a/long/name-of-a-file.txt"):
            uploaded = client.put(f"/api/v1/functions/alice/several/inbox/{name}", content=b"words")
            assert uploaded.status_code == 201
        address = "/api/v1/repos/alice/scheduled/schedules"
        assert client.post(f"{address}/2/pause").status_code == 200
        assert client.post(f"{address}/1/run").status_code == 201
    live = waiting(house, root)
    with house.client() as client:
        for whose in ("user", "repos/alice/several"):
            body = {"value": "long enough", "branches": ["release/*"]}
            assert client.put(f"/api/v1/{whose}/secrets/API_TOKEN", json=body).status_code == 201
        wish = {"name": "octo/pi", "url": "https://forge.example.org", "kind": "gitea"}
        assert client.put("/api/v1/repos/alice/measured/upstream", json=wish).status_code == 200
        for whose in ("", "repos/alice/several/"):
            tell(client, f"/api/v1/{whose}notifications")
    return {
        "dashboard": "/",
        "gpus": "/gpus",
        "queue": "/queue",
        "functions": "/functions",
        "no function of that name": "/functions?q=nothing",
        "a function": "/functions/alice/several",
        "a function that was not built": "/functions/alice/broken",
        "uploads": "/functions/alice/several/uploads",
        "no uploads": "/functions/alice/broken/uploads",
        "the API": "/api",
        "tokens": "/settings/tokens",
        "keys": "/settings/keys",
        "secrets": "/settings/secrets?secret=API_TOKEN",
        "notifications": "/settings/notifications",
        "the end of a mail": "/settings/notifications/1/stop?key=0",
        "a repository": "/alice/several",
        "a repository with trends": "/alice/measured",
        "a repository with schedules": "/alice/scheduled",
        "its settings": "/alice/several/settings",
        "its upstream": "/alice/several/settings/upstream",
        "what is connected": "/alice/measured/settings/upstream",
        "its notifications": "/alice/several/settings/notifications",
        "a commit": f"/alice/several/commit/{done.sha}",
        "a commit beside its parent": f"/alice/measured/commit/{figures.sha}",
        "a failed build's commit": f"/alice/broken/commit/{failed.sha}",
        "a folder": source,
        "a file": f"{source}/src/pi.py",
        "a run": f"/runs/{run['id']}",
        "another rank": f"/runs/{run['id']}?rank=2",
        "all ranks": f"/runs/{run['id']}?rank=all",
        "all ranks one after another": f"/runs/{run['id']}?rank=all&order=rank",
        "artifacts": f"/runs/{run['id']}/artifacts",
        "no such artifact": f"/runs/{run['id']}/artifacts?name=nothing",
        "again": f"/runs/{run['id']}/again",
        "a run that goes on": f"/runs/{live}",
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
    context.add_init_script(path=AXE)
    page = context.new_page()
    yield page
    context.close()


def violations(page: Page) -> list[str]:
    """In every look of the page that is open."""
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


def count(page: Page, selector: str) -> int:
    return page.locator(selector).count()


def test_the_way_in(house: Service, visitor: Page) -> None:
    visitor.goto("/signin")
    assert violations(visitor) == []
    visitor.get_by_label("Token").fill("hermes_wrong")
    visitor.keyboard.press("Enter")
    visitor.get_by_role("alert").wait_for()
    assert violations(visitor) == []


def test_the_first_page_of_a_newcomer(house: Service, visitor: Page) -> None:
    """Before `paths` has pushed anything."""
    sign_in(visitor, house, house.token)
    assert "Your first run" in visitor.content()
    assert violations(visitor) == []


def test_every_page_has_its_landmarks_and_nothing_serious(paths: dict[str, str], visitor: Page) -> None:
    found = []
    for name, path in paths.items():
        visitor.goto(path)
        found += [f"{name}: {each} is not there once" for each in LANDMARKS if count(visitor, each) != 1]
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


def test_a_run_again_with_wrong_values(paths: dict[str, str], visitor: Page) -> None:
    visitor.goto(paths["again"])
    visitor.get_by_label("Time limit").fill("for ever")
    visitor.get_by_label("CPUs of each rank").fill("many")
    visitor.get_by_role("button", name="Run", exact=True).click()
    visitor.get_by_role("alert").wait_for()
    assert violations(visitor) == []


def test_a_log_with_everything_open(paths: dict[str, str], visitor: Page) -> None:
    visitor.set_viewport_size({"width": 1280, "height": 800})
    visitor.goto(paths["a failed build"])
    search = visitor.get_by_role("searchbox")
    search.fill("no such")
    search.press("Enter")
    visitor.locator("[data-count]:not(:empty)").wait_for()
    visitor.locator("[data-problems] > summary").click()
    visitor.get_by_text("View", exact=True).click()
    visitor.get_by_label("Times").select_option("since")
    expect(visitor.locator("[data-problems] li").first).to_be_visible()
    assert violations(visitor) == []
    visitor.get_by_role("button", name="Keys").click()
    visitor.get_by_role("dialog").wait_for()
    assert violations(visitor) == []


def test_all_that_is_folded(paths: dict[str, str], visitor: Page) -> None:
    """Tables below plots, environments, texts of artifacts."""
    found = []
    folded = ("a repository with trends", "a run", "artifacts", "a function", "the API", "its notifications")
    for name in folded:
        visitor.goto(paths[name])
        assert visitor.locator("main details").count(), name
        visitor.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        found += [f"{name} {each}" for each in violations(visitor)]
    assert not found, "\n".join(found)


def test_the_pages_of_an_admin(paths: dict[str, str], house: Service, root: str, browser: Browser) -> None:
    context = browser.new_context(base_url=house.url, bypass_csp=True, reduced_motion="reduce")
    context.add_init_script(path=AXE)
    page, found = context.new_page(), []
    sign_in(page, house, root)
    for path in ADMIN:
        page.goto(f"/admin{path}")
        assert page.get_by_role("navigation", name="Admin").is_visible(), path
        found += [f"/admin{path} {each}" for each in violations(page)]
    page.goto("/admin")
    page.get_by_label("User name").first.fill("no name")
    page.get_by_role("button", name="Make account").click()
    page.get_by_role("alert").wait_for()
    found += [f"a wrong name {each}" for each in violations(page)]
    page.get_by_label("User name").first.fill("carol")
    page.get_by_role("button", name="Make account").click()
    page.get_by_text("Your new token").or_(page.get_by_text("hermes_")).first.wait_for()
    found += [f"a new account {each}" for each in violations(page)]
    context.close()
    assert not found, "\n".join(found)


def test_nothing_moves_for_who_asked_for_stillness(paths: dict[str, str], visitor: Page) -> None:
    visitor.goto(paths["a run that goes on"])
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert visitor.evaluate(moving) == 0
    visitor.emulate_media(reduced_motion="no-preference")
    wait_for(lambda: visitor.evaluate(moving) > 0)  # without the wish the live dot beats
    visitor.emulate_media(reduced_motion="reduce")
