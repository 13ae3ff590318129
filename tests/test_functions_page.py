"""Functions on pages: a list to search, and a form that invokes and, where scripts run, shows the result."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.access_tools import browsing
from tests.browsing import sign_in
from tests.programs import shell
from tests.service import Pushed, Service, wait_for

#: Prints what it got: its words, its stdin and its files; `png` is a picture, `bytes` is none of all.
PROGRAM = """
case "$1" in
  png) printf '\\211PNG\\r\\n\\032\\n'; exit 0 ;;
  bytes) printf '\\001\\002\\000'; exit 0 ;;
  fail) echo so far; exit 3 ;;
esac
echo "words: $*"
cat
[ ! -d "$HERMES_INPUT_DIR" ] || ls "$HERMES_INPUT_DIR"
"""


@pytest.fixture(scope="module")
def function(local_service: Service) -> Pushed:
    """`alice/parrot:1.0.0`, and one that could not be built."""
    local_service.push(shell("true", make="\tfalse"), repo="broken")
    pushed = local_service.push(shell(PROGRAM, 'version = "1.0.0"\n[run]\nargs = ["first"]\n'), repo="parrot")
    assert local_service.run_of(pushed)["state"] == "succeeded"
    return pushed


@pytest.fixture(scope="module")
def page(local_service: Service, function: Pushed, browser: Browser) -> Iterator[Page]:
    """Alice at the page of her function."""
    context = browser.new_context(base_url=local_service.url)
    page = context.new_page()
    sign_in(page, local_service, local_service.token)
    yield page
    context.close()


def invoke(page: Page, arguments: str, text: str = "") -> None:
    """As a person does it, until it has ended."""
    page.goto("/functions/alice/parrot")
    page.get_by_label("Arguments").fill(arguments)
    page.get_by_label("Standard input", exact=True).fill(text)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#outcome [data-status]")).to_contain_text("there and back")


def test_the_list_is_searched(page: Page, function: Pushed) -> None:
    page.goto("/functions")
    row = page.get_by_role("row").filter(has_text="alice/parrot")
    expect(row).to_contain_text("1.0.0")
    expect(row).to_contain_text("succeeded")
    expect(page.get_by_role("row").filter(has_text="alice/broken")).to_have_count(0)
    page.get_by_role("searchbox").fill("no-such-name")
    page.keyboard.press("Enter")
    expect(page.get_by_text("has no-such-name in its name")).to_be_visible()
    page.goto("/functions?q=parr")
    page.get_by_role("link", name="alice/parrot").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("alice/parrot")


def test_text_comes_back_in_place(page: Page, function: Pushed) -> None:
    invoke(page, "a 'b c'", "one\ntwo\n")
    assert page.url.endswith("/functions/alice/parrot"), "nobody is led away"
    expect(page.locator("[data-text]")).to_have_text("words: a b c\none\ntwo\n")
    expect(page.locator("[data-status]")).to_contain_text(re.compile(r"succeeded.* s there and back"))
    expect(page.locator("[data-run]")).to_have_attribute("href", re.compile(r"^/runs/\d+$"))


def test_pictures_and_bytes_come_back(page: Page, function: Pushed) -> None:
    invoke(page, "png")
    expect(page.locator("[data-picture]")).to_have_attribute("src", re.compile(r"/runs/\d+/result"))
    invoke(page, "bytes")
    expect(page.locator("[data-more]")).to_contain_text("3 bytes that are no text")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b"\1\2\0"


def test_a_failure_says_its_reason(page: Page, function: Pushed) -> None:
    invoke(page, "fail")
    expect(page.locator("[data-status]")).to_contain_text("failed: exit code 3")
    expect(page.locator("[data-text]")).to_have_text("so far\n")


def test_what_is_wrong_is_said_where_it_stands(page: Page, function: Pushed) -> None:
    page.goto("/functions/alice/parrot")
    page.get_by_label("Standard input", exact=True).fill("{no")
    page.get_by_label("It is").select_option("json")
    page.get_by_label("Arguments").fill("'open")
    page.get_by_text("Environment, parameters").click()
    page.get_by_label("Time limit").fill("for ever")
    page.get_by_label("CPUs of each rank").fill("1000")
    page.get_by_role("button", name="Run", exact=True).click()
    for name, words in {
        "text": "this is not JSON",
        "run.args": "No closing quotation",
        "run.timeout": "is not a duration",
        "run.cpus": "this instance has",
    }.items():
        field = page.locator(f"[id='{name}']")
        expect(page.locator(f"[id='{name}'] ~ .problem")).to_contain_text(words)
        expect(field).to_have_attribute("aria-describedby", re.compile(f"{re.escape(name)}-wrong"))
    expect(page.get_by_label("Arguments")).to_be_focused()
    expect(page.get_by_label("Arguments")).to_have_value("'open")
    page.get_by_label("Arguments").fill("closed")
    page.get_by_label("Standard input", exact=True).fill("{}")
    page.get_by_label("Time limit").fill("1000h")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("[id='run.timeout'] ~ .problem")).to_contain_text("24 h at most")
    expect(page.locator("[aria-invalid]")).to_have_count(2)


def test_a_file_is_stdin_and_others_lie_in_their_folder(page: Page, function: Pushed) -> None:
    page.goto("/functions/alice/parrot?version=1.0.0")
    page.get_by_label("Or a file as standard input").set_input_files(
        {"name": "in.txt", "mimeType": "text/plain", "buffer": b"from a file\n"}
    )
    files: list[FilePayload] = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": b"x"} for name in ("a.dat", "b.dat")
    ]
    page.get_by_label("More files").set_input_files(files)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("[data-text]")).to_have_text("words: first\nfrom a file\na.dat\nb.dat\n")


def test_without_scripts_the_form_leads_to_the_run(local_service: Service, function: Pushed) -> None:
    address = "/functions/alice/parrot?version=1.0.0"
    parts: Any = {
        "run.args": (None, "plain"),
        "text": (None, "l1\r\nl2\r\n"),
        "upload": ("", b""),
        "file": ("", b""),
    }
    with browsing(local_service, local_service.token) as client:
        assert "there is nothing to run" in client.get("/functions/alice/broken").text.lower()
        answer = client.post(address, files=parts)
        assert answer.status_code == 303, answer.text
        run = answer.headers["location"]
        wait_for(lambda: local_service.api(run)["state"] == "succeeded")
        assert f'href="{run}/result' in client.get(run).text
        shown = client.get(f"{run}/result?inline=1")
        assert (shown.text, shown.headers["content-type"]) == (
            "words: plain\nl1\nl2\n",
            "text/plain; charset=utf-8",
        )
        wrong = client.post(address, files=parts | {"run.cpus": (None, "many")})
        assert wrong.status_code == 400 and "run.cpus: input should be a valid number" in wrong.text
        assert ">plain</textarea>" in wrong.text.replace("\n", ""), "what was typed stays"
        several = {"run.args": (None, "'"), "run.env": (None, "no-value"), "run.memory": (None, "much")}
        said = client.post(address, files=parts | several | {"kind": (None, "json")})
        assert said.status_code == 400 and "4 values have to be changed" in said.text
        for words in ("No closing quotation", "write NAME=VALUE", "is not a size", "this is not JSON"):
            assert words in said.text, words
        assert client.post(address, data={"text": "x"}).status_code == 415
        large = client.post(address, files={"upload": ("in.bin", b"x" * (2 << 20))})
        assert large.status_code == 303, "files are not bounded as other forms are"


def test_strangers_and_readers_are_told_what_is_missing(local_service: Service, function: Pushed) -> None:
    opened = local_service.push(shell("true", "public = true\n"), "build-only", repo="open")
    local_service.settled(opened)
    with local_service.client("") as nobody:
        page = nobody.get("/functions/alice/open").text
        assert "Sign in</a> to run it" in page and "<form method" not in page
        assert nobody.get("/functions/alice/parrot", headers={"Accept": "text/html"}).status_code == 303
