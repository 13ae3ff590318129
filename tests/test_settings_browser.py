"""A person at the settings: by keyboard alone, without scripts, at a telephone; and git does as they said."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.access_tools import may_fetch, open_house, push_again, stored
from tests.browsing import sign_in
from tests.service import Service
from tests.ssh import Person, make_key, public

LONG = "branch-of-somebody/" + "who-likes-long-names-" * 6


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The instance of these tests."""
    yield from open_house(tmp_path_factory.mktemp("house"))


@contextmanager
def at(house: Service, browser: Browser, **how: Any) -> Iterator[Page]:
    """Alice at her browser; the browser may not complain about anything."""
    context = browser.new_context(base_url=house.url, **how)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if "Content Security" in message.text else None,
    )
    sign_in(page, house, house.token)
    yield page
    assert problems == []
    context.close()


def in_days(days: int, since: float) -> re.Pattern[str]:
    """A moment so many days from one between then and now."""
    moments = (time.gmtime(at + days * 86400) for at in (since, time.time()))
    return re.compile("|".join(time.strftime("%Y-%m-%d", each) for each in moments))


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until it has the focus, and can be seen to have it."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("each => each === document.activeElement"):
            assert target.evaluate("each => getComputedStyle(each).outlineStyle") != "none"
            return
    raise AssertionError(f"{target} cannot be reached by keyboard")


def test_a_token_by_keyboard_alone(house: Service, browser: Browser) -> None:
    stored(house, "alice/keyboard")
    began = time.time()
    with at(house, browser) as page:
        tab_to(page, page.get_by_role("link", name="alice: your settings"))
        page.keyboard.press("Enter")
        page.wait_for_url("**/settings/tokens")
        tab_to(page, page.get_by_role("textbox", name="Name"))
        page.keyboard.type("notebook")
        tab_to(page, page.get_by_label("May"))
        page.keyboard.type("fetch")
        tab_to(page, page.get_by_label("Good for"))
        page.keyboard.type("90")
        page.keyboard.press("Enter")  # in a list it opens or sends; either way the button is next
        tab_to(page, page.get_by_role("button", name="Make token"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Your new token")).to_be_visible()
        secret = page.locator(".fresh code").inner_text()
        row = page.get_by_role("row", name="notebook")
        expect(row).to_contain_text("fetch by git")
        expect(row.locator("time").last).to_have_attribute("datetime", in_days(90, began))
        assert may_fetch(house, "alice/keyboard", secret, "alice")
        tab_to(page, page.get_by_role("button", name="Revoke notebook"))
        page.keyboard.press("Enter")
        expect(row).to_have_count(0)
    assert not may_fetch(house, "alice/keyboard", secret, "alice")


def test_a_key_by_keyboard_signs_in_over_ssh_until_it_is_removed(
    house: Service, browser: Browser, tmp_path: Path
) -> None:
    stored(house, "alice/by-key")
    person = Person(house, make_key(tmp_path), "alice")
    with at(house, browser) as page:
        page.goto("/settings/tokens")
        tab_to(page, page.get_by_role("link", name="SSH keys"))
        page.keyboard.press("Enter")
        tab_to(page, page.get_by_label("Public key"))
        page.keyboard.type("ssh-ed25519 mistyped")
        tab_to(page, page.get_by_role("button", name="Add key"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("this is not a public key of OpenSSH")
        expect(page.get_by_label("Public key")).to_be_focused()
        page.keyboard.insert_text(public(person.key))
        tab_to(page, page.get_by_role("button", name="Add key"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("The key is added: it signs you in from now on.")
        row = page.get_by_role("row", name="id@laptop")
        expect(row).to_contain_text("never")
        assert person.git("ls-remote", person.url("by-key")).returncode == 0
        page.goto("/settings/keys")
        expect(row).not_to_contain_text("never")
        tab_to(page, page.get_by_role("button", name="Remove id@laptop"))
        page.keyboard.press("Enter")
        expect(row).to_have_count(0)
    assert person.git("ls-remote", person.url("by-key")).returncode != 0


def test_a_repository_is_settled_by_keyboard(house: Service, browser: Browser) -> None:
    bob = house.add_user("bob")
    tree = stored(house, "alice/settled").tree
    with at(house, browser) as page:
        page.goto("/alice/settled")
        tab_to(page, page.get_by_role("link", name="Settings", exact=True))
        page.keyboard.press("Enter")
        tab_to(page, page.get_by_role("checkbox"))
        page.keyboard.press("Space")
        page.keyboard.press("Enter")  # sends its form
        expect(page.locator("#protection").get_by_role("status")).to_be_focused()
        expect(page.get_by_role("checkbox")).to_be_checked()
        tab_to(page, page.get_by_label("User name"))
        page.keyboard.type("bobb")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("there is no user 'bobb'")
        expect(page.get_by_label("User name")).to_be_focused()
        page.keyboard.press("End")
        page.keyboard.press("Backspace")
        page.keyboard.press("Enter")
        expect(page.locator("#collaborators").get_by_role("status")).to_be_focused()
        assert push_again(house, tree, "alice/settled", bob, "bob").code != 0
        tab_to(page, page.get_by_role("combobox", name="What bob may"))
        page.keyboard.type("write")
        tab_to(page, page.get_by_role("button", name="Change what bob may"))
        page.keyboard.press("Enter")
        expect(page.locator("#collaborators").get_by_role("status")).to_be_focused()
        expect(page.get_by_role("combobox", name="What bob may")).to_have_value("write")
        assert push_again(house, tree, "alice/settled", bob, "bob").code == 0
        tab_to(page, page.get_by_role("button", name="Remove bob"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nobody yet.")).to_be_visible()
    assert not may_fetch(house, "alice/settled", bob, "bob")


def test_everything_works_without_scripts(house: Service, browser: Browser) -> None:
    tree = stored(house, "alice/plain").tree
    house.push(tree, repo="alice/plain", refs=("HEAD:next",))
    with at(house, browser, java_script_enabled=False) as page:
        page.goto("/alice/plain/settings")
        page.get_by_label("Change it to").select_option("next")
        page.locator("#default-branch").get_by_role("button", name="Save").click()
        expect(page.locator("#default-branch")).to_contain_text("A clone checks out next.")
        page.locator("#tokens").get_by_label("Name").fill("cluster")
        page.locator("#tokens").get_by_label("May").select_option("push")
        page.get_by_role("button", name="Make deploy token").click()
        expect(page.locator(".fresh")).to_be_in_viewport()
        secret = page.locator(".fresh code").first.inner_text()
        assert push_again(house, tree, "alice/plain", secret, "whoever").code == 0
        page.get_by_role("button", name="Revoke cluster").click()
        expect(page.locator("#tokens")).to_contain_text("None yet.")
    assert not may_fetch(house, "alice/plain", secret, "whoever")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_telephone_and_cut_no_text(house: Service, browser: Browser, scheme: Any) -> None:
    house.admin("user", "add", "x" * 64, check=False)
    repo = f"alice/{'r' * 58}-{scheme}"
    assert house.push(stored(house, repo).tree, repo=repo, refs=(f"HEAD:{LONG}",)).code == 0
    cut = """[...document.querySelectorAll('header *, main *')].filter(each =>
        each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 1
        && getComputedStyle(each).overflowX !== 'visible').map(each => each.outerHTML.slice(0, 80))"""
    with at(house, browser, viewport={"width": 390, "height": 800}, color_scheme=scheme) as page:
        page.goto(f"/{repo}/settings")
        page.get_by_label("User name").fill("x" * 64)
        page.get_by_role("button", name="Add", exact=True).click()
        page.locator("#tokens").get_by_label("Name").fill("W" * 100)
        page.get_by_role("button", name="Make deploy token").click()
        expect(page.locator(".fresh")).to_be_visible()
        page.goto(f"/{repo}/settings/notifications")
        page.get_by_label("Address").fill(f"https://{'w' * 63}.{'w' * 63}.invalid/")
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_role("button", name="Send a test now").click()
        expect(page.get_by_text("was not taken").first).to_be_visible()
        mine = ("tokens", "keys", "secrets", "notifications")
        for path in ("", f"/{repo}", f"/{repo}/settings", *(f"/settings/{each}" for each in mine)):
            if path:
                page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.evaluate(cut) == [], path


def test_a_secret_is_set_replaced_and_removed_by_keyboard_and_never_seen(
    house: Service, browser: Browser
) -> None:
    with at(house, browser) as page:
        page.goto("/settings/secrets")
        name, value = page.locator("#secret-name"), page.locator("#secret-value")
        tab_to(page, name)
        page.keyboard.type("API_TOKEN")
        tab_to(page, value)
        page.keyboard.type("short")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("cannot be masked in logs")
        expect(name).to_be_focused()
        expect(name).to_have_value("API_TOKEN")
        expect(value).to_have_value("")
        expect(value).to_have_attribute("type", "password")
        tab_to(page, value)
        page.keyboard.type("long enough to hide")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_be_focused()
        row = page.get_by_role("row", name="API_TOKEN")
        expect(row).to_contain_text("the default branch")
        tab_to(page, page.get_by_role("link", name="Replace API_TOKEN"))
        page.keyboard.press("Enter")
        expect(value).to_be_focused()
        tab_to(page, page.get_by_text("It has several lines"))
        page.keyboard.press("Enter")
        tab_to(page, page.get_by_label("Value, in lines"))
        page.keyboard.type("the first line")
        page.keyboard.press("Enter")
        page.keyboard.type("the second line")
        tab_to(page, page.get_by_label("Branches"))
        page.keyboard.type("release/*")
        tab_to(page, page.get_by_role("button", name="Replace secret"))
        page.keyboard.press("Enter")
        expect(row).to_contain_text("release/*")
        assert "long enough" not in page.content() and "first line" not in page.content()
        tab_to(page, page.get_by_role("button", name="Remove API_TOKEN"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("None yet.")).to_be_visible()
