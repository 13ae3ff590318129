"""The page of uploads: a form without scripts, a drop zone with them, and what became of each file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.access_tools import browsing, open_house
from tests.browsing import sign_in
from tests.cutting import Cutter
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
        wait_for(lambda: client.get(PAGE).text.count(">copy.png<") == 2)
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


SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3 << 20}
FAST = SLOW | {"uploadThroughput": -1}
#: All that is said of files that are sent: each word is there for a moment only.
WATCHED = """new MutationObserver(() => {
  (window.said ??= []).push(document.querySelector("[data-sent]").textContent);
}).observe(document.querySelector("[data-sent]"), { childList: true, subtree: true, characterData: true });"""
MARKS = "Object.keys(localStorage).filter((name) => name.startsWith('upload '))"


class Sender:
    """Alice at a browser whose way to the service is slow, and can be cut."""

    def __init__(self, browser: Browser, house: Service, cutter: Cutter, file: Path) -> None:
        self.cutter, self.file = cutter, file
        self.page = browser.new_context(base_url=cutter.url).new_page()
        self.page.goto("/signin")
        self.page.get_by_label("Token").fill(house.token)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(f"{cutter.url}/")
        self.line = self.page.context.new_cdp_session(self.page)
        self.offsets: list[int] = []
        self.page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.method == "PATCH":
            self.offsets.append(int(request.headers["upload-offset"]))

    def choose(self) -> None:
        """The file, on a slow line that gets stuck amid it."""
        self.cutter.get_stuck(6 << 20)
        self.page.goto(PAGE)
        self.line.send("Network.emulateNetworkConditions", SLOW)
        self.page.get_by_label("Files", exact=True).set_input_files(self.file)
        self.page.get_by_role("button", name="Upload").click()

    def wait_for_part(self) -> None:
        """Some of it is through, and not all."""
        bar = self.page.get_by_role("progressbar", name=f"How much of {self.file.name} is sent")
        wait_for(lambda: 0.2 < float(bar.get_attribute("value") or 0) / self.file.stat().st_size < 0.9)

    def wait_for_all(self) -> None:
        """On a fast line."""
        self.cutter.get_stuck(0)
        self.line.send("Network.emulateNetworkConditions", FAST)
        expect(self.page.get_by_role("status")).to_contain_text("1 of 1 file sent")
        row = self.page.get_by_role("row").filter(has_text=self.file.name).first  # the newest
        expect(row).to_contain_text("succeeded")
        assert self.page.evaluate(MARKS) == []


@pytest.fixture
def sender(browser: Browser, house: Service, tmp_path: Path) -> Iterator[Sender]:
    file = tmp_path / "film.png"
    file.write_bytes(os.urandom(24 << 20))
    with Cutter(house.port) as cutter:
        one = Sender(browser, house, cutter, file)
        yield one
        one.page.context.close()


def arrived(house: Service, file: Path) -> int:
    """The run of the only upload of this name, which has all of the file."""
    (upload,) = house.api(f"/functions/alice/look/uploads?name={file.name}")["uploads"]
    with house.client() as client:
        copy = client.get(f"/api/v1/functions/alice/look/outbox/{file.name}/copy.png").content
    assert copy == file.read_bytes()
    return int(upload["run"])


def test_a_cut_upload_goes_on_where_it_was(sender: Sender, house: Service, tmp_path: Path) -> None:
    sender.file = sender.file.rename(tmp_path / "cut.png")
    sender.choose()
    expect(sender.page.get_by_role("status")).to_contain_text("% of what is under way")  # to a screen reader
    sender.wait_for_part()
    sender.page.evaluate(WATCHED)
    sender.cutter.cut()
    words = "the connection was cut; it goes on from"
    sender.page.wait_for_function("words => window.said?.some((each) => each.includes(words))", arg=words)
    sender.wait_for_all()
    assert sender.offsets[0] == 0 and len(sender.offsets) == 2 and sender.offsets[1] > 1 << 20
    assert arrived(house, sender.file)


def test_after_a_reload_the_same_file_goes_on(sender: Sender, house: Service) -> None:
    sender.choose()
    sender.wait_for_part()
    assert len(sender.page.evaluate(MARKS)) == 1
    sender.page.reload()
    sender.choose()
    sender.wait_for_all()
    assert sender.offsets[0] == 0 and sender.offsets[-1] > 1 << 20
    first = arrived(house, sender.file)
    sender.choose()  # it was whole: now it is another upload
    sender.wait_for_all()
    uploads = house.api(f"/functions/alice/look/uploads?name={sender.file.name}")["uploads"]
    assert sender.offsets[-1] == 0 and [each["run"] for each in uploads][1:] == [first]


def test_what_the_server_has_forgotten_begins_anew(sender: Sender, house: Service, tmp_path: Path) -> None:
    sender.file = sender.file.rename(tmp_path / "gone.png")
    sender.choose()
    sender.wait_for_part()
    sender.page.reload()
    (upload,) = house.api("/functions/alice/look/uploads?name=gone.png")["uploads"]
    with house.client() as client:
        gone = client.delete(f"/api/v1/uploads/{upload['id']}", headers={"Tus-Resumable": "1.0.0"})
    assert gone.status_code == 204
    sender.choose()
    sender.wait_for_all()
    assert sender.offsets[-1] == 0 and arrived(house, sender.file)


def test_who_is_signed_out_meanwhile_is_told_and_goes_on_later(
    sender: Sender, house: Service, tmp_path: Path
) -> None:
    sender.file = sender.file.rename(tmp_path / "out.png")
    sender.choose()
    sender.wait_for_part()
    sender.page.context.clear_cookies()
    sender.cutter.cut()
    expect(sender.page.locator("[data-sent] li.bad")).to_contain_text("you are not signed in any more")
    assert len(sender.page.evaluate(MARKS)) == 1
