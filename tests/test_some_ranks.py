"""Only some ranks of a run again: they keep their numbers, and everything finds them by these."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from hermes.again import Wrong, change
from hermes.some_ranks import keep, name_ranks
from tests.browsing import sign_in
from tests.programs import shell
from tests.service import Service, wait_for
from tests.test_again import HERE, PLAN, ended
from tests.test_pages import signed_in

PROGRAM = shell(
    'echo "rank $RANK of $WORLD_SIZE takes $1 $2"; echo $RANK >"$HERMES_OUTPUT_DIR/part"\n'
    'echo "::metric part=$RANK"; test $((RANK % 2)) = 0\n',
    '[run]\nargs = ["{n}", "{rank}/{world_size}"]\ncpus = 0.5\nmemory = "64M"\n[gpu]\ncount = 0\n'
    "[ranks]\nmatrix = { n = [10, 11, 12, 13] }\n",
)


@pytest.fixture(scope="module")
def run(service: Service) -> dict[str, Any]:
    """Of four ranks, of which 1 and 3 fail."""
    found = service.run_of(service.push(PROGRAM, repo="some-ranks"))
    assert [rank["state"] for rank in found["ranks"]] == ["succeeded", "failed"] * 2
    return found


@pytest.fixture(scope="module")
def again(service: Service, run: dict[str, Any]) -> dict[str, Any]:
    """The failed ones once more, by the button."""
    with signed_in(service, service.token) as client:
        page = client.get(f"/runs/{run['id']}").text
        assert "Run the 2 failed ranks again" in page
        answer = client.post(f"/runs/{run['id']}/again", data={"ranks.only": "failed"})
    assert answer.status_code == 303, answer.text
    return wait_for(lambda: ended(service, answer.headers["location"]))


def test_a_plan_of_some_ranks_keeps_numbers_and_parameters() -> None:
    made = keep(PLAN, [1, 3])
    assert (made.numbers, made.ranks, made.world_size) == ([1, 3], [{"n": "1"}, {"n": "2"}], 4)
    assert keep(PLAN, [0, 1, 2, 3]) == PLAN
    once_more = keep(made, [3])
    assert (once_more.numbers, once_more.ranks, once_more.world_size) == ([3], [{"n": "2"}], 4)
    with pytest.raises(Wrong, match="the run has no ranks 0, 2"):
        keep(made, [0, 1, 2])
    other = change(made, {"run.args": ["x"]}, HERE)
    assert (other.args, other.numbers, other.world_size) == (["x"], [1, 3], 4)
    anew = change(made, {"ranks.repeat": "1"}, HERE)
    assert (anew.numbers, anew.world_size, anew.numbered()) == ([], 2, [(0, {"n": "1"}), (1, {"n": "2"})])
    assert name_ranks([3]) == "rank 3" and name_ranks(list(range(20))).endswith("10, 11 and 8 more")


def test_the_failed_ranks_run_again_as_what_they_were(
    service: Service, run: dict[str, Any], again: dict[str, Any]
) -> None:
    assert [(rank["number"], rank["parameters"]["n"]) for rank in again["ranks"]] == [(1, "11"), (3, "13")]
    assert (again["rank_count"], again["world_size"], run["world_size"]) == (2, 4, 4)
    assert (again["state"], again["exit_code"], again["build"]) == ("failed", 1, run["build"])
    address = f"/runs/{again['id']}"
    with service.client() as client:
        assert client.get(f"{address}/log").text == "rank 1 of 4 takes 11 1/4\n::metric part=1\n"
        assert client.get(f"{address}/log?rank=3").text.startswith("rank 3 of 4 takes 13 3/4\n")
        assert client.get(f"{address}/log?rank=0").status_code == 404
        assert client.get(f"{address}/logs").text.split("\n")[::3] == ["=== rank 1 ===", "=== rank 3 ===", ""]
    assert {(each["rank"], each["path"]) for each in again["artifacts"]} == {(1, "part"), (3, "part")}
    assert [(each["rank"], each["value"]) for each in again["metrics"]] == [(1, 1.0), (3, 3.0)]


def test_pages_show_them_by_their_numbers(
    service: Service, run: dict[str, Any], again: dict[str, Any]
) -> None:
    with signed_in(service, service.token) as client:
        page = client.get(f"/runs/{again['id']}").text
        assert f"failed ranks 1, 3 of run {run['id']} again, by alice" in page
        assert "2 ranks of 4" in page and "Output of rank 1" in page and "Ranks 1 to 3" in page
        assert 'aria-label="rank 3 failed"' in page and "failed ranks again" not in page  # all of them failed
        assert "Output of rank 3" in client.get(f"/runs/{again['id']}?rank=3").text
        assert "Rank 3" in client.get(f"/runs/{again['id']}/artifacts").text
        assert client.get(f"/runs/{again['id']}?rank=2").status_code == 404
        for path in ("/", "/alice/some-ranks", f"/alice/some-ranks/commit/{again['commit']}"):
            assert client.get(path).status_code == 200, path
        commit = client.get(f"/alice/some-ranks/commit/{again['commit']}").text
        assert "2 ranks of 4" in commit and "Output of rank 1" in commit
        form = client.get(f"/runs/{again['id']}/again").text
        assert 'name="ranks.only"' in form and 'value="1 3"' in form and 'name="ranks.repeat"' not in form


def test_the_api_takes_failed_ones_or_numbers(
    service: Service, run: dict[str, Any], again: dict[str, Any]
) -> None:
    def numbers(run_id: int, only: Any, **others: Any) -> tuple[list[int], list[str]]:
        with service.client() as client:
            made = client.post(f"/api/v1/runs/{run_id}/again", json={"ranks": {"only": only}, **others})
        assert made.status_code == 201, made.text
        found = wait_for(lambda: ended(service, f"/runs/{made.json()['id']}"))
        assert found["world_size"] == 4
        return [rank["number"] for rank in found["ranks"]], [rank["state"] for rank in found["ranks"]]

    assert numbers(run["id"], "failed") == ([1, 3], ["failed"] * 2)
    assert numbers(run["id"], [2, 0, 2]) == ([0, 2], ["succeeded"] * 2)
    assert numbers(again["id"], "3", run={"cpus": 1}) == ([3], ["failed"])
    assert numbers(run["id"], [3, 2, 1, 0])[0] == [0, 1, 2, 3]


WRONG: list[tuple[Any, str]] = [
    ({"only": [4]}, "the run has no rank 4"),
    ({"only": []}, 'ranks.only: "failed", or the numbers of ranks'),
    ({"only": [True]}, 'ranks.only: "failed", or the numbers of ranks'),
    ({"only": "all"}, 'ranks.only: "failed", or the numbers of ranks'),
    ({"only": {"from": 1}}, 'ranks.only: "failed", or the numbers of ranks'),
    ({"only": [1], "repeat": 2}, "leave out ranks.repeat"),
]


@pytest.mark.parametrize(("ranks", "words"), WRONG, ids=[str(ranks) for ranks, _ in WRONG])
def test_what_cannot_be_asked_for(service: Service, run: dict[str, Any], ranks: Any, words: str) -> None:
    with service.client() as client:
        answer = client.post(f"/api/v1/runs/{run['id']}/again", json={"ranks": ranks})
    assert answer.status_code == 400 and words in answer.json()["error"]["message"], answer.text


def test_where_none_failed_there_is_nothing_to_do(service: Service, run: dict[str, Any]) -> None:
    with service.client() as client:
        made = client.post(f"/api/v1/runs/{run['id']}/again", json={"ranks": {"only": [0, 2]}}).json()
        good = wait_for(lambda: ended(service, f"/runs/{made['id']}"))
        answer = client.post(f"/api/v1/runs/{good['id']}/again", json={"ranks": {"only": "failed"}})
    assert answer.status_code == 400
    assert f"no rank of run {good['id']} has failed" in answer.json()["error"]["message"]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_one_button_without_a_form(
    service: Service, browser: Browser, run: dict[str, Any], scripts: bool
) -> None:
    context = browser.new_context(base_url=service.url, java_script_enabled=scripts)
    page = context.new_page()
    sign_in(page, service, service.token)
    page.goto(f"/runs/{run['id']}")
    page.get_by_role("button", name="Run the 2 failed ranks again").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="2 ranks of 4")).to_be_visible()
    assert re.search(r"/runs/\d+$", page.url) and page.url != f"{service.url}/runs/{run['id']}"
    wait_for(lambda: ended(service, page.url.removeprefix(service.url)))
    page.locator("#ranks table").get_by_role("link", name="rank 3").click()
    expect(page.get_by_role("heading", name="Output of rank 3")).to_be_visible()
    expect(page.locator("section.log")).to_contain_text("rank 3 of 4 takes 13 3/4")
    context.close()
