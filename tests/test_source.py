"""Files of a commit on a page: read from the object store, hostile in every way, highlighted by a child."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.programs import command_lines, shell
from tests.service import Pushed, Service, wait_for
from web.highlighter import MOST_CHARACTERS, Highlighter
from web.sources import source_url, split_path

KERNEL = "#include <cstdio>\n__global__ void k(float *x) {\n    x[0] = 2.0f; // two\n}\n" + "int a;\n" * 60
ODD = "a b#c?<img src=x onerror=alert(1)>%2F..txt"
FILES: dict[str, str | bytes] = {
    "src/pi.cu": KERNEL,
    f"odd/{ODD}": "odd\n",
    "evil.html": "<script>alert(1)</script>\n{{7*7}}\n",
    "turn.c": "int x; /* \u202e evil */\n",
    "latin.txt": b"caf\xe9\n",
    "dos.py": "x = 1\r\ny = 2\r\n",
    "empty.txt": "",
    "binary.bin": b"\0\1\2" * 100,
    "long.txt": "x" * 900_000,
    "large.txt": "line\n" * 300_000,
    "many.txt": "l\n" * 20_002,
    "app/inner.c": "int inner;\n",
}


@pytest.fixture(scope="module")
def pushed(service: Service) -> Pushed:
    """Stored, and not run."""
    tree = service.worktree(shell("true\n") | FILES, "source")
    (tree.folder / "link").symlink_to("src/pi.cu")
    name = tree.folder.as_posix().encode() + b"/not-utf8-\xff.c"
    Path(name.decode(errors="surrogateescape")).write_text("int bytes;\n")
    tree.commit("source")
    done = service.push(tree, "skip", repo="source")
    assert done.code == 0, done.output
    return done


@pytest.fixture(scope="module")
def base(pushed: Pushed) -> str:
    """The address of the folder at the top."""
    return f"/{pushed.owner}/{pushed.repo}/source/{pushed.sha}"


def shown_lines(page: str) -> list[str]:
    """The text of the lines, tags taken off."""
    found = re.findall(r'<span class="line" id="L\d+"><a [^>]*></a>(.*?)\n</span>', page, re.DOTALL)
    return [re.sub(r"<[^>]+>", "", line) for line in found]


def test_a_file_has_numbered_and_highlighted_lines(http: httpx.Client, pushed: Pushed, base: str) -> None:
    def coloured() -> str:
        """Not on a machine that stands still: that costs colours, once."""
        text = http.get(f"{base}/src/pi.cu").text
        return text if '<span class="t-key">__global__</span>' in text else ""

    page = wait_for(coloured)
    assert len(shown_lines(page)) == 64 and '<a class="at" href="#L64" data-n="64"' in page
    assert '<span class="t-com">// two</span>' in page
    commit = http.get(f"/{pushed.owner}/{pushed.repo}/commit/{pushed.sha}").text
    assert f'<a href="{base}">Source</a>' in commit


def test_folders_are_listed_and_every_link_leads_somewhere(http: httpx.Client, base: str) -> None:
    page = http.get(base).text
    found = re.findall(rf'<li><a href="({base}[^"]*)">', page)
    assert found[:3] == [f"{base}/app", f"{base}/odd", f"{base}/src"]
    assert f"{base}/not-utf8-%FF.c" in found and len(found) == 17
    for address in found:
        assert http.get(address).status_code == 200, address
    assert shown_lines(http.get(f"{base}/not-utf8-%FF.c").text) == ["int bytes;"]
    odd = re.findall(rf'href="({base}/odd/[^"]+)"', http.get(f"{base}/odd/").text)
    assert len(odd) == 1 and "<" not in odd[0]
    assert shown_lines(http.get(odd[0]).text) == ["odd"]


def test_hostile_files_are_shown_literally_or_not_at_all(http: httpx.Client, base: str) -> None:
    evil = http.get(f"{base}/evil.html").text
    assert "<script>alert" not in evil
    assert shown_lines(evil) == ["&lt;script&gt;alert(1)&lt;/script&gt;", "{{7*7}}"]
    assert shown_lines(http.get(f"{base}/turn.c").text) == ["int x; /* [U+202E] evil */"]
    assert shown_lines(http.get(f"{base}/latin.txt").text) == ["caf\ufffd"]
    assert shown_lines(http.get(f"{base}/dos.py").text) == ["x = 1", "y = 2"]
    assert shown_lines(http.get(f"{base}/long.txt").text) == ["x" * 900_000]
    assert shown_lines(http.get(f"{base}/link").text) == ["src/pi.cu"]
    for name, words in (
        ("empty.txt", "An empty file."),
        ("binary.bin", "This is a binary file."),
        ("large.txt", "This is too large to show."),
        ("many.txt", "more than 20000 lines"),
    ):
        page = http.get(f"{base}/{name}").text
        assert words in page and shown_lines(page) == []


def test_raw_bytes_are_a_download(http: httpx.Client, base: str) -> None:
    for name in ("evil.html", "binary.bin", "large.txt", "latin.txt", "empty.txt"):
        answer = http.get(f"{base}/{name}", params={"raw": "1"})
        data = FILES[name]
        assert answer.content == (data.encode() if isinstance(data, str) else data)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="{name}"')
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
    known = {"If-None-Match": answer.headers["etag"]}
    assert http.get(f"{base}/empty.txt", params={"raw": "1"}, headers=known).status_code == 304
    assert http.get(f"{base}/src", params={"raw": "1"}).status_code == 404


def readers_of(service: Service) -> list[str]:
    """The git programs that read repositories of this service now."""
    return [line for line in command_lines().values() if "cat-file" in line and str(service.data) in line]


def test_a_download_that_is_left_leaves_nothing_behind(service: Service) -> None:
    pushed = service.push({"zeros": bytes(40_000_000)}, "skip", repo="left")
    assert pushed.code == 0, pushed.output
    address = f"/{pushed.owner}/{pushed.repo}/source/{pushed.sha}/zeros"
    with service.client() as client:
        with client.stream("GET", address, params={"raw": "1"}) as answer:
            assert (answer.status_code, answer.headers["content-length"]) == (200, "40000000")
            wait_for(lambda: readers_of(service))
        wait_for(lambda: not readers_of(service))


def test_what_is_not_there_is_not_found(http: httpx.Client, base: str, pushed: Pushed) -> None:
    blob = pushed.tree.git("rev-parse", "HEAD:src/pi.cu")
    repo = base.rpartition("/")[0]
    for address in (
        f"{base}/nothing",
        f"{base}/src/pi.cu/x",
        f"{base}/link/x",
        f"{base}/../../../../etc/passwd",
        f"{base}/%2e%2e/%2e%2e/etc/passwd",
        f"{base}/src%00",
        f"{base}/" + "a/" * 100,
        f"{base}/" + "a" * 9000,
        f"{repo}/{'0' * 40}/src",
        f"{repo}/{blob}",
        f"{repo}/HEAD/src",
        f"{repo}/--help/src",
    ):
        assert http.get(address).status_code == 404, address


def test_who_may_not_see_the_repo_sees_no_source(service: Service, bob: str, base: str) -> None:
    for token, expected in ((bob, {404}), ("", {303, 401, 404})):
        with service.client(token) as client:
            for address in (base, f"{base}/src/pi.cu", f"{base}/src/pi.cu?raw=1"):
                answer = client.get(address)
                assert answer.status_code in expected and "__global__" not in answer.text


def test_short_ids_and_paths_of_compilers_lead_to_the_file(
    http: httpx.Client, base: str, pushed: Pushed
) -> None:
    short = base.replace(pushed.sha, pushed.sha[:10])
    assert http.get(f"{short}/src/pi.cu").headers["location"] == f"{base}/src/pi.cu"
    assert http.get(f"{base}//app/src/pi.cu").headers["location"] == f"{base}/src/pi.cu"
    assert shown_lines(http.get(f"{base}/app/inner.c").text) == ["int inner;"]


def test_each_visitor_has_a_page_once(service: Service, http: httpx.Client, base: str) -> None:
    first = http.get(f"{base}/src/pi.cu")
    assert first.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    again = http.get(f"{base}/src/pi.cu", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(f"{base}/evil.html", headers=known).status_code == 200
    with service.client(service.admin("user", "add", "sourcerer", "--admin").stdout.strip()) as other:
        assert other.get(f"{base}/src/pi.cu", headers=known).status_code == 200


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("src/pi.cu", "/o/r/source/abc/src/pi.cu#L3"),
        ("/app/src/pi.cu", "/o/r/source/abc/src/pi.cu#L3"),
        ("./src/../pi.cu", "/o/r/source/abc/pi.cu#L3"),
        ("a b#.c", "/o/r/source/abc/a%20b%23.c#L3"),
        ("/usr/include/stdio.h", None),
        ("../outside.c", None),
        ("/app/../etc/passwd", None),
        ("", None),
    ],
)
def test_diagnostics_know_the_address_of_a_line(path: str, found: str | None) -> None:
    assert source_url("o/r", "abc", path, 3) == found


def test_paths_are_bytes() -> None:
    assert split_path(b"a%2Fb/./c%FF//d") == [b"a", b"b", b"c\xff", b"d"]


# ---- the child that highlights


@pytest.fixture
def highlighter() -> Iterator[Highlighter]:
    """One that leaves nothing behind."""
    one = Highlighter()
    yield one
    one.close()


def test_words_stay_whatever_the_lexer_does(highlighter: Highlighter) -> None:
    for name, text in (
        ("x.cu", KERNEL),
        ("x.py", "\n\n  def f(:\n\t'''\n"),
        ("x.html", "<a\n<script>x"),
        ("x.json", "{"),
        ("Makefile", "all:\n\techo $(\n"),
        ("x.c", "\x00\x0b\x0c\x1c\u2028\u2029 end"),
        ("no such kind", "plain\n\n"),
        ("x.c", "x" * 30_000),
        ("x.c", "int a;\n" * (MOST_CHARACTERS // 7 + 1)),
    ):
        lines = highlighter.lines(name, text)
        assert "\n".join("".join(words for _, words in line) for line in lines) == text
    wait_for(lambda: any(kind == "key" for line in highlighter.lines("x.cu", KERNEL) for kind, _ in line))


def test_a_child_that_hangs_or_dies_costs_only_colours(
    highlighter: Highlighter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.highlighter._LIMIT_S", 0.2)
    for program in (["sleep", "60"], ["false"]):
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            monkeypatch.setattr(highlighter, "_alive", lambda child=child: child)
            assert highlighter.lines("x.c", "int a;") == [[("", "int a;")]]
        assert child.returncode is not None
    monkeypatch.undo()
    wait_for(lambda: ("typ", "int") in highlighter.lines("x.c", "int a;")[0])


def contrast(one: str, other: str) -> float:
    """Of two colours, as WCAG 2 reckons."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_every_colour_can_be_read() -> None:
    static = Path(__file__).parent.parent / "web" / "static"
    colours = [
        re.findall(r":root \{[^}]*\}", (static / name).read_text()) for name in ("source.css", "hermes.css")
    ]
    for mine, ours in zip(*colours, strict=True):  # light, then dark
        known = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", ours + mine))
        words = [known[name] for name in known if name.startswith("t-")] + [known["text"], known["dim"]]
        assert len(words) == 9
        for ground in (known["panel"], known["mark"]):
            assert all(contrast(colour, ground) >= 4.5 for colour in words), (ground, words)


# ---- in the browser


def test_lines_and_ranges_are_marked(browser_page: Page, base: str) -> None:
    problems: list[str] = []
    browser_page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    browser_page.goto(f"{base}/src/pi.cu#L2-L4")
    picked = browser_page.locator(".picked")
    expect(picked).to_have_count(3)
    browser_page.locator("#L6 .at").click()
    expect(picked).to_have_count(1)
    browser_page.locator("#L9 .at").click(modifiers=["Shift"])
    expect(picked).to_have_count(4)
    expect(browser_page).to_have_url(re.compile("#L6-L9$"))
    browser_page.goto(f"{base}/src/pi.cu#L60-L62")
    expect(browser_page.locator("#L60")).to_be_in_viewport()
    assert problems == []


def test_a_line_is_marked_without_scripts(browser_page: Page, service: Service, base: str) -> None:
    browser = browser_page.context.browser
    assert browser is not None
    state = browser_page.context.storage_state()
    context = browser.new_context(base_url=service.url, java_script_enabled=False, storage_state=state)
    page = context.new_page()
    page.goto(f"{base}/src/pi.cu#L3")
    expect(page.locator("#L3")).to_be_in_viewport()
    shade = page.locator("#L3").evaluate("line => getComputedStyle(line).backgroundColor")
    assert shade != page.locator("#L4").evaluate("line => getComputedStyle(line).backgroundColor")
    context.close()


def test_source_is_found_from_the_commit(browser_page: Page, pushed: Pushed) -> None:
    browser_page.goto(f"/{pushed.owner}/{pushed.repo}/commit/{pushed.sha}")
    browser_page.get_by_role("link", name="Source", exact=True).click()
    browser_page.get_by_role("link", name="src/").click()
    browser_page.get_by_role("link", name="pi.cu").click()
    expect(browser_page.locator("#L2")).to_contain_text("__global__ void k(float *x) {")
    wait_for(lambda: browser_page.title().startswith("pi.cu"))
