"""A real browser on every page that shows what strangers wrote: nothing of it runs, all of it is shown."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Error, Page, Route, expect

from tests.access_tools import open_house
from tests.browsing import sign_in
from tests.hostile_content.cases import ARGUMENTS, COMMITS, ENVIRONMENT, FILES, LOG, REFS
from tests.programs import shell
from tests.service import Pushed, Service, WorkTree, wait_for

PIECES = sum(len(case.data) + 5 for case in LOG.values()) // 997 + 1
#: What no page of ours has, so that it came from somebody else.
_VIEWER = ("chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/", "chrome://resources/")  # of PDFs, its own
INTRUDERS = """() => [...document.querySelectorAll("*")].filter((each) =>
  ["IFRAME", "OBJECT", "EMBED", "BASE", "STYLE", "AUDIO", "VIDEO"].includes(each.tagName) ||
  (each.tagName === "SCRIPT" && !(each.getAttribute("src") || "").startsWith("/static/")) ||
  [...each.attributes].some((one) => one.name.startsWith("on") || one.name === "style" &&
    !(each.closest("[data-lines]") && /^(--numbers|height|color|background-color): /.test(one.value)) ||
    /^(src|href|action)$/.test(one.name) &&
    !/^(\\/|\\?|#|https?:\\/\\/(localhost|127\\.0\\.0\\.1)[:/])/.test(one.value))
).map((each) => each.outerHTML.slice(0, 200))"""


def printing(words: bytes) -> str:
    """For a shell's printf: every byte by its number."""
    return "".join(f"\\{byte:03o}" for byte in words)


def program() -> dict[str, str | bytes]:
    """A repository that prints the corpus and leaves its files."""
    copies = [
        f"""cp files/{number} "$HERMES_OUTPUT_DIR/$(printf '{printing(name.encode())}')" """
        for number, name in enumerate(FILES)
    ]
    env = ", ".join(f"{name} = {json.dumps(value)}" for name, value in ENVIRONMENT.items())
    manifest = f'handler = "sh main.sh"\n[run]\nargs = {json.dumps(ARGUMENTS)}\nenv = {{ {env} }}\n'
    return {
        "Makefile": "all:\n\t@cat log\n",
        "main.sh": "\n".join(["cat log", *copies]),
        "hermes.toml": manifest
        + f'[on]\npush = ["main"]\nschedule = {{ cron = "0 0 1 1 *", args = {json.dumps(ARGUMENTS)} }}\n',
        "log": b"".join(case.data + b"\x1b[0m\n" for case in LOG.values()),
        **{f"files/{number}": content for number, content in enumerate(FILES.values())},
    }


def history(tree: WorkTree) -> list[str]:
    """The hostile commits, oldest first; git's own tools let nobody put `<` into a name."""
    shas = []
    for subject, body, author in COMMITS:
        said = ("--allow-empty", f"--author={clean(author)} <a@b>", "-m", subject, "-m", body)
        tree.git("commit", "-q", *said)
        shas.append(tree.git("rev-parse", "HEAD"))
    return shas


def clean(author: str) -> str:
    """What git keeps of a name."""
    return re.sub("[<>]", "", author).strip(" .,:;\"'\\")


@dataclass
class Watched:
    """A browser that writes down all that a page should not do."""

    context: BrowserContext
    url: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.route("**/*", self._route)
        self.context.on("page", self._watch)

    def _route(self, route: Route) -> None:
        if route.request.url.startswith((self.url, "data:", *_VIEWER)):
            route.continue_()
        else:
            self.wrong.append(f"asked {route.request.url}")
            route.abort()

    def _watch(self, page: Page) -> None:
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))
        page.on("console", lambda said: self._hear(page.url, said))

    def _hear(self, url: str, said: ConsoleMessage) -> None:
        """Errors; but a picture alone in a window is a page of the browser's own, whose style we forbid."""
        its_own = "/artifacts/" in url and said.text.startswith("Applying inline style")
        if said.type == "error" and not its_own:
            self.wrong.append(f"{url}: {said.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.wrong.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str) -> Page:
        """The page, once its scripts have run and its streams were heard."""
        page = self.context.new_page()
        page.goto(path)
        page.wait_for_load_state("load")
        return page

    def check_quiet(self, page: Page) -> None:
        """Nothing has run, and nobody was asked."""
        assert page.evaluate("() => window.hacked ?? ({}).hacked") is None, page.url
        wrong, self.wrong[:] = [*self.wrong], []
        assert wrong == [], wrong

    def check(self, page: Page) -> str:
        """Its text; nothing of others may be an element."""
        found = page.evaluate(INTRUDERS)
        assert found == [], f"{page.url}: {found}"
        self.check_quiet(page)
        words: str = page.evaluate("() => document.body.textContent")
        return words


@dataclass
class Story:
    """What was pushed, and what came of it."""

    pushed: Pushed
    shas: list[str]
    run: dict[str, Any]

    @property
    def repo(self) -> str:
        return f"/{self.pushed.owner}/{self.pushed.repo}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its dashboard shows nothing but this."""
    yield from open_house(tmp_path_factory.mktemp("content"))


@pytest.fixture(scope="module")
def story(house: Service) -> Story:
    """One push of a history, one of branches; one run."""
    tree = house.worktree(program(), "content")
    shas = history(tree)
    pushed = house.push(tree, repo="content")
    run = house.run_of(pushed)
    assert run["state"] == "succeeded", (run, pushed.output[-2000:])
    heads = [*REFS[-2:], *(f"branch-{number}" for number in range(len(shas) - 2))]
    branches = tuple(f"{sha}:refs/heads/{head}" for sha, head in zip(shas, heads, strict=True))
    stored = house.push(tree, repo="content", refs=branches)
    assert stored.code == 0, stored.output
    return Story(pushed, shas, run)


@pytest.fixture(scope="module")
def watched(house: Service, browser: Browser) -> Iterator[Watched]:
    """Alice, signed in."""
    one = Watched(browser.new_context(base_url=house.url), house.url)
    page = one.open("/signin")
    sign_in(page, house, house.token)
    page.close()
    yield one
    one.context.close()


def lacks(words: str, wanted: list[str]) -> list[str]:
    """What is not to be seen; where lines break is not asked."""
    flat = re.sub(r"\s+", " ", words)
    return [each for each in wanted if re.sub(r"\s+", " ", each) not in flat]


def look_at_logs(page: Page) -> None:
    """Until the viewer has them: before that they are as the server has put them into the page."""
    for log in page.locator("[data-log]:visible").all():
        log.scroll_into_view_if_needed()
        expect(log).to_have_class(re.compile("scripted"))


def test_the_corpus_is_large() -> None:
    assert len(LOG) + len(FILES) + len(COMMITS) + len(REFS) >= 80


@pytest.mark.parametrize("kind", ["run", "build", "commit"])
def test_logs_are_shown_and_do_nothing(story: Story, watched: Watched, kind: str) -> None:
    paths = {"run": f"/runs/{story.run['id']}", "build": f"/builds/{story.run['build']}"}
    page = watched.open(paths.get(kind, f"{story.repo}/commit/{story.pushed.sha}"))
    wanted = [case.shown for case in LOG.values() if case.shown]
    words = watched.check(page)
    assert lacks(words, wanted) == []
    look_at_logs(page)
    wait_for(lambda: not lacks(watched.check(page), wanted))
    if kind == "run":
        assert lacks(words, [*ENVIRONMENT.values(), *ARGUMENTS]) == []
    page.close()


def test_a_live_log_is_shown_and_does_nothing(house: Service, watched: Watched) -> None:
    """The same bytes by the event stream, cut anywhere, on a page that is open before they come."""
    piece = "dd if=log bs=997 skip=$n count=1 2>/dev/null; sleep 0.05"
    files = program() | {"main.sh": f"echo begun; sleep 3; for n in $(seq 0 {PIECES}); do {piece}; done"}
    pushed = house.push(files, "detach", repo="live")
    run = wait_for(lambda: house.commit_page(pushed)["runs"])[0]
    page = watched.open(f"/runs/{run['id']}")
    expect(page.locator(".verdict .status")).to_have_text("succeeded")
    wanted = [case.shown for case in LOG.values() if case.shown]
    wait_for(lambda: not lacks(watched.check(page), wanted))  # the newest lines are drawn a moment later
    page.close()


def test_every_commit_says_what_it_says(story: Story, watched: Watched) -> None:
    page = watched.open("/")
    for sha, (subject, body, author) in zip(story.shas, COMMITS, strict=True):
        page.goto(f"{story.repo}/commit/{sha}")
        words = watched.check(page)
        assert lacks(words, [subject, body.strip(), clean(author)]) == []
    page.close()


def test_hostile_names_of_branches_are_refused(house: Service, story: Story) -> None:
    for ref in REFS[:-2]:
        refused = house.push(story.pushed.tree, repo="content", refs=(f"HEAD:refs/heads/{ref}",))
        assert refused.code != 0 and "is not accepted here" in refused.output, ref


def test_lists_name_branches_and_hostile_subjects(story: Story, watched: Watched) -> None:
    page = watched.open("/")
    assert lacks(watched.check(page), [COMMITS[-1][0]]) == []
    page.goto(story.repo)
    assert lacks(watched.check(page), [*REFS[-2:], *(subject for subject, _, _ in COMMITS)]) == []
    page.goto(f"{story.repo}/settings")
    assert lacks(watched.check(page), list(REFS[-2:])) == []
    page.goto("/gpus")
    watched.check(page)
    page.close()


def test_artifacts_are_listed_and_opened_without_harm(house: Service, story: Story, watched: Watched) -> None:
    assert len(story.run["artifacts"]) == len(FILES)
    page = watched.open(f"/runs/{story.run['id']}")
    assert lacks(watched.check(page), [each["path"] for each in story.run["artifacts"]]) == []
    found = {httpx.URL(each["url"]).raw_path.decode() for each in story.run["artifacts"]}
    links = page.locator("a[href*='/artifacts/']").evaluate_all("all => all.map((each) => each.href)")
    shown = 0
    for path in sorted(found | {httpx.URL(link).raw_path.decode() for link in links}):
        for address in (path, f"{path.partition('?')[0]}?inline=1"):
            shown += opened(page, address)
            watched.check_quiet(page)
    assert shown >= 8, "some are shown in place"
    page.close()


def opened(page: Page, address: str) -> bool:
    """Whether the browser shows it; else it is a download."""
    try:
        page.goto(address)
    except Error as error:
        assert "Download is starting" in str(error) or "ERR_ABORTED" in str(error), error
        return False
    return True


def test_raw_logs_are_text_whatever_they_say(house: Service, story: Story, watched: Watched) -> None:
    page = watched.open("/gpus")
    for kind, number in (("runs", story.run["id"]), ("builds", story.run["build"])):
        page.goto(f"/{kind}/{number}/log")
        assert page.evaluate("() => document.contentType") == "text/plain"
        watched.check_quiet(page)
    page.close()


def test_a_line_of_a_mebibyte_and_storms_do_not_stop_a_page(house: Service, watched: Watched) -> None:
    storm = "head -c 1048576 /dev/zero | tr '\\0' x; echo; yes 'a\r' | head -c 600000; echo; echo the end"
    run = house.run_of(house.push(shell(storm), repo="storm"))
    page = watched.open(f"/runs/{run['id']}")
    expect(page.locator("body")).to_contain_text("the end")
    watched.check(page)
    page.close()
