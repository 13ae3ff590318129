"""Webhooks of a forge: what is pushed there runs here, once, however often and however late it is told."""

import json
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.access_tools import ask, open_house
from tests.forge import (
    NOTHING,
    ONE,
    Delivery,
    Followed,
    Forge,
    at_rest,
    deliver,
    follow,
    now,
    open_forge,
    shape,
)
from tests.programs import shell
from tests.service import Service, wait_for

PROGRAM = shell("echo hello")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_TRUST": "all", "HERMES_CALLBACK_NETWORKS": "127.0.0.0/8", "HERMES_UPSTREAM_POLL": "0"}
    for one in open_house(tmp_path_factory.mktemp("house"), **env, HERMES_PUSH_SIZE="1M", HERMES_POLL="1s"):
        yield one
        at_rest(one)


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with open_forge(tmp_path_factory.mktemp("forge")) as one:
        yield one


@pytest.fixture(scope="module")
def pi(house: Service, forge: Forge) -> Followed:
    """A repository that is followed, its first commit taken and run."""
    found = follow(house, forge, "pi", PROGRAM)
    answer = found.deliver("push", push_of(found))
    assert answer.status_code == 202, answer.text
    assert found.settled()[0]["state"] == "taken", found.state
    return found


def push_of(followed: Followed, ref: str = "refs/heads/main", sha: str = "") -> Json:
    sha = sha or followed.tree.git("rev-parse", "HEAD")
    return shape("github.push", ref=ref, after=sha, repository__full_name=followed.name)


def runs_of(followed: Followed, sha: str) -> list[Json]:
    """Ended."""
    page = followed.service.api(f"/repos/{followed.here}/commits/{sha}")
    found: list[Json] = page["runs"]
    return found


def test_a_push_there_runs_here_and_says_why(pi: Followed) -> None:
    sha = pi.commit("more")
    assert pi.deliver("push", push_of(pi)).json() == {"message": "recorded"}
    arrival = pi.settled(2)[0]
    assert arrival["state"] == "taken" and arrival["ref"] == "refs/heads/main" and arrival["sha"] == sha
    run = wait_for(lambda: runs_of(pi, sha))[0]
    assert run["why"] == "pushed by octo (octo/pi)"
    assert run["why_url"] == f"{pi.forge.url}/octo/pi/commit/{sha}"
    wait_for(lambda: runs_of(pi, sha)[0]["state"] == "succeeded")
    assert pi.state["delivered_at"] and pi.state["error"] == ""


@pytest.mark.fault(44)
def test_five_deliveries_at_once_and_one_later_are_one_run(pi: Followed) -> None:
    sha = pi.commit("told five times")
    delivery = Delivery("github", "push", push_of(pi), pi.secret)
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(deliver(pi.service, delivery))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.status_code for each in answers) == [200, 200, 200, 200, 202]
    count = len(pi.settled())
    again = deliver(pi.service, delivery)  # as it comes the next day
    assert (again.status_code, again.json()) == (200, {"message": "duplicate"})
    other = deliver(pi.service, delivery, path=f"/{pi.here}")  # by its other address it is the same
    assert (other.status_code, other.json()) == (200, {"message": "duplicate"})
    assert pi.deliver("push", push_of(pi)).status_code == 202  # another id says the same
    assert [each["state"] for each in pi.settled(count + 1)[:2]] == ["unchanged", "taken"]
    assert len(runs_of(pi, sha)) == 1


def test_an_id_with_another_body_is_refused(pi: Followed) -> None:
    delivery = Delivery("github", "ping", shape("github.ping", repository__full_name=pi.name), pi.secret)
    assert deliver(pi.service, delivery).json() == {"message": "ignored: pong"}
    delivery.payload = delivery.payload | {"zen": "other words"}
    answer = deliver(pi.service, delivery)
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "conflict"


def test_an_old_push_that_is_told_again_does_not_go_back(pi: Followed) -> None:
    old = pi.tree.git("rev-parse", "HEAD")
    new = pi.commit("newer")
    assert pi.deliver("push", push_of(pi)).status_code == 202
    count = len(pi.settled())
    assert (
        pi.deliver("push", push_of(pi, sha=old)).status_code == 202
    )  # a replay whose id nobody knows any more
    assert pi.settled(count + 1)[0]["state"] == "unchanged"
    assert head(pi, "refs/heads/main") == new


def head(followed: Followed, ref: str) -> str:
    """What it is here."""
    number = followed.service.api(f"/repos/{followed.here}")["id"]
    tree = followed.tree
    found = tree.git(
        "--git-dir", str(followed.service.data / f"repos/{number}.git"), "rev-parse", ref, check=False
    )
    return found if len(found) == 40 else ""


#: What is changed of a right delivery, and its answer.
WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "no signature": ({"x_hub_signature_256": None}, 401),
    "an empty one": ({"x_hub_signature_256": ""}, 401),
    "SHA-1 only": ({"x_hub_signature_256": None, "x_hub_signature": f"sha1={'0' * 40}"}, 401),
    "SHA-1 by the other name": ({"x_hub_signature_256": f"sha1={'0' * 40}"}, 401),
    "too short": ({"x_hub_signature_256": "sha256=00"}, 401),
    "no text": ({"x_hub_signature_256": b"sha256=\xe9\xff"}, 401),
    "another body": ({"body": b"{}"}, 401),
    "no JSON": ({"body": b"payload=%7B%7D"}, 401),
    "deep JSON": ({"body": b"[" * 100_000}, 401),
    "a form": ({"content_type": "application/x-www-form-urlencoded"}, 415),
    "no type": ({"content_type": None}, 415),
    "30 MB": ({"body": b" " * (30 << 20)}, 413),
    "6 MB, and nobody says how much": ({"body": iter([b" " * (1 << 20)] * 6)}, 413),
    "no event": ({"x_github_event": None}, 400),
    "no id": ({"x_github_delivery": None}, 400),
    "a strange id": ({"x_github_delivery": "../../etc"}, 400),
    "another kind of forge": ({"path": "/../gitlab"}, 401),
    "a repository that is not there": ({"path": "/alice/nothing"}, 401),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_and_changes_nothing(pi: Followed, what: str) -> None:
    options, status = WRONG[what]
    before = pi.arrivals()
    answer = pi.deliver("push", push_of(pi), **options)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert pi.arrivals() == before


def test_who_is_not_believed_cannot_tell_why(pi: Followed) -> None:
    unknown = shape("github.push", repository__full_name="octo/unknown")
    answers = [
        deliver(pi.service, Delivery("github", "push", unknown, pi.secret)),
        deliver(pi.service, Delivery("github", "push", push_of(pi), secrets.token_hex(32))),
    ]
    assert len({(each.status_code, each.text) for each in answers}) == 1
    assert answers[0].status_code == 401


def test_a_signature_counts_over_the_raw_bytes(pi: Followed) -> None:
    payload = push_of(pi)
    spaced = json.dumps(payload, indent=7).encode()
    answer = pi.deliver("push", payload, body=spaced)
    assert answer.status_code == 401
    delivery = Delivery("github", "push", payload, pi.secret)
    with pi.service.client("") as client:
        answer = client.post("/webhooks/github", content=spaced, headers=delivery.headers(spaced))
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("event", "changes", "words"),
    [
        ("star", {}, "ignored: nothing follows from star"),
        ("push", {"ref": "refs/notes/commits"}, "ignored: it is not a branch or a tag"),
        ("push", {"ref": "refs/heads/--upload-pack=x"}, "ignored: ref name"),
        ("push", {"ref": "refs/heads/../../x"}, "ignored: ref name"),
    ],
)
def test_what_is_not_for_us_is_said_to_be_ignored(
    pi: Followed, event: str, changes: dict[str, str], words: str
) -> None:
    answer = pi.deliver(event, push_of(pi) | changes)
    assert answer.status_code == 200 and answer.json()["message"].startswith(words)
    if changes:
        assert pi.arrivals()[0]["state"] == "refused" and pi.arrivals()[0]["ref"] == changes["ref"]


@pytest.mark.parametrize(
    "changes",
    [{"ref": None}, {"ref": "refs/heads/a\0b"}, {"after": "HEAD"}, {"after": ONE[:-1]}, {"after": [1]}],
)
def test_what_cannot_be_is_refused_although_it_is_signed(pi: Followed, changes: Json) -> None:
    answer = pi.deliver("push", push_of(pi) | changes)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_request"


def test_only_who_fails_too_often_has_to_wait(house: Service, forge: Forge, pi: Followed) -> None:
    def fail() -> httpx.Response:
        return pi.deliver("push", push_of(pi), x_hub_signature_256="sha256=0")

    answer = next(each for each in (fail() for _ in range(60)) if each.status_code != 401)
    assert answer.status_code == 429 and int(answer.headers["Retry-After"]) > 0
    assert pi.deliver("ping", shape("github.ping", repository__full_name=pi.name)).status_code == 200
    rows = ask(house, "SELECT detail FROM audit WHERE act = 'webhook refused' AND address = '127.0.0.1'")
    reasons = [detail for (detail,) in rows]
    assert len(reasons) == len(set(reasons)), reasons  # each once, however often it was tried
    assert {"who sends this is not known here", "too often, too_many"} <= set(reasons)


def test_branches_and_tags_come_move_back_and_go(pi: Followed) -> None:
    first = pi.tree.git("rev-parse", "HEAD")
    pi.tree.git("tag", "-f", "-a", "v1", "-m", "one")
    second = pi.commit("on a branch", "HEAD:refs/heads/try/it", "v1:refs/tags/v1")
    count = len(pi.arrivals())
    tag = pi.tree.git("rev-parse", "v1")
    assert pi.deliver("push", push_of(pi, "refs/heads/try/it", second)).status_code == 202
    assert pi.deliver("push", push_of(pi, "refs/tags/v1", tag)).status_code == 202
    assert {each["state"] for each in pi.settled(count + 2)[:2]} == {"taken"}
    assert head(pi, "refs/heads/try/it") == second and head(pi, "refs/tags/v1") == tag
    wait_for(lambda: runs_of(pi, second))
    pi.push(f"{first}:refs/heads/try/it")  # by force
    assert pi.deliver("push", push_of(pi, "refs/heads/try/it", first)).status_code == 202
    assert pi.settled(count + 3)[0]["state"] == "taken"
    assert head(pi, "refs/heads/try/it") == first
    pi.push(":refs/heads/try/it")
    assert pi.deliver("push", push_of(pi, "refs/heads/try/it", NOTHING)).status_code == 202
    assert pi.settled(count + 4)[0]["state"] == "taken"
    assert head(pi, "refs/heads/try/it") == ""
    assert pi.deliver("push", push_of(pi, "refs/heads/try/it", ONE)).status_code == 202  # late: it is gone
    assert pi.settled(count + 5)[0]["reason"] == "it is gone there, and not here"


def test_a_commit_that_says_so_starts_nothing(pi: Followed) -> None:
    sha = pi.commit("words [skip ci]")
    count = len(pi.arrivals())
    pi.deliver("push", push_of(pi))
    assert pi.settled(count + 1)[0]["state"] == "taken"
    page = pi.service.api(f"/repos/{pi.here}/commits/{sha}")
    assert page["pushes"] and not page["builds"] and not page["runs"]


def test_a_release_runs_its_tag(pi: Followed) -> None:
    sha = pi.commit("for the release")
    pi.tree.git("tag", "-a", "v2.0", "-m", "two")
    tag = pi.push("v2.0") and pi.tree.git("rev-parse", "v2.0")
    payload = shape("github.release.published", release__tag_name="v2.0", repository__full_name=pi.name)
    count = len(pi.arrivals())
    assert pi.deliver("release", payload).status_code == 202
    arrival = pi.settled(count + 1)[0]
    assert arrival["state"] == "taken" and arrival["push"], arrival
    assert head(pi, "refs/tags/v2.0") == tag and head(pi, "refs/release/v2.0") == sha
    assert wait_for(lambda: runs_of(pi, sha))[0]["why"] == "released by octo (octo/pi)"
    assert pi.deliver("release", payload).status_code == 202
    assert pi.settled(count + 2)[0]["state"] == "unchanged"


def test_a_stranger_s_pull_request_waits_for_a_collaborator_s_word(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "forked", PROGRAM)
    sha = one.commit("of a stranger", "HEAD:refs/pull/7/head")
    opened = proposed(one, sha, "opened")
    answer = one.deliver("pull_request", opened)
    assert answer.status_code == 202 and "collaborator" in answer.json()["message"]
    assert one.settled()[0]["state"] == "held" and head(one, "refs/pull/7/head") == ""

    by_stranger = comment(one, author_association="CONTRIBUTOR")
    assert "is not said to be a collaborator" in one.deliver("issue_comment", by_stranger).json()["message"]
    older = comment(one, created_at="2020-01-01T00:00:00Z")
    assert "came after the comment" in one.deliver("issue_comment", older).json()["message"]
    other = comment(one, body=f"/hermes run {ONE[:12]}")
    assert "not 1111" in one.deliver("issue_comment", other).json()["message"]
    chat = comment(one, body="shall I say /hermes run?")
    assert one.deliver("issue_comment", chat).json()["message"].startswith("ignored")
    assert one.settled()[0]["state"] == "held"

    assert (
        one.deliver("issue_comment", comment(one, body=f"/hermes run {sha[:12]}\r\nthanks")).status_code
        == 202
    )
    arrival = wait_for(lambda: (found := one.arrivals()[0])["state"] == "taken" and found)
    assert arrival["pull_request"] == 7 and head(one, "refs/pull/7/head") == sha
    run = wait_for(lambda: runs_of(one, sha))[0]
    assert run["why"] == "pull request 7 by mona (octo/forked)"
    assert run["why_url"].endswith("/octo/forked/pull/7")
    with house.client() as client:
        client.headers["Accept"] = "text/html"
        client.post("/signin", data={"token": house.token})
        assert "pull request 7" in client.get(f"/{one.here}").text
    again = one.deliver("issue_comment", comment(one))  # it has run: there is nothing more to let run
    assert again.json()["message"] == "ignored: no commit of pull request 7 waits here"

    assert one.deliver("pull_request", proposed(one, sha, "closed")).status_code == 202
    wait_for(lambda: head(one, "refs/pull/7/head") == "")


def proposed(one: Followed, sha: str, action: str, name: str = "opened") -> Json:
    payload = shape(f"github.pull_request.{name}", action=action, repository__full_name=one.name)
    payload["pull_request"]["head"]["sha"] = sha
    payload["pull_request"]["updated_at"] = now()
    return payload


def comment(one: Followed, **changes: str) -> Json:
    payload = shape("github.issue_comment.created", repository__full_name=one.name)
    payload["comment"] |= {"created_at": now()} | changes
    return payload


def test_only_the_commit_that_was_looked_at_runs(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "moved", PROGRAM)
    looked_at = one.commit("looked at", "HEAD:refs/pull/7/head")
    one.deliver("pull_request", proposed(one, looked_at, "opened"))
    sneaked_in = one.commit("sneaked in", "HEAD:refs/pull/7/head")
    assert one.deliver("pull_request", proposed(one, looked_at, "labeled", "labeled")).status_code == 202
    arrival = wait_for(lambda: (found := one.arrivals()[0])["state"] == "refused" and found)
    assert f"{looked_at[:12]} was to run, and it is {sneaked_in[:12]} now" in arrival["reason"]
    assert head(one, "refs/pull/7/head") == ""

    one.deliver("pull_request", proposed(one, sneaked_in, "synchronize"))
    newer = one.commit("once more", "HEAD:refs/pull/7/head")
    one.deliver("pull_request", proposed(one, newer, "synchronize"))
    states = [(each["sha"], each["state"]) for each in one.arrivals()[:2]]
    assert states == [(newer, "held"), (sneaked_in, "refused")]  # the older one can be let run by nobody
    labelled = one.deliver("pull_request", proposed(one, sneaked_in, "labeled", "labeled"))
    assert (
        labelled.json()["message"] == f"ignored: the commit that waits is {newer[:12]}, not {sneaked_in[:12]}"
    )
    held = one.arrivals()[0]["id"]
    with house.client() as client:
        address = f"/api/v1/repos/{one.here}/upstream/arrivals/{held}/run"
        assert client.post(address).status_code == 202
        wait_for(lambda: head(one, "refs/pull/7/head") == newer)
        assert client.post(address).status_code == 403


def test_nobody_pushes_where_pull_requests_are(house: Service, forge: Forge) -> None:
    pushed = house.push(PROGRAM, repo="plain", refs=("HEAD:refs/pull/7/head",))
    assert pushed.code == 1 and "is not a branch or a tag" in pushed.output


def test_a_pull_request_of_a_branch_is_that_branch(pi: Followed) -> None:
    sha = pi.commit("proposed", "HEAD:refs/heads/faster")
    payload = shape("github.pull_request.minimal", repository__full_name=pi.name)
    payload["pull_request"]["head"] |= {"sha": sha, "repo": {"full_name": pi.name}}
    count = len(pi.arrivals())
    assert pi.deliver("pull_request", payload).status_code == 202
    assert pi.deliver("push", push_of(pi, "refs/heads/faster", sha)).status_code == 202
    assert {each["state"] for each in pi.settled(count + 2)[:2]} <= {"taken", "unchanged"}
    assert len(wait_for(lambda: runs_of(pi, sha))) == 1


def test_branches_get_secrets_of_the_repository_and_pull_requests_none(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "secret", shell('echo "${#OF_REPO} ${#OF_USER}"'))
    with house.client() as client:
        for address, name in ((f"repos/{one.here}", "OF_REPO"), ("user", "OF_USER")):
            body = {"value": "twelve bytes", "branches": ["*"]}
            assert client.put(f"/api/v1/{address}/secrets/{name}", json=body).status_code == 201
    sha = one.commit("of a member")
    one.deliver("push", push_of(one))
    assert output_of(one, sha) == b"12 0\n"  # what is alice's own is for what alice pushes
    stranger = one.commit("of a stranger", "HEAD:refs/pull/7/head")
    one.deliver("pull_request", proposed(one, stranger, "opened"))
    one.deliver("issue_comment", comment(one))
    assert output_of(one, stranger) == b"0 0\n"
    with house.client() as client:
        run = runs_of(one, stranger)[0]["id"]
        again = client.post(f"/api/v1/runs/{run}/again").json()["id"]
    wait_for(lambda: house.api(f"/runs/{again}")["state"] == "succeeded")
    assert house.read_log("runs", again) == b"0 0\n"
    plan = ask(house, "SELECT name, version, plan FROM build WHERE commit_sha = ?", stranger)[0]
    assert plan[:2] == ("pull-request-7", "") and json.loads(plan[2])["caches"] is False


def output_of(one: Followed, sha: str) -> bytes:
    """Of its one run."""
    wait_for(lambda: head(one, "refs/heads/main") == sha or head(one, "refs/pull/7/head") == sha)
    run = wait_for(lambda: [each for each in runs_of(one, sha) if each["state"] == "succeeded"])[0]
    return one.service.read_log("runs", run["id"])
