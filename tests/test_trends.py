"""Metrics, trends, badges, permalinks and the comparison of commits, by pushes and real HTTP."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.programs import shell
from tests.service import Pushed, Service
from web.comparison import figure_rows, metric_rows
from web.metrics import Measured

PRINTS = """\
echo '::hermes progress 0.5 half way'
echo '::metric loss={loss}'
echo '::metric speed=1 GFLOP/s'
echo '::metric speed={speed} GFLOP/s'
echo '::metric <b>evil</b>=1'
echo '::metric odd=1 <i>x</i>'
echo 'result {speed}' > "$HERMES_OUTPUT_DIR/result.txt"
exit {code}
"""


def program(loss: float, speed: float, code: int = 0) -> dict[str, str | bytes]:
    return shell(PRINTS.format(loss=loss, speed=speed, code=code), 'version = "1.2.0"\n')


@pytest.fixture(scope="module")
def commits(service: Service) -> list[Pushed]:
    """Four commits on main: one that runs, one that only stores, one that is twice as fast, one that fails;
    and a branch with one more. Public pages are tested with another repository."""
    tree = service.worktree(program(0.5, 100), "trends")
    made = [service.push(tree, repo="trends")]
    tree.write({"README": "words"}).commit("Only words")
    service.push(tree, "skip", repo="trends")
    for name, files in (("Twice as fast", program(0.25, 200)), ("Breaks", program(0.75, 50, 3))):
        tree.write(files).commit(name)
        made.append(service.push(tree, repo="trends"))
    tree.git("checkout", "-q", "-b", "side/one", "HEAD~1")
    tree.write(program(0.2, 300)).commit("On the side")
    made.append(service.push(tree, repo="trends", refs=("HEAD:side/one",)))
    for each in made:
        service.settled(each)
    return made


@pytest.fixture
def page(service: Service, commits: list[Pushed]) -> Iterator[httpx.Client]:
    """A client below the repository's address."""
    with service.client() as client:
        client.base_url = httpx.URL(f"{service.url}/{service.user}/trends")
        yield client


def metrics_of(service: Service, pushed: Pushed) -> list[tuple[str, float, str, int]]:
    return [(m["name"], m["value"], m["unit"], m["rank"]) for m in service.run_of(pushed)["metrics"]]


def test_metrics_are_in_the_api(service: Service, commits: list[Pushed]) -> None:
    assert metrics_of(service, commits[0]) == [
        ("loss", 0.5, "", 0),
        ("odd", 1.0, "<i>x</i>", 0),
        ("speed", 100.0, "GFLOP/s", 0),
    ]
    run = service.run_of(commits[0])
    alone = service.api(f"/runs/{run['id']}")
    assert alone["metrics"] == run["metrics"]
    assert (alone["rank_count"], alone["ranks"][0]["progress"]) == (1, 0.5)


def test_metrics_are_on_the_pages_of_a_run_and_a_commit(
    service: Service, commits: list[Pushed], page: httpx.Client
) -> None:
    run = service.run_of(commits[2])
    assert run["state"] == "failed"  # what was printed before counts all the same
    for text in (
        page.get(f"{service.url}/runs/{run['id']}").text,
        page.get(f"/commit/{commits[2].sha}").text,
    ):
        assert "<dt>speed</dt>" in text
        assert "50 GFLOP/s" in text
        assert "1 &lt;i&gt;x&lt;/i&gt;" in text and "<i>x" not in text


def test_trends_lead_from_points_to_runs(service: Service, commits: list[Pushed], page: httpx.Client) -> None:
    text = page.get(f"{service.url}/{service.user}/trends").text
    plots = re.findall(r'<figure class="trend">.*?</figure>', text, re.DOTALL)
    assert re.findall("<figcaption><b>(.*?)</b>", "".join(plots)) == ["Duration", "loss", "odd", "speed"]
    runs = [service.run_of(each)["id"] for each in commits[:3]]
    for plot in plots:
        assert re.findall(r'<a href="/runs/(\d+)"', plot) == [str(run_id) for run_id in runs]
        assert plot.count("#m-succeeded") == 2 and plot.count("#m-failed") == 1
    assert f"<title>{commits[1].sha[:7]} 200 GFLOP/s, succeeded</title>" in plots[3]
    assert "trends:1.2.0</a>" in text
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text)


def test_a_branch_is_chosen(service: Service, commits: list[Pushed], page: httpx.Client) -> None:
    home = f"{service.url}/{service.user}/trends"
    everything = page.get(home).text
    assert "<option >side/one</option>" in everything
    side = page.get(f"{home}?branch=side/one").text
    assert commits[3].sha in side and commits[1].sha not in side
    assert "badge.svg?branch=side/one" in side
    assert "Nothing was pushed" in page.get(f"{home}?branch=no/such").text


def test_a_badge_says_the_newest_state(page: httpx.Client) -> None:
    badge = page.get("/badge.svg")
    assert badge.headers["content-type"] == "image/svg+xml"
    assert "trends: failed" in badge.text
    assert "trends: succeeded" in page.get("/badge.svg?branch=side/one").text
    assert "speed: 300 GFLOP/s" in page.get("/badge.svg?branch=side/one&metric=speed").text
    assert "no value" in page.get("/badge.svg?metric=none").text
    assert "nothing built" in page.get("/badge.svg?branch=none").text
    assert "&lt;i&gt;x" in page.get("/badge.svg?metric=odd").text
    assert "default-src 'none'" in badge.headers["content-security-policy"]
    assert "max-age=60" in badge.headers["cache-control"]


def test_a_badge_is_sent_once(page: httpx.Client) -> None:
    tag = page.get("/badge.svg").headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = page.get("/badge.svg", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert page.get("/badge.svg", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_private_badge_is_not_there_for_strangers(
    service: Service, bob: str, commits: list[Pushed]
) -> None:
    for token in ("", bob):
        with service.client(token) as other:
            hidden = other.get(f"/{service.user}/trends/badge.svg")
            missing = other.get(f"/{service.user}/nothing/badge.svg")
        assert hidden.status_code == missing.status_code == 404
        assert hidden.content == missing.content
        assert "public" not in hidden.headers["cache-control"]


def test_a_public_badge_is_for_everybody(service: Service) -> None:
    done = service.push(shell("true\n", "public = true\n"), repo="open-badge")
    service.settled(done)
    with service.client("") as nobody:
        badge = nobody.get(f"/{service.user}/open-badge/badge.svg")
    assert "open-badge: succeeded" in badge.text
    assert badge.headers["cross-origin-resource-policy"] == "cross-origin"
    assert badge.headers["cache-control"].startswith("public")


def test_latest_leads_to_the_newest(service: Service, commits: list[Pushed], page: httpx.Client) -> None:
    main, side = service.run_of(commits[2]), service.run_of(commits[3])
    leads = {
        "/latest": f"/{service.user}/trends/commit/{commits[3].sha}",
        "/latest?branch=main": f"/{service.user}/trends/commit/{commits[2].sha}",
        "/latest/log?branch=main&follow=1": f"/runs/{main['id']}/log?follow=1",
        "/latest/log?branch=side/one": f"/runs/{side['id']}/log",
        "/latest/artifacts/result.txt?inline=1": httpx.URL(side["artifacts"][0]["url"]).path + "?inline=1",
    }
    for path, target in leads.items():
        answer = page.get(path)
        assert (answer.status_code, answer.headers["location"]) == (302, target), path
    assert page.get("/latest/artifacts/result.txt?branch=main", follow_redirects=True).text == "result 50\n"
    for path in ("/latest?branch=none", "/latest/log?branch=none", "/latest/artifacts/none.txt"):
        assert page.get(path).status_code == 404


def test_a_commit_is_compared_with_the_nearest_that_ran(page: httpx.Client, commits: list[Pushed]) -> None:
    """The commit between them was only stored."""
    text = page.get(f"/commit/{commits[1].sha}").text
    part = text[text.index('id="comparison"') :]
    assert f"/commit/{commits[0].sha}" in part and "2 commits earlier" in part
    rows = {
        name: re.findall(r'<td class="num">(.*?)</td>', row, re.DOTALL)
        for name, row in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', part, re.DOTALL)
    }
    assert rows["speed"] == ["200 GFLOP/s", "100 GFLOP/s", "+100 %"]
    assert rows["loss"] == ["0.25", "0.5", "−50 %"]
    assert rows["Exit code"][:2] == ["0", "0"]
    assert {"Wall time", "Build time"} <= rows.keys()
    broken = page.get(f"/commit/{commits[2].sha}").text
    assert "its parent" in broken
    assert 'class="num">3</td><td class="num">0</td>' in broken
    assert 'id="comparison"' not in page.get(f"/commit/{commits[0].sha}").text


def verdicts(here: dict[str, float], there: dict[str, float]) -> dict[str, tuple[str, str]]:
    return {row.name: (row.change, row.verdict) for row in figure_rows(here, there, may_judge=True)}


def test_less_time_and_memory_is_better_unless_it_is_noise() -> None:
    here = {"wall_s": 1.0, "cpu_s": 3.0, "gpu_busy_s": 0.02, "peak_memory_bytes": 100 << 20, "build_s": 50.0}
    there = {"wall_s": 2.0, "cpu_s": 2.0, "gpu_busy_s": 0.01, "peak_memory_bytes": 2 << 20, "build_s": 50.5}
    assert verdicts(here, there) == {
        "Wall time": ("−50 %", "better"),
        "CPU time": ("+50 %", "worse"),
        "GPU time": ("+100 %", ""),
        "Peak memory": ("× 50", "worse"),
        "Build time": ("−1.0 %", ""),
    }
    assert {row.verdict for row in figure_rows(here, there, may_judge=False)} == {""}


def test_metrics_are_compared_without_a_verdict() -> None:
    here = [Measured(0, *each, 0.0) for each in (("a", 3.0, "s"), ("b", 1.0, "s"), ("c", 1.0, ""))]
    there = [Measured(0, *each, 0.0) for each in (("a", -2.0, "s"), ("b", 1.0, "ms"), ("d", 0.0, ""))]
    rows = [(row.name, row.here, row.there, row.change, row.verdict) for row in metric_rows(here, there)]
    assert rows == [
        ("a", "3 s", "-2 s", "+250 %", ""),
        ("b", "1 s", "1 ms", "", ""),
        ("c", "1", "", "", ""),
        ("d", "", "0", "", ""),
    ]
