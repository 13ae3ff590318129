"""Who decides whether everybody may read a repository: the push that makes it, then its settings."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.access_tools import browsing, open_house
from tests.programs import shell
from tests.service import Pushed, Service
from tests.test_settings_browser import at

LEAVES = 'echo file >"$HERMES_OUTPUT_DIR/out.txt"'
OPEN, CLOSED = (shell(LEAVES, f"public = {word}\n") for word in ("true", "false"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests."""
    yield from open_house(tmp_path_factory.mktemp("house"), HERMES_TRUST="all")


@pytest.fixture(scope="module")
def bob(house: Service) -> str:
    """The token of another user."""
    return house.add_user("bob")


@pytest.fixture(scope="module")
def root(house: Service) -> str:
    """The token of an admin."""
    return house.admin("user", "add", "root", "--admin").stdout.strip()


@pytest.fixture
def owner(house: Service) -> Iterator[httpx.Client]:
    """Alice at her browser."""
    with browsing(house, house.token) as client:
        yield client


def is_public(house: Service, repo: str) -> bool:
    """As somebody without an account finds it."""
    with browsing(house, "") as stranger:
        return stranger.get(f"/{repo}").status_code == 200


def push_more(house: Service, pushed: Pushed, files: dict[str, str | bytes], repo: str) -> str:
    """Another commit with other files; what git shows."""
    pushed.tree.write(files)
    pushed.tree.commit("more")
    return house.push(pushed.tree, repo=repo).output


def says(house: Service, repo: str, asked: str, is_so: str) -> str:
    """The line of a push whose manifest asks for something else."""
    page = f"http://localhost:{house.port}/{repo}/settings"
    return f"hermes  the manifest says public = {asked}, {repo} stays {is_so}: its settings decide  {page}"


def audited(house: Service, root: str) -> str:
    """What an admin reads of settings that changed."""
    with browsing(house, root) as client:
        return re.sub(r"(<[^>]+>|\s)+", " ", client.get("/admin/audit?act=repo+settings").text)


def test_the_push_that_makes_a_repository_may_open_it(house: Service, root: str) -> None:
    first = house.push(OPEN, repo="alice/born-open")
    assert is_public(house, "alice/born-open") and "its settings decide" not in first.output
    assert "public=true, by the manifest of its first push" in audited(house, root)
    line = says(house, "alice/born-open", "false", "public")
    assert push_more(house, first, CLOSED, "alice/born-open").count(line) == 1
    assert is_public(house, "alice/born-open")


def test_no_later_push_does(house: Service) -> None:
    first = house.push(shell("true"), repo="alice/born-closed")
    line = says(house, "alice/born-closed", "true", "private")
    assert push_more(house, first, OPEN, "alice/born-closed").count(line) == 1
    assert not is_public(house, "alice/born-closed")
    assert "decide" not in house.push(first.tree, repo="alice/born-closed", refs=("HEAD:side",)).output
    assert "decide" not in push_more(house, first, CLOSED, "alice/born-closed")


def test_who_only_pushes_does_not_open_what_is_somebody_elses(house: Service, bob: str) -> None:
    refused = house.push({"README": "no Makefile"}, repo="alice/empty")
    assert refused.code != 0
    house.admin("repo", "collaborator", "add", "alice/empty", "bob", "--role", "write")
    first = house.push(OPEN, repo="alice/empty", token=bob, user="bob")
    assert first.code == 0 and not is_public(house, "alice/empty")
    assert says(house, "alice/empty", "true", "private") in first.output


def test_the_page_names_what_becomes_visible_and_wants_a_yes(
    house: Service, owner: httpx.Client, root: str
) -> None:
    pushed = house.push(shell(LEAVES), repo="alice/asked")
    page = owner.get("/alice/asked/settings").text
    for words in ("(1 push)", "1 build, with", "1 run, with logs", "1 artifact (5 B)"):
        assert words in page, words
    ask = {"do": "visibility", "visibility": "public"}
    refused = owner.post("/alice/asked/settings", data=ask)
    assert refused.status_code == 400 and "nothing was changed" in refused.text
    assert not is_public(house, "alice/asked")
    assert owner.post("/alice/asked/settings", data=ask | {"confirmed": "on"}).status_code == 303
    assert is_public(house, "alice/asked")
    assert "confirmed=on do=visibility visibility=public" in audited(house, root)
    push_more(house, pushed, CLOSED, "alice/asked")
    assert is_public(house, "alice/asked")
    ask["visibility"] = "private"
    assert owner.post("/alice/asked/settings", data=ask).status_code == 303
    assert not is_public(house, "alice/asked")


def test_programs_and_operators_may_do_the_same(house: Service, root: str) -> None:
    house.push(shell("true"), repo="alice/programmed")
    address = "/api/v1/repos/alice/programmed/visibility"
    with house.client() as client:
        found = client.get(address).json()
        assert found["public"] is False and found["shows"]["runs"] == 1
        for body in ({}, {"public": 1}, {"public": True, "x": 1}, [True]):
            assert client.put(address, json=body).status_code == 400
        assert client.put(address, content=b"{").status_code == 400
        assert client.put(address, json={"public": True}).json()["public"] is True
        assert is_public(house, "alice/programmed")
        assert client.put(address, json={"public": False}).json()["public"] is False
    assert not is_public(house, "alice/programmed")
    said = house.admin("repo", "public", "alice/programmed", check=False)
    assert said.returncode == 1 and "1 run, with logs" in said.stdout
    assert not is_public(house, "alice/programmed")
    house.admin("repo", "public", "alice/programmed", "--yes")
    assert is_public(house, "alice/programmed")
    house.admin("repo", "private", "alice/programmed")
    assert not is_public(house, "alice/programmed")
    text = audited(house, root)
    assert "visibility=public" in text and "public=true" in text and "public=false" in text


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_an_owner_opens_it_at_the_keyboard(house: Service, browser: Browser, scripts: bool) -> None:
    repo = f"alice/keyboard-{scripts}".lower()
    house.push(shell("true"), repo=repo)
    with at(house, browser, java_script_enabled=scripts) as page:
        page.goto(f"/{repo}/settings")
        page.locator("#visibility summary").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#visibility")).to_contain_text("1 run, with logs")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#visibility").get_by_role("heading")).to_have_text("Visibility: public")
        expect(page.locator("#visibility").get_by_role("status")).to_be_focused()
    assert is_public(house, repo)
