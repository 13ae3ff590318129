"""What programs draw over earlier lines: shown as a terminal does, live too, and line numbers stay true."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from hermes.logs import STDOUT, LogWriter, read
from tests.programs import shell
from tests.service import Service, wait_for
from web.lines import LineIndex
from web.outline import Outline
from web.screen import MOST_ROWS
from web.terminal import render

MANY = 2000
#: What is printed, and what is to be seen of it: line number and text.
CASES: dict[str, tuple[str, list[tuple[int, str]]]] = {
    "nothing is drawn over": ("a\nb\n", [(1, "a"), (2, "b")]),
    "two bars of tqdm": (
        "go\na 0\nb 0\x1b[A\ra 5\nb 5\x1b[A\ra 9\nb 9\ndone\n",
        [(1, "go"), (2, "a 9"), (3, "b 9"), (6, "done")],
    ),
    "lines of docker-compose": (
        "x 1\ny 1\n\x1b[2A\x1b[2Kx 2\n\x1b[2Ky 2\n\x1b[2A\x1b[2Kx 3\n\x1b[2Ky 3\nDone\nmore\n",
        [(1, "x 3"), (2, "y 3"), (7, "Done"), (8, "more")],
    ),
    "up to the start of a line, and erased below": (
        "head\na\nb\nc\x1b[3F\x1b[Jnew head\nnew a\n",
        [(1, "new head"), (2, "new a"), (3, ""), (4, "")],
    ),
    "down again": ("a\nb\nc\x1b[2A!\x1b[2B?\n", [(1, "a!"), (2, "b"), (3, "c ?")]),
    "next line": ("a\nb\x1b[F1\x1b[E2\n", [(1, "1"), (2, "2")]),
    "not above the first row": ("a\n\x1b[99Ab\n", [(1, "b")]),
    "a line that is printed above its bar": (
        "bar 1\n\x1b[A\x1b[2Ksaid\nbar 2\n\x1b[A\x1b[2Kagain\nbar 3\n",
        [(1, "said"), (3, "again"), (5, "bar 3")],
    ),
    "colours stay": ("\x1b[31mred\x1b[0m\nb\x1b[A\r\x1b[32mgreen\x1b[0m\n\n", [(1, "green"), (2, "b")]),
    "very often": (
        "p\nq\n" + "".join(f"\x1b[2A\rp {at}\n\rq {at}\n" for at in range(MANY)) + "end\n",
        [(1, f"p {MANY - 1}"), (2, f"q {MANY - 1}"), (2 * MANY + 3, "end")],
    ),
    "only the newest rows can be reached": (
        "first\n" + "x\n" * 100 + "\x1b[500Areached\n",
        [
            (1, "first"),
            *((at, "x") for at in range(2, 39)),
            (39, "reached"),
            *((at, "x") for at in range(40, 102)),
        ],
    ),
    "whole screens are left out": ("a\nb\n\x1b[2J\x1b[Hc\n", [(1, "a"), (2, "b"), (3, "c")]),
}


def seen(path: Path, outline: Outline) -> list[tuple[int, str]]:
    """What a viewer shows: lines that are not folded away, as they were drawn last."""
    told = outline.look(LineIndex(path)).as_json()
    drawn = dict(told["drawn"])
    hidden = {at for head in told["heads"] for at in range(head["first"], head["last"] + 1)}
    lines = read(path, 0, 1 << 20).decode().split("\n")
    if lines[-1] == "":
        lines.pop()
    texts = {at: drawn.get(at, line) for at, line in enumerate(lines, 1) if at not in hidden}
    return [(at, "".join(span.text for span in render(text)[0])) for at, text in texts.items()]


@pytest.mark.parametrize("name", CASES)
def test_what_is_to_be_seen_in_the_end(tmp_path: Path, name: str) -> None:
    text, shown = CASES[name]
    path = tmp_path / "a.log"
    writer = LogWriter(path, 1 << 20)
    writer.write(text.encode(), STDOUT)
    writer.close()
    assert seen(path, Outline(path)) == shown


@pytest.mark.parametrize("name", [name for name in CASES if name != "very often"])
def test_it_is_the_same_when_it_is_read_as_it_comes(tmp_path: Path, name: str) -> None:
    text, shown = CASES[name]
    path = tmp_path / "a.log"
    writer, outline = LogWriter(path, 1 << 20), Outline(path)
    for at in range(0, len(text), 3):
        writer.write(text[at : at + 3].encode(), STDOUT)
        seen(path, outline)
    writer.close()
    assert seen(path, outline) == shown


def test_a_line_without_an_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer, outline = LogWriter(path, 1 << 20), Outline(path)
    writer.write(b"a 0\nb 0\x1b[A\ra 1\nb 1\x1b[A\ra 2", STDOUT)
    assert seen(path, outline) == [(1, "a 2"), (2, "b 1")]
    assert outline.look(LineIndex(path)).drawn_to == 3
    writer.close()
    assert seen(path, outline) == [(1, "a 2"), (2, "b 1")]
    assert outline.look(LineIndex(path)).drawn_to is None


def test_what_wants_to_be_very_wide_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer, outline = LogWriter(path, 1 << 24), Outline(path)
    writer.write(
        b"\n" * 60 + b"\x1b[99A" + b"\x1b[16000Gx\x1b[B" * 60 + b"\x1b[1;31m" * 500 + b"\x1b[Jy\n", STDOUT
    )
    shown = outline.look(LineIndex(path))
    assert sum(map(len, shown.drawn.values())) < 70 * 1300


def test_a_screen_that_nothing_moves_on_any_more_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer, outline = LogWriter(path, 1 << 20), Outline(path)
    writer.write(b"a\nb\x1b[A\rc\n\n", STDOUT)
    writer.write(b"x\n" * (MOST_ROWS + 5), STDOUT)
    shown = outline.look(LineIndex(path))
    assert (shown.drawn_to, list(shown.drawn)) == (None, [1, 2])


#: Every state of a log that a reader could see.
WATCHED = """new MutationObserver(() => {
  (window.states ??= []).push(document.querySelector("[data-lines]")?.textContent || "");
}).observe(document, { childList: true, subtree: true });"""


def test_a_page_shows_at_no_moment_lines_that_were_drawn_over(service: Service, browser_page: Page) -> None:
    """However late the browser learns what was drawn over what: the server has said so in the page."""
    run = service.run_of(
        service.push(shell("printf 'above\\nkept\\033[1A\\033[K here\\033[1B\\nthe end\\n'"))
    )

    def later(route: Route) -> None:
        time.sleep(1)
        route.continue_()

    browser_page.route("**/log/outline*", later)
    browser_page.add_init_script(WATCHED)
    browser_page.goto(f"/runs/{run['id']}")
    expect(browser_page.locator("[data-log].scripted")).to_be_visible()
    expect(browser_page.locator('.l[data-line="1"]')).to_contain_text("abov here")
    states = browser_page.evaluate("() => window.states.filter((each) => each.includes('the end'))")
    assert len(states) >= 2 and [each for each in states if "abov here" not in each] == []


BARS = r"""
printf 'go\none 0\ntwo 0'
for i in $(seq 1 40); do printf '\033[A\rone %s\n\rtwo %s' $i $i; sleep 0.1; done
printf '\nthe end\n'
"""


def test_bars_move_in_the_viewer_and_stand_still_without_scripts(
    service: Service, browser_page: Page
) -> None:
    pushed = service.push(shell(BARS), "detach")
    run: dict[str, Any] = wait_for(lambda: service.commit_page(pushed)["runs"])[0]
    browser_page.goto(f"/runs/{run['id']}")
    log, row = browser_page.locator("[data-lines]"), '.l[data-line="{}"]'
    expect(browser_page.locator(row.format(2))).to_contain_text(re.compile(r"one \d\d"))
    expect(browser_page.locator(row.format(44))).to_contain_text("the end")
    expect(browser_page.locator(row.format(2))).to_contain_text("one 40")
    expect(browser_page.locator(row.format(3))).to_contain_text("two 40")
    expect(browser_page.locator(row.format(20))).to_have_count(0)
    fold = browser_page.get_by_role("button", name=re.compile("^40 lines drew over those above"))
    fold.click()
    expect(browser_page.locator(row.format(20))).to_be_visible()
    assert "one 40" in log.inner_text()
    with service.client() as client:
        page = client.get(f"/runs/{run['id']}").text
        raw = client.get(f"/runs/{run['id']}/log").text
    pre = re.sub(
        "<[^>]*>", "", page[page.index("data-lines>") : page.index("</pre>", page.index("data-lines>"))]
    )
    assert pre.split("\n")[:5] == [
        "data-lines>go",
        "one 40",
        "two 40",
        "40 lines drew over those above",
        "the end",
    ]
    assert raw.count("\x1b[A") == 40, "the log stays as it is"
