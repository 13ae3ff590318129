"""Lines as a terminal shows them: the same in the server's rendering and in the browser's, case by case."""

import pytest
from playwright.sync_api import Page

from web.terminal import Pen, render, render_line

CASES = {
    "plain": ("one two", "one two"),
    "tab stays": ("a\tb", "a\tb"),
    "carriage return overwrites": ("aaaa\rbb", "bbaa"),
    "a line end of DOS": ("text\r", "text"),
    "progress of tqdm": (" 10%|#    |\r 50%|##   |\r100%|#####|", "100%|#####|"),
    "progress of ninja": ("\r\x1b[K[1/9] long name\r\x1b[K[2/9] b", "[2/9] b"),
    "erased to the start": ("abcdef\x1b[3D\x1b[1K", "    ef"),
    "erased whole": ("abc\x1b[2K\rd", "d"),
    "backspace": ("abc\b\bX", "aXc"),
    "moved": ("12345\x1b[3Dxy\x1b[2Cz\x1b[1G0", "02xy5 z"),
    "colours are not text": ("\x1b[1;31mred\x1b[0m \x1b[38;5;208mo\x1b[m", "red o"),
    "movements between lines are left out": ("a\x1b[2Ab\x1b[10;5Hc", "abc"),
    "a link is its text": ("\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07!", "link!"),
    "a title is nothing": ("\x1b]0;evil\x1b\\x", "x"),
    "invisible is shown": ("a\u202eb\x00c\u200bd\x9be", "a\ufffdb\ufffdc\ufffdd\ufffde"),
    "other escapes": ("\x1bcx\x1b(By", "xBy"),
    "a storm": ("\r" * 5000 + "x", "x"),
}
STYLES = {
    "\x1b[31mx": "c31",
    "\x1b[1;4;31;42mx": "c31 b32 bold underline",
    "\x1b[1mx\x1b[22my": "bold|",
    "\x1b[91;103mx\x1b[39my": "c91 b93|b93",
    "\x1b[7mx\x1b[0my": "inverse|",
    "\x1b[38;5;9mx": "c91",
    "\x1b[48;5;4mx": "b34",
    "\x1b[3;9mx\x1b[23my": "italic strike|strike",
    "\x1b[2mx": "faint",
}


@pytest.fixture(scope="module")
def words() -> list[str]:
    """What both are given."""
    return [text for text, _ in CASES.values()]


@pytest.mark.parametrize("name", CASES)
def test_the_server_shows_a_line_as_a_terminal_does(name: str) -> None:
    text, shown = CASES[name]
    assert "".join(span.text for span in render_line(text, Pen())[0]) == shown


@pytest.mark.parametrize("text", STYLES)
def test_the_server_knows_styles(text: str) -> None:
    assert "|".join(span.style for span in render_line(text, Pen())[0]) == STYLES[text]


def test_larger_palettes_become_the_nearest_of_sixteen() -> None:
    assert render("\x1b[38;5;196mx\x1b[48;2;0;10;240my")[0][1].style == "c91 b34"


def test_a_style_goes_on_over_lines_and_from_before() -> None:
    first, second = render("a\nb\x1b[0m", "\x1b[1;32m")
    assert (first[0].style, second[0].style) == ("c32 bold", "c32 bold")


def test_a_line_has_an_end_wherever_the_cursor_is_sent() -> None:
    (span,) = render_line("\x1b[99999C\x1b[99999C\x1b[99999Gxyz", Pen())[0][:1]
    assert len(span.text) <= 1 << 14


def _module(page: Page) -> str:
    page.goto("/gpus")
    return str(page.evaluate("document.querySelector('script[src]').src.replace(/[^/]*$/, 'terminal.js')"))


def test_the_browser_shows_lines_as_the_server_does(browser_page: Page, words: list[str]) -> None:
    shown = browser_page.evaluate(
        """async ([address, words]) => {
          const { render, PLAIN } = await import(address);
          return words.map((text) => render(text, PLAIN).map((span) => span.text).join(""));
        }""",
        [_module(browser_page), words],
    )
    assert dict(zip(CASES, shown, strict=True)) == {name: text for name, (_, text) in CASES.items()}


def test_the_browser_knows_styles_as_the_server_does(browser_page: Page) -> None:
    shown = browser_page.evaluate(
        """async ([address, words]) => {
          const { render, paint, PLAIN } = await import(address);
          const look = ({ pen, text }) => {
            const element = document.createElement("span");
            paint(element, pen);
            return element.className;
          };
          return words.map((text) => render(text, PLAIN).map(look).join("|"));
        }""",
        [_module(browser_page), list(STYLES)],
    )
    same = {text: {frozenset(part.split()) for part in style.split("|")} for text, style in STYLES.items()}
    seen = [{frozenset(part.split()) for part in style.split("|")} for style in shown]
    assert dict(zip(STYLES, seen, strict=True)) == same


def test_the_browser_shows_all_colours(browser_page: Page) -> None:
    shown = browser_page.evaluate(
        """async (address) => {
          const { render, PLAIN } = await import(address);
          const [one, two] = render("\\x1b[38;5;208ma\\x1b[48;2;1;2;255mb", PLAIN);
          return [one.pen.colour, two.pen.ground];
        }""",
        _module(browser_page),
    )
    assert shown == ["#ff8700", "#0102ff"]
