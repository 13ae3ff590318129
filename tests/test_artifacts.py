"""What runs leave behind, by the front door: shown in place, never in our name, found in two clicks."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests import media
from tests.programs import shell
from tests.service import Pushed, Service, wait_for

ODD = "<img src=x onerror=alert(1)> & 'q' \"d\".csv"
SCRIPT = "<script>document.title = 'ran at ' + self.origin</script>"
FILES: dict[str, str | bytes] = {
    "heat.ppm": b"P6 2 1 255\n\1\2\3\4\5\6",
    "bomb.ppm": b"P6 30000 500 255\n\1\2\3",
    "loss.csv": "step,loss\n" + "".join(f"{i},{1 / (i + 1)}\n" for i in range(60)),
    ODD: f"{SCRIPT},b\n1,2\n3,4\n",
    "tone.wav": media.wav(),
    "report.pdf": media.PDF,
    "metrics.json": '{"loss":0.5,"note":"</pre>' + SCRIPT.replace('"', "") + '"}',
    "report.html": f"<title>still</title>{SCRIPT}",
    "draw.svg": f'<svg xmlns="http://www.w3.org/2000/svg">{SCRIPT}</svg>',
    "pic.png": media.png(),
    "weights.bin": bytes(range(256)) * 4,
}
COPY = 'cp out/* "$HERMES_OUTPUT_DIR"\n'
KEPT = {f"out/{name}": data for name, data in FILES.items()}
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


@pytest.fixture(scope="module")
def pushed(service: Service) -> Pushed:
    """A run that left one file of each kind, and one that is large."""
    done = service.push(shell(COPY + 'head -c 40000000 /dev/zero > "$HERMES_OUTPUT_DIR/zeros"\n') | KEPT)
    assert done.code == 0, done.output
    return done


@pytest.fixture(scope="module")
def run(service: Service, pushed: Pushed) -> dict[str, Any]:
    """It, as the API shows it."""
    return service.run_of(pushed)


@pytest.fixture(scope="module")
def found(run: dict[str, Any]) -> dict[str, str]:
    """The addresses of its artifacts by path."""
    return {each["path"]: httpx.URL(each["url"]).raw_path.decode() for each in run["artifacts"]}


@pytest.fixture(scope="module")
def many(service: Service) -> dict[str, Any]:
    """A run of two ranks that left 240 files."""
    program = 'for i in $(seq 1 119); do echo $RANK > "$HERMES_OUTPUT_DIR/out_$i"; done\n'
    program += 'echo x > "$HERMES_OUTPUT_DIR/50%"\n'
    return service.run_of(service.push(shell(program, "[ranks]\nrepeat = 2\n")))


def test_everything_is_a_download_unless_its_bytes_may_be_shown(
    http: httpx.Client, found: dict[str, str]
) -> None:
    assert set(found) == {*FILES, "zeros"}
    text = "text/plain; charset=utf-8"
    in_place = {"pic.png": "image/png", "tone.wav": "audio/wav", "report.pdf": "application/pdf"}
    in_place |= {name: text for name in ("loss.csv", ODD, "metrics.json", "report.html", "draw.svg")}
    for name, path in found.items():
        plain, inline = http.head(path), http.head(path, params={"inline": "1"})
        assert plain.headers["content-type"] == "application/octet-stream"
        assert plain.headers["content-disposition"].startswith("attachment;")
        assert inline.headers["content-type"] == in_place.get(name, "application/octet-stream"), name
        assert inline.headers["content-disposition"].startswith(
            "inline;" if name in in_place else "attachment;"
        )
        for answer in (plain, inline):
            assert HEADERS.items() <= dict(answer.headers).items()


def test_one_range_is_sent_and_no_more(http: httpx.Client, found: dict[str, str]) -> None:
    path, whole = found["weights.bin"], FILES["weights.bin"]
    assert isinstance(whole, bytes)
    for asked, begin, end in (
        ("0-0", 0, 1),
        ("1000-", 1000, 1024),
        ("-24", 1000, 1024),
        ("5-99999", 5, 1024),
    ):
        answer = http.get(path, headers={"Range": f"bytes={asked}"})
        assert (answer.status_code, answer.content) == (206, whole[begin:end])
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/1024"
    assert http.get(path, headers={"Range": "bytes=0-0,2-2"}).content == whole
    assert http.get(path, headers={"Range": "bytes=2000-"}).status_code == 416
    etag = http.get(path).headers["etag"]
    assert http.get(path, headers={"Range": "bytes=0-0", "If-Range": etag}).status_code == 206
    assert http.get(path, headers={"Range": "bytes=0-0", "If-Range": '"other"'}).status_code == 200
    assert http.get(path, headers={"If-None-Match": f'"x", W/{etag}'}).status_code == 304


def test_a_ppm_is_sent_as_png_and_a_bomb_is_refused(http: httpx.Client, found: dict[str, str]) -> None:
    answer = http.get(found["heat.ppm"], params={"as": "png"})
    assert media.unpack_png(answer.content) == (2, 1, 8, 2, b"\1\2\3\4\5\6")
    assert answer.headers["content-type"] == "image/png"
    assert HEADERS.items() <= dict(answer.headers).items()
    known = {"If-None-Match": answer.headers["etag"]}
    assert http.get(found["heat.ppm"], params={"as": "png"}, headers=known).status_code == 304
    refused = http.get(found["bomb.ppm"], params={"as": "png"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "not_a_picture")
    assert http.get(found["loss.csv"], params={"as": "png"}).status_code == 404


def test_the_page_shows_hostile_files_and_names_literally(
    http: httpx.Client, pushed: Pushed, run: dict[str, Any]
) -> None:
    for path in (
        f"/runs/{run['id']}",
        f"/{pushed.owner}/{pushed.repo}/commit/{pushed.sha}",
        f"/runs/{run['id']}/artifacts",
    ):
        page = http.get(path).text
        assert "<script>document" not in page and "<img src=x" not in page and " style=" not in page
        assert "&lt;script&gt;document.title" in page
        assert page.count('<svg class="plot"') == 2
        assert page.count('title="sha256 ') == len(FILES) + 1


def test_who_may_not_see_the_repo_sees_nothing_of_it(
    service: Service, bob: str, run: dict[str, Any], found: dict[str, str]
) -> None:
    with service.client(bob) as client:
        assert client.get(f"/runs/{run['id']}/artifacts").status_code == 404
        for query in ("inline=1", "as=png", "preview=1"):
            assert client.get(f"{found['report.html']}?{query}").status_code == 404


def test_html_runs_only_on_the_second_host_where_nothing_else_is(
    service: Service, http: httpx.Client, found: dict[str, str], pushed: Pushed
) -> None:
    for name in ("report.html", "draw.svg"):
        sent = http.get(found[name], params={"preview": "1"})
        assert sent.status_code == 303
        url = httpx.URL(sent.headers["location"])
        assert (url.host, url.port) == ("artifacts.localhost", service.port)
        there = {"Host": f"{url.host}:{url.port}"}
        with service.client("") as client:
            shown = client.get(url.raw_path.decode(), headers=there)
            assert shown.text == FILES[name]
            policy = shown.headers["content-security-policy"]
            assert (
                policy.startswith("sandbox allow-scripts; default-src 'none';")
                and "same-origin" not in policy
            )
            assert client.get(url.raw_path.decode()).status_code in (
                303,
                404,
            )  # on our own host: no such page
            assert client.post(url.raw_path.decode(), headers=there).status_code == 404
            git = f"/{pushed.owner}/{pushed.repo}.git/info/refs?service=git-upload-pack"
            for other in ("/", "/signin", "/healthz", git, found[name], url.raw_path.decode()[:-1]):
                answer = client.get(other, headers=there | {"Authorization": f"Bearer {service.token}"})
                assert answer.status_code == 404 and "set-cookie" not in answer.headers
                assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    for name in ("loss.csv", "pic.png", "report.pdf"):
        assert http.get(found[name], params={"preview": "1"}).status_code == 404


def test_without_a_second_origin_there_is_no_preview(local_service: Service) -> None:
    pushed = local_service.push(shell(COPY) | {"out/report.html": SCRIPT})
    run = local_service.run_of(pushed)
    with local_service.client() as client:
        page = client.get(f"/runs/{run['id']}").text
        answer = client.get(httpx.URL(run["artifacts"][0]["url"]).path, params={"preview": "1"})
    assert "report.html" in page and "Preview" not in page
    assert answer.status_code == 404


def test_the_list_of_many_is_grouped_and_can_be_filtered(http: httpx.Client, many: dict[str, Any]) -> None:
    path = f"/runs/{many['id']}/artifacts"
    page = http.get(f"/runs/{many['id']}").text
    assert f'<a href="{path}">All 240</a>' in page and "The first 200 are shown" in page

    def shown(**query: str) -> tuple[int, list[int]]:
        text = http.get(path, params=query).text
        return text.count('class="path"'), [rank for rank in (0, 1) if f"Rank {rank} " in text]

    assert shown() == (200, [0, 1])
    assert shown(page="2") == (40, [1])
    assert shown(rank="1") == (120, [1])
    assert shown(name="out_11") == (22, [0, 1])
    assert shown(name="out_11", rank="0") == (11, [0])
    assert shown(name="%") == (2, [0, 1])
    for query in (
        {"name": "'"},
        {"name": "\0nothing"},
        {"rank": "9" * 40},
        {"rank": "x"},
        {"page": "9" * 15},
    ):
        assert shown(**query) == (0, [])


def test_only_so_many_zips_are_sent_at_a_time(service: Service, run: dict[str, Any]) -> None:
    path = f"/runs/{run['id']}/artifacts.zip"
    with service.client() as client, ExitStack() as readers:
        for _ in range(2):  # neither reads
            assert readers.enter_context(client.stream("GET", path)).status_code == 200
        refused = client.get(path)
        assert refused.status_code == 429 and refused.headers["retry-after"]
        readers.close()

        def again() -> bool:
            with client.stream("GET", path) as answer:
                return answer.status_code == 200

        wait_for(again)


# ---- in the browser


@pytest.fixture
def problems(browser_page: Page) -> Iterator[list[str]]:
    """What the browser complains about: nothing, afterwards."""
    found: list[str] = []
    browser_page.on("console", lambda line: found.append(line.text) if line.type == "error" else None)
    browser_page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    assert found == []


def test_an_artifact_is_two_clicks_from_the_dashboard(
    browser_page: Page, pushed: Pushed, run: dict[str, Any], problems: list[str]
) -> None:
    browser_page.goto("/")
    browser_page.locator("#runs").get_by_role("link", name=pushed.sha[:7]).first.click()
    with browser_page.expect_download() as download:
        browser_page.get_by_role("link", name="loss.csv", exact=True).click()
    with open(download.value.path(), "rb") as file:
        assert file.read().decode() == FILES["loss.csv"]


def test_artifacts_are_shown_and_stay_open_when_the_page_renews_itself(
    browser_page: Page, run: dict[str, Any], problems: list[str]
) -> None:
    browser_page.goto(f"/runs/{run['id']}")
    picture = browser_page.get_by_role("img", name="heat.ppm")
    picture.scroll_into_view_if_needed()
    wait_for(lambda: picture.evaluate("each => each.naturalWidth") == 2)
    sound = browser_page.locator("audio")
    sound.evaluate("each => { each.muted = true; return each.play(); }")
    wait_for(lambda: sound.evaluate("each => each.ended"))
    line = browser_page.locator(".artifacts li").filter(has_text="metrics.json")
    line.get_by_text("Text").click()
    expect(line.locator("pre")).to_contain_text('"loss": 0.5,')
    script = browser_page.locator('script[src$="/page.js"]').get_attribute("src") or ""
    renew = "script => import(script).then(it => it.refresh())"
    browser_page.evaluate(renew, script.replace("page.js", "refresh.js"))
    expect(line.locator("pre")).to_be_visible()
    curves = browser_page.locator("figure", has_text="loss.csv").locator("svg.plot .curve")
    assert curves.evaluate_all("all => all.map(each => getComputedStyle(each).stroke)")[0].startswith("rgb")


def test_a_preview_runs_alone_with_itself(
    browser_page: Page, run: dict[str, Any], problems: list[str]
) -> None:
    browser_page.goto(f"/runs/{run['id']}")
    with browser_page.context.expect_page() as opened:
        browser_page.get_by_role("link", name="Preview report.html").click()
    expect(opened.value).to_have_title("ran at null")
    assert opened.value.url.startswith("http://artifacts.localhost:")
    assert (
        opened.value.evaluate("(() => { try { return document.cookie } catch { return 'none' } })()")
        == "none"
    )


def test_a_pdf_opens_in_the_viewer_of_the_browser(browser_page: Page, found: dict[str, str]) -> None:
    browser_page.goto(f"{found['report.pdf']}?inline=1")
    expect(browser_page.locator("link[href^=chrome-extension][href*=pdf]")).to_have_count(1)
