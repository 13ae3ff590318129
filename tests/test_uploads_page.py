"""The page of uploads: a form without scripts, a drop zone with them, and what became of each file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.access_tools import browsing, open_house
from tests.browsing import sign_in
from tests.programs import shell
from tests.service import Service, wait_for

PROGRAM = 'test "$HERMES_INPUT_PATH" != bad.png && cp "$HERMES_INPUT_FILE" "$HERMES_OUTPUT_DIR/copy.png"'
PAGE = "/functions/alice/look/uploads"
DROP = """([name, files]) => {
  const data = new DataTransfer();
  for (const each of files) data.items.add(new File([each], each, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.getElementById("drop").dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true }));
  }
}"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance with a function that takes pictures, and one that takes none."""
    for one in open_house(tmp_path_factory.mktemp("uploads-page"), HERMES_TRUST="all"):
        for repo, manifest in (("look", '[on]\nupload = "*.png"\n'), ("plain", "")):
            pushed = one.push(shell(PROGRAM, manifest), "build-only", repo=f"alice/{repo}")
            assert one.settled(pushed)["state"] == "built", pushed.output
        yield one


@pytest.fixture(scope="module")
def page(house: Service, browser: Browser) -> Iterator[Page]:
    """Alice at her browser."""
    context = browser.new_context(base_url=house.url)
    page = context.new_page()
    sign_in(page, house, house.token)
    yield page
    context.close()


def names(house: Service) -> list[str]:
    return [each["name"] for each in house.api("/functions/alice/look/uploads")["uploads"]]


def test_a_form_without_scripts_starts_a_run_for_each_file(house: Service) -> None:
    with browsing(house, house.token) as client:
        files = [("file", ("a.png", b"1")), ("file", ("b/c.png", b"2")), ("file", ("", b""))]
        answer = client.post(PAGE, files=files)
        assert answer.status_code == 303 and answer.headers["location"] == PAGE
        wait_for(lambda: client.get(PAGE).text.count("copy.png") == 2)
        text = client.get(PAGE).text
        assert "b/c.png" in text and "succeeded" in text
        named = client.get(f"{PAGE}?name=b%2Fc.png").text
        assert "?name=b%2Fc.png" in named and "?name=a.png" not in named


def test_one_wrong_file_of_a_form_starts_none(house: Service) -> None:
    before = names(house)
    with browsing(house, house.token) as client:
        answer = client.post(PAGE, files=[("file", ("a.png", b"1")), ("file", ("a.txt", b"2"))])
        assert answer.status_code == 403 and "does not match on.upload" in answer.text
        assert "nothing has started" in answer.text
        empty = client.post(PAGE, files=[("file", ("", b""))])
        assert empty.status_code == 400 and "no file was chosen" in empty.text
        plain = client.get("/functions/alice/plain/uploads").text
        assert "takes no uploads" in plain and "upload = &#34;*.png&#34;" in plain.replace('"', "&#34;")
    assert names(house) == before


def test_chosen_files_and_folders_are_sent_with_their_paths(
    page: Page, house: Service, tmp_path: Path
) -> None:
    folder = tmp_path / "shots"
    (folder / "deep").mkdir(parents=True)
    for name in ("one.png", "deep/two.png", "notes.txt"):
        (folder / name).write_bytes(name.encode())
    page.goto(PAGE)
    page.get_by_label("A folder").set_input_files(folder)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("status")).to_contain_text("2 of 3 files sent, 1 not taken")
    expect(page.locator("[data-sent] li.bad")).to_contain_text("shots/notes.txt does not match on.upload")
    row = page.get_by_role("row").filter(has_text="shots/deep/two.png")
    expect(row).to_contain_text("succeeded")
    expect(row.get_by_role("link", name="copy.png")).to_be_visible()


def test_dropped_files_are_sent_and_a_failure_is_shown(page: Page, house: Service) -> None:
    page.goto(PAGE)
    page.evaluate(DROP, ["", ["dropped.png", "bad.png"]])
    expect(page.get_by_role("status")).to_contain_text("2 of 2 files sent")
    expect(page.get_by_role("row").filter(has_text="dropped.png")).to_contain_text("succeeded")
    expect(page.get_by_role("row").filter(has_text="bad.png")).to_contain_text("exit code 1")


def test_the_keyboard_is_enough(page: Page, house: Service, tmp_path: Path) -> None:
    (tmp_path / "keys.png").write_bytes(b"x")
    page.goto(PAGE)
    page.get_by_role("button", name="Upload").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Choose a file")
    assert page.evaluate("document.activeElement.id") == "files"
    page.get_by_label("Files", exact=True).set_input_files(tmp_path / "keys.png")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text="keys.png")).to_contain_text("succeeded")
