"""A person at the notifications: by keyboard alone, without scripts; and no message leads inward."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.access_tools import browsing, open_house, stored
from tests.listener import listening
from tests.service import Service
from tests.test_settings_browser import at, tab_to


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that may reach nobody on this machine, and sends no mail."""
    yield from open_house(tmp_path_factory.mktemp("pages"))


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_by_keyboard_alone(house: Service, browser: Browser, scripts: bool) -> None:
    with listening() as listener, at(house, browser, java_script_enabled=scripts) as page:
        page.goto("/settings/tokens")
        tab_to(page, page.get_by_role("link", name="Notifications"))
        page.keyboard.press("Enter")
        page.wait_for_url("**/settings/notifications")
        tab_to(page, page.get_by_label("By"))
        page.keyboard.type("Sl")
        tab_to(page, page.get_by_role("textbox", name="Address"))
        page.keyboard.type("http://10.0.0.1/hook")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("10.0.0.1 is not on the public internet")
        expect(page.get_by_role("textbox", name="Address")).to_have_value("")
        expect(page.get_by_label("By")).to_have_value("slack")
        tab_to(page, page.get_by_role("textbox", name="Address"))
        page.keyboard.type(listener.url("/hook"))
        tab_to(page, page.get_by_role("textbox", name="Branches").first)
        page.keyboard.type("main release/*")
        page.keyboard.press("Enter")
        shown = f"http://localhost:{listener.port}/…"
        expect(page.get_by_role("heading", name=f"Slack to {shown}")).to_be_visible()
        expect(page.get_by_text("release/*").last).to_be_visible()
        tab_to(page, page.get_by_role("button", name="Send a test now"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").first).to_contain_text("is not on the public internet")
        assert listener.taken == [], "what a name means is looked at when it is connected to"
        page.get_by_text("Log of the last tries").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("cell", name="test", exact=True)).to_be_visible()
        for button, then in (("Pause", "Resume"), ("Resume", "Pause")):
            tab_to(page, page.get_by_role("button", name=button))
            page.keyboard.press("Enter")
            expect(page.get_by_role("button", name=then)).to_be_visible()
        tab_to(page, page.get_by_role("button", name="Remove"))
        page.keyboard.press("Enter")
        expect(page.get_by_text("Nobody is told yet.")).to_be_visible()


def test_the_page_of_a_repository(house: Service, browser: Browser) -> None:
    stored(house, "alice/told")
    with at(house, browser) as page:
        page.goto("/alice/told/settings")
        page.get_by_role("link", name="notifications of this repository").click()
        page.wait_for_url("**/alice/told/settings/notifications")
        expect(page.get_by_label("By").locator("option")).to_have_count(5)  # mail is sent by nobody here
        page.get_by_role("textbox", name="Address").fill("https://hermes.invalid/secret-part")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("heading", name="What signs it")).to_be_visible()
        assert len(page.locator(".fresh .copy code").inner_text()) > 40
        assert "secret-part" not in page.content()
        page.get_by_text("Change when").click()
        page.get_by_label("When").nth(1).select_option("all")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".meta").filter(has_text="every run")).to_be_visible()
        assert "What signs it" not in page.content()


def test_wrong_forms_change_nothing(house: Service) -> None:
    with browsing(house, house.token) as alice:
        for form, words in (
            ({"do": "add", "kind": "mail", "target": "a@example.org"}, "HERMES_SMTP_URL"),
            ({"do": "add", "kind": "webhook", "target": ""}, "no address"),
            ({"do": "remove", "notification": "999"}, "no such notification"),
            ({"do": "test", "notification": "x"}, "no such notification"),
            ({"do": "again", "notification": "1", "attempt": "1"}, "no such notification"),
            ({"do": "shout"}, "not known here"),
        ):
            answer = alice.post("/settings/notifications", data=form)
            assert answer.status_code in (400, 403, 404) and words in answer.text, form
        assert "Nobody is told yet." in alice.get("/settings/notifications").text


def test_a_key_of_an_old_mail_is_shown_nothing(house: Service, tmp_path: Path) -> None:
    with house.client("") as stranger:
        page = stranger.get("/settings/notifications/1/stop?key=%22%3E%3Cscript%3E")
        assert page.status_code == 200 and "<script>" not in page.text
        assert stranger.post("/settings/notifications/1/stop?key=ü").status_code == 404
