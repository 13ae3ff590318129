"""How it stands with commits that came from elsewhere goes back there: each state once, in order, whatever
the forge does, and whoever is killed in between."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.access_tools import browsing, execute, open_house
from tests.arrivals import Origin
from tests.programs import go_on, shell, told
from tests.service import Service, wait_for
from tests.stand_in_forge import Forge, There, forging, retry_after, used_up
from tests.test_faultpoints import strike

PENDING = "pending"
WORKS = "echo ::metric speed=80 GB/s"
COMMENTS = "[report]\ncomment = true\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that dies where a test says so, and may ask this machine."""
    settings = {
        "HERMES_TRUST": "all",
        "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1",
        "HERMES_POLL": "1s",
        "HERMES_UPSTREAM_POLL": "0",
    }
    yield from open_house(tmp_path_factory.mktemp("house"), HERMES_FAULTPOINT="file", **settings)


@pytest.fixture(scope="module")
def origins(house: Service) -> dict[str, Origin]:
    """A repository that says nothing on pull requests, and one that does: each was pushed and has run."""
    found = {}
    for name, manifest in (("pi", ""), ("talks", COMMENTS)):
        pushed = house.push(shell(WORKS, manifest), repo=f"alice/{name}")
        assert house.run_of(pushed)["state"] == "succeeded", pushed.output
        found[name] = Origin(house, f"alice/{name}", pushed)
    return found


@pytest.fixture
def forge() -> Iterator[Forge]:
    with forging() as one:
        yield one


def follow(house: Service, forge: Forge, repo: str, token: str = "good") -> dict[str, Any]:
    """As a person connects it."""
    with house.client() as client:
        body = {"name": "octo/pi", "url": forge.url, "token": token}
        answer = client.put(f"/api/v1/repos/{repo}/upstream", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def pi(house: Service, forge: Forge, origins: dict[str, Origin]) -> There:
    """What alice/pi follows."""
    there = forge.add("octo/pi")
    follow(house, forge, "alice/pi")
    return there


@pytest.fixture
def talks(house: Service, forge: Forge, origins: dict[str, Origin]) -> There:
    """What alice/talks follows: pull request 7 there goes to its main."""
    there = forge.add("octo/pi")
    there.pulls[7] = {"base": {"ref": "main", "sha": origins["talks"].first.sha}}
    follow(house, forge, "alice/talks")
    return there


def ended(there: There, sha: str) -> dict[str, Any]:
    """The last state of a commit, when it is one that stays."""
    wait_for(lambda: [each for each in there.states(sha) if each != PENDING])
    return there.last(sha)


def has_run(house: Service, sha: str) -> None:
    """Here, whatever is said there."""
    wait_for(lambda: house.api(f"/repos/alice/pi/commits/{sha}")["state"] == "succeeded")


def waiting(house: Service) -> int:
    """Messages that are not taken yet."""
    with closing(sqlite3.connect(house.data / "hermes.db", timeout=20)) as database:
        query = "SELECT count(*) FROM outbox WHERE topic IN ('status', 'comment') AND sent_at IS NULL"
        query += " AND tries <= 8"  # with more it is given up
        return int(database.execute(query).fetchone()[0])


def all_sent(house: Service) -> None:
    wait_for(lambda: waiting(house) == 0)


def in_order(there: There, sha: str, end: str = "success") -> None:
    """Each state once, the end last."""
    said = [(each["state"], each["description"]) for each in there.statuses if each["sha"] == sha]
    assert len(set(said)) == len(said), said
    states = there.states(sha)
    assert states[-1] == end and set(states[:-1]) <= {PENDING}, states


def test_a_commit_that_came_is_told_of_as_it_goes(
    house: Service, origins: dict[str, Origin], pi: There, forge: Forge
) -> None:
    script, files = told("echo begun", WORKS)
    sha = origins["pi"].commit({"main.sh": f"exec sh {script}", script: files[script]})
    run = wait_for(lambda: house.api(f"/repos/alice/pi/commits/{sha}")["runs"])[0]["id"]
    wait_for(lambda: PENDING in pi.states(sha) and house.read_log("runs", run) == b"begun\n")
    go_on(script)
    last = ended(pi, sha)
    all_sent(house)
    in_order(pi, sha)
    assert pi.states(sha)[0] == PENDING
    assert last["context"] == "hermes" and last["target_url"].endswith(f"/alice/pi/commit/{sha}")
    assert last["description"].startswith("succeeded in ") and last["description"].endswith(
        " · speed 80 GB/s"
    )
    call = forge.asked("POST", "/statuses/")[0]
    assert call.heads["Authorization"] == "Bearer good" and call.heads["X-GitHub-Api-Version"]
    assert house.api("/repos/alice/pi/upstream")["report_error"] == ""


def test_what_was_pushed_here_is_not_told_of(house: Service, origins: dict[str, Origin], pi: There) -> None:
    origins["pi"].tree.write({"main.sh": "true # here"}).commit("here")
    pushed = house.push(origins["pi"].tree, repo="alice/pi", refs=("+HEAD:mine",))
    assert house.run_of(pushed)["state"] == "succeeded"
    assert waiting(house) == 0 and not pi.states(pushed.sha)


@pytest.mark.parametrize(
    ("program", "make", "words"),
    [
        ("exit 3", "\t@true", "failed: exit code 3"),
        ("true", "\t@echo 'main.cu:1:5: error: no such thing'; false", "build failed: main.cu:1:5"),
    ],
)
def test_what_goes_wrong_is_said_in_its_words(
    house: Service, origins: dict[str, Origin], pi: There, program: str, make: str, words: str
) -> None:
    files: dict[str, str | bytes] = {"main.sh": f"{program} # {words}", "Makefile": f"all:\n{make}\n"}
    sha = origins["pi"].commit(files)
    last = ended(pi, sha)
    assert (last["state"], last["description"][: len(words)]) == ("failure", words)
    all_sent(house)
    in_order(pi, sha, "failure")
    origins["pi"].tree.write({"Makefile": "all:\n\t@true\n"}).commit("well again")


def test_a_run_that_is_run_again_counts(house: Service, origins: dict[str, Origin], pi: There) -> None:
    newest = house.api("/runs?limit=1")["runs"][0]["id"]
    sha = origins["pi"].commit({"main.sh": f"test $HERMES_RUN -gt {newest + 1}"})
    assert ended(pi, sha)["state"] == "failure"
    run = house.api(f"/repos/alice/pi/commits/{sha}")["runs"][0]["id"]
    with house.client() as client:
        assert client.post(f"/api/v1/runs/{run}/again").status_code == 201
    wait_for(lambda: pi.states(sha)[-1] == "success")
    other = house.api(f"/repos/alice/pi/commits/{sha}")["runs"][0]["id"]
    with house.client() as client:  # with other values it says nothing of the commit
        answer = client.post(f"/api/v1/runs/{other}/again", json={"run": {"args": ["9"]}})
        assert answer.status_code == 201
        wait_for(lambda: house.api(f"/runs/{answer.json()['id']}")["state"] == "succeeded")
    all_sent(house)
    assert pi.states(sha).count("success") == 1


@pytest.mark.parametrize("heads", [retry_after, used_up])
def test_a_limit_is_kept_and_the_newest_state_wins(
    house: Service, origins: dict[str, Origin], pi: There, forge: Forge, heads: Any
) -> None:
    forge.limit(4, heads)
    shas = [origins["pi"].commit({"main.sh": f"true # {heads.__name__} {turn}"}) for turn in range(2)]
    for sha in shas:
        assert ended(pi, sha)["state"] == "success"
    all_sent(house)
    refused = [each for each in forge.asked("POST", "/statuses/") if each.status == 403]
    assert len(refused) <= 2, refused  # one, and one more if its clock had a part of a second left
    for sha in shas:
        in_order(pi, sha)
    assert house.api("/repos/alice/pi/upstream")["report_error"] == ""


def test_a_forge_that_fails_is_asked_again(
    house: Service, origins: dict[str, Origin], pi: There, forge: Forge
) -> None:
    forge.fails = [500, 502] * 500
    sha = origins["pi"].commit({"main.sh": "true # fails"})
    wait_for(lambda: house.api("/repos/alice/pi/upstream")["report_error"] != "")
    forge.fails = []
    assert ended(pi, sha)["state"] == "success"
    all_sent(house)
    in_order(pi, sha)
    assert house.api("/repos/alice/pi/upstream")["report_error"] == ""


def test_a_restart_takes_nothing_away(
    house: Service, origins: dict[str, Origin], pi: There, forge: Forge
) -> None:
    forge.fails = [503] * 1000
    sha = origins["pi"].commit({"main.sh": "true # restart"})
    has_run(house, sha)
    wait_for(lambda: len(forge.asked("POST", "/statuses/")) > 1)
    assert house.stop() == 0 and not pi.states(sha)
    forge.fails = []
    house.start()
    assert ended(pi, sha)["state"] == "success"
    all_sent(house)
    in_order(pi, sha)


def test_a_token_that_is_revoked_is_said_once_and_a_new_one_catches_up(
    house: Service, origins: dict[str, Origin], pi: There, forge: Forge
) -> None:
    del forge.tokens["good"]
    first = origins["pi"].commit({"main.sh": "true # revoked"})
    wait_for(lambda: house.api("/repos/alice/pi/upstream")["report_error"])
    second = origins["pi"].commit({"main.sh": "true # still revoked"})
    for sha in (first, second):
        has_run(house, sha)
    words = house.api("/repos/alice/pi/upstream")["report_error"]
    assert "GitHub does not take the token (401: Bad credentials); make a new one" in words
    assert [each.status for each in forge.asked("POST", "/statuses/")] == [401]
    with closing(sqlite3.connect(house.data / "hermes.db", timeout=20)) as database:
        query = "SELECT count(*) FROM audit WHERE act = 'upstream denied' AND subject = 'octo/pi'"
        assert database.execute(query).fetchone()[0] == 1
    with browsing(house, house.token) as client:
        page = client.get("/alice/pi/settings/upstream").text
    assert "401: Bad credentials" in page
    forge.tokens["fresh"] = None
    follow(house, forge, "alice/pi", "fresh")
    for sha in (first, second):
        assert ended(pi, sha)["state"] == "success"
    all_sent(house)
    assert house.api("/repos/alice/pi/upstream")["report_error"] == ""


def test_a_commit_that_is_gone_there_holds_nothing_up(
    house: Service, origins: dict[str, Origin], pi: There
) -> None:
    pi.shas = set()
    gone = origins["pi"].commit({"main.sh": "true # gone"})
    wait_for(lambda: "No commit found" in house.api("/repos/alice/pi/upstream")["report_error"])
    pi.shas = None
    sha = origins["pi"].commit({"main.sh": "true # there"})
    assert ended(pi, sha)["state"] == "success"
    all_sent(house)
    assert house.api("/repos/alice/pi/upstream")["report_error"] == ""
    has_run(house, gone)


# ---- comments


def comments(there: There) -> list[str]:
    """Those of pull request 7, without their mark."""
    return [each["body"].partition("-->")[2].strip() for each in there.comments]


def arrive(origin: Origin, program: str) -> str:
    return origin.commit({"main.sh": program}, 7, origin.first.sha)


def test_one_comment_is_kept_up_to_date(
    house: Service, origins: dict[str, Origin], talks: There, forge: Forge
) -> None:
    first = arrive(origins["talks"], "echo ::metric speed=88 GB/s")
    body = wait_for(lambda: comments(talks))[0]
    base = origins["talks"].first.sha[:7]
    assert f"of {first[:7]}: succeeded in " in body and f"| | {first[:7]} | {base} on main | change |" in body
    assert "| speed | 88 GB\\/s | 80 GB\\/s | \\+10 % |" in body, body
    second = arrive(origins["talks"], "echo ::metric speed=40 GB/s; exit 1 # @octo/everybody")
    wait_for(lambda: f"of {second[:7]}: failed\\: exit" in comments(talks)[0].replace("failed:", "failed\\:"))
    all_sent(house)
    assert len(talks.comments) == 1 and len(forge.asked("PATCH", "/comments/")) == 1
    assert talks.last(second)["state"] == "failure"
    # it was removed there, and then we forget that we wrote one
    talks.comments = []
    third = arrive(origins["talks"], "echo ::metric speed=81 GB/s")
    wait_for(lambda: [each for each in comments(talks) if third[:7] in each])
    all_sent(house)
    execute(house, "DELETE FROM report WHERE subject = 'pull 7'")
    talks.comments.insert(0, talks.comments[0] | {"id": 5, "user": {"login": "mallory"}})
    fourth = arrive(origins["talks"], "echo ::metric speed=82 GB/s")
    wait_for(lambda: [each for each in comments(talks) if fourth[:7] in each])
    all_sent(house)
    assert len(talks.comments) == 2 and third[:7] in talks.comments[0]["body"]


def test_without_the_manifest_nothing_is_written_on_a_pull_request(
    house: Service, origins: dict[str, Origin], pi: There
) -> None:
    sha = origins["pi"].commit({"main.sh": "true # quiet"}, 7)
    assert ended(pi, sha)["state"] == "success"
    all_sent(house)
    assert not pi.comments


# ---- who is killed in between


@pytest.mark.parametrize("point", ["status.sending", "status.sent", "comment.sending", "comment.sent"])
def test_who_is_killed_at_it_loses_nothing_and_doubles_nothing(
    house: Service, origins: dict[str, Origin], talks: There, point: str
) -> None:
    has_struck = strike(house, point)
    sha = arrive(origins["talks"], f"true # {point}")
    wait_for(has_struck)
    wait_for(house.answers)
    assert ended(talks, sha)["state"] == "success"
    wait_for(lambda: [each for each in comments(talks) if sha[:7] in each])
    all_sent(house)
    assert len(talks.comments) == 1 and talks.states(sha)[-1] == "success"
    assert talks.states(sha).count("success") == 1
