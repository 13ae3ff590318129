"""Fetching from elsewhere: what is in the way is said where people look, and what passes is tried again."""

import os
from collections.abc import Iterator

import pytest

from tests.access_tools import ask, browsing, execute, open_house
from tests.forge import Followed, Forge, at_rest, follow, open_forge, shape
from tests.programs import command_lines, refs, shell
from tests.service import Service, wait_for
from tests.test_webhooks import head, push_of

POLL_S = 1
PROGRAM = shell("echo hello")
LONG = shell("sleep 600", "[on]\nsupersede = true\n")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_TRUST": "all", "HERMES_CALLBACK_NETWORKS": "127.0.0.1/32"}
    env["HERMES_UPSTREAM_POLL"] = f"{POLL_S}s"
    for one in open_house(tmp_path_factory.mktemp("house"), **env, HERMES_PUSH_SIZE="1M", HERMES_POLL="1s"):
        yield one
        at_rest(one)


@pytest.fixture
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with open_forge(tmp_path_factory.mktemp("forge")) as one:
        yield one


@pytest.mark.fault(45)
def test_what_was_pushed_while_we_were_away_is_found(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "away", PROGRAM, older="old")  # only the default branch is taken
    first = one.tree.git("rev-parse", "HEAD")
    wait_for(lambda: runs_of_known(one, first))
    assert house.stop() == 0
    second = one.commit("meanwhile")
    one.tree.commit("on another branch")
    third = one.push("HEAD:refs/heads/new")
    house.start()
    assert wait_for(lambda: runs_of_known(one, second))[0]["why"] == "found on octo/away by polling"
    wait_for(lambda: runs_of_known(one, third))
    assert refs(house, "away") == {"refs/heads/main": second, "refs/heads/new": third}
    one.push(":refs/heads/new")
    wait_for(lambda: "refs/heads/new" not in refs(house, "away"))
    count = len(one.arrivals())
    polled = one.state["polled_at"]
    wait_for(lambda: one.state["polled_at"] > polled + 2)
    assert len(one.arrivals()) == count  # nothing is new, nothing comes


def test_a_slow_forge_is_looked_at_by_one_look_at_a_time(house: Service, forge: Forge) -> None:
    """Else an older look, which ends later, would take back what a newer one has found."""
    one = follow(house, forge, "slow", PROGRAM)
    run_of(one, one.tree.git("rev-parse", "HEAD"))
    one.settled()
    forge.slow_s, forge.most = 2.0 * POLL_S, 0
    polled = one.state["polled_at"]
    wait_for(lambda: one.state["polled_at"] > polled + 2 * forge.slow_s)
    assert forge.most == 1
    forge.slow_s = 0.0


def test_a_tag_that_nobody_has_told_is_found_as_if_told(house: Service, forge: Forge) -> None:
    bare = forge.folder / "octo" / "tagged.git"
    before = house.worktree(PROGRAM, "before")
    before.git("init", "-q", "--bare", str(bare))
    before.commit("before it was connected")
    before.git("push", "-q", str(bare), "HEAD:refs/tags/v0")
    one = follow(house, forge, "tagged", PROGRAM)
    run_of(one, one.tree.git("rev-parse", "HEAD"))
    assert house.stop() == 0
    sha = one.tree.commit("released")
    one.tree.git("tag", "-a", "-m", "a tag with words", "v1")
    one.tree.git("tag", "light")
    one.push("v1", "light")
    house.start()
    wait_for(lambda: head(one, "refs/tags/v1") and head(one, "refs/tags/light"))
    assert head(one, "refs/tags/v1") == one.tree.git("rev-parse", "v1")
    assert head(one, "refs/tags/v1^{commit}") == head(one, "refs/tags/light") == sha
    came = next(each for each in one.settled() if each["ref"] == "refs/tags/v1")
    assert (came["source"], came["state"]) == ("poll", "taken")
    assert came["why"] == f"found on {one.name} by polling"
    assert not runs_of_known(one, sha)  # tags start nothing, as when a webhook tells of them
    one.tree.git("tag", "--force", "light", "HEAD~1")
    one.push("light", ":refs/tags/v1")
    wait_for(lambda: head(one, "refs/tags/light") == one.tree.git("rev-parse", "HEAD~1"))
    wait_for(lambda: not head(one, "refs/tags/v1"))
    assert not [each for each in one.settled() if each["ref"] == "refs/tags/v0"]
    assert head(one, "refs/tags/v0") == ""  # it was there before we looked


def test_another_repository_there_begins_anew(house: Service, forge: Forge) -> None:
    """What one there had is not missing in the other."""
    one = follow(house, forge, "first", PROGRAM)
    wait_for(lambda: one.tree.git("rev-parse", "HEAD") in seen_there(one))
    one.tree.commit("aside")
    aside = one.push("HEAD:refs/heads/aside")
    wait_for(lambda: head(one, "refs/heads/aside") == aside)
    wait_for(lambda: aside in seen_there(one))
    there = [str(forge.folder / "octo" / f"{name}.git") for name in ("first", "second")]
    one.tree.git("clone", "-q", "--bare", "--single-branch", *there)
    forge.slow_s, asked = 3.0, len(forge.asked)
    wait_for(lambda: len(forge.asked) > asked)  # a look at the first one, which ends too late
    with house.client() as client:
        answer = client.put(
            f"/api/v1/repos/{one.here}/upstream",
            json={"kind": "github", "url": forge.url, "name": "octo/second", "by_hand": True},
        )
        assert answer.status_code == 200, answer.text
    forge.slow_s = 0.0
    one.name = "octo/second"
    sha = one.commit("in the second")
    wait_for(lambda: head(one, "refs/heads/main") == sha)
    wait_for(lambda: sha in seen_there(one))
    polled = one.state["polled_at"]
    wait_for(lambda: one.state["polled_at"] > polled + 3 * POLL_S)
    one.settled()
    assert head(one, "refs/heads/aside") == aside


def seen_there(one: Followed) -> str:
    """Branches as polling knows them."""
    query = "SELECT heads FROM upstream_heads WHERE repo_id = ?"
    number = one.service.api(f"/repos/{one.here}")["id"]
    return str(ask(one.service, query, number))


def runs_of_known(one: Followed, sha: str) -> list[dict[str, str]]:
    with one.service.client() as client:
        answer = client.get(f"/api/v1/repos/{one.here}/commits/{sha}")
    return answer.json()["runs"] if answer.status_code == 200 else []


def run_of(one: Followed, sha: str) -> dict[str, str]:
    """When there is one."""
    return wait_for(lambda: runs_of_known(one, sha))[0]


def refused(one: Followed, ref: str = "refs/heads/main") -> str:
    """Why, as the arrival and the repository say."""
    arrival = wait_for(lambda: next((each for each in one.arrivals() if each["state"] == "refused"), None))
    assert arrival["ref"] == ref and arrival["ended_at"]
    wait_for(lambda: one.state["error"])
    reason: str = arrival["reason"]
    return reason


def test_a_token_is_shown_and_a_revoked_one_is_said(house: Service, forge: Forge) -> None:
    forge.token = "right-token-of-the-forge"
    one = follow(house, forge, "private", PROGRAM, token=forge.token)
    sha = one.tree.git("rev-parse", "HEAD")
    one.deliver("push", push_of(one))
    wait_for(lambda: runs_of_known(one, sha))
    assert not [line for line in command_lines().values() if forge.token in line]
    forge.token = "another-one"
    one.commit("after that")
    one.deliver("push", push_of(one))
    reason = refused(one)
    assert "the token is wrong, revoked or expired" in reason and "connect it anew" in reason
    with browsing(house, house.token) as browser:
        for page in (f"/{one.here}", f"/{one.here}/settings/upstream"):
            assert "the token is wrong, revoked or expired" in browser.get(page).text
    assert forge.token not in house.log and "right-token" not in house.log


def test_a_redirect_inward_is_not_followed(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "redirected", PROGRAM)
    forge.redirect = house.url
    one.deliver("push", push_of(one))
    assert "it sends us to another address, and we follow none" in refused(one)


def test_an_address_inside_is_not_connected_to(house: Service, forge: Forge) -> None:
    inside = forge.url.replace("127.0.0.1", "127.0.0.2")
    one = follow(house, forge, "inward", PROGRAM, base_url=inside)
    asked = len(forge.asked)
    one.deliver("push", push_of(one))
    assert "127.0.0.2 is not on the public internet" in refused(one)
    assert len(forge.asked) == asked


def test_what_has_grown_too_large_is_said(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "grown", PROGRAM)
    wait_for(lambda: head(one, "refs/heads/main"))
    one.tree.write({"data": os.urandom(3 << 20)})
    one.commit("large")
    one.deliver("push", push_of(one))
    reason = refused(one)
    assert "more than 1.0 MiB" in reason and "HERMES_PUSH_SIZE" in reason


def test_a_manifest_that_is_wrong_is_said_as_to_who_pushes(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "wrong", shell("true", "[run]\ncpus = -1\n"))
    one.deliver("push", push_of(one))
    assert refused(one).startswith("hermes.toml:")
    assert head(one, "refs/heads/main") == ""


def test_a_server_that_is_away_is_tried_again(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "later", PROGRAM)
    wait_for(lambda: head(one, "refs/heads/main"))
    execute(house, "UPDATE upstream SET base_url = ? WHERE name = 'octo/later'", "http://127.0.0.1:9")
    sha = one.commit("later")
    one.deliver("push", push_of(one))
    arrival = wait_for(lambda: next((each for each in one.arrivals() if each["tries"]), None))
    assert arrival["state"] == "waiting" and "connect" in arrival["reason"]
    wait_for(lambda: any(words in one.state["error"] for words in (arrival["reason"], "polling")))
    execute(house, "UPDATE upstream SET base_url = ? WHERE name = 'octo/later'", forge.url)
    wait_for(lambda: head(one, "refs/heads/main") == sha)
    wait_for(lambda: one.state["error"] == "")


def test_who_may_not_push_any_more_brings_nothing(house: Service, forge: Forge) -> None:
    token = house.add_user("carol")
    one = follow(house, forge, "left", PROGRAM)
    wait_for(lambda: head(one, "refs/heads/main"))
    assert token
    execute(house, "UPDATE upstream SET user_id = (SELECT id FROM user WHERE name = 'carol')")
    one.commit("more")
    one.deliver("push", push_of(one))
    assert "carol, who has connected it, may not push to alice/left any more" in refused(one)
    execute(house, "UPDATE upstream SET user_id = 1")


def test_a_newer_commit_ends_what_older_ones_run(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "superseded", LONG)
    first = one.tree.git("rev-parse", "HEAD")
    old = wait_for(lambda: runs_of_known(one, first))[0]
    wait_for(lambda: house.api(f"/runs/{old['id']}")["state"] == "running")
    second = one.commit("newer")
    one.deliver("push", push_of(one))
    ended = wait_for(lambda: (run := house.api(f"/runs/{old['id']}"))["state"] == "cancelled" and run)
    assert ended["reason"] == f"cancelled by the newer commit {second[:7]}"
    new = wait_for(lambda: runs_of_known(one, second))[0]
    assert house.api(f"/runs/{new['id']}")["state"] in ("queued", "starting", "running")
    third = house.push(
        one.tree.write({"more": "x"}), repo=one.here, refs=("HEAD:main",)
    )  # nothing new by git
    assert third.code == 0
    with house.client() as client:
        client.post(f"/api/v1/runs/{new['id']}/cancel")


def test_somebody_asks_for_it_now(house: Service, forge: Forge) -> None:
    one = follow(house, forge, "asked", PROGRAM)
    wait_for(lambda: head(one, "refs/heads/main"))
    one.tree.git("tag", "v3")
    one.push("v3")
    with house.client() as client:
        address = f"/api/v1/repos/{one.here}/upstream/fetch"
        answer = client.post(address, json={"tag": "v3"})
        assert answer.status_code == 202 and answer.json()["ref"] == "refs/tags/v3"
        wait_for(lambda: head(one, "refs/tags/v3"))
        assert client.post(address, json={}).json()["ref"] == ""
        wait_for(lambda: one.arrivals()[0]["state"] == "unchanged")
        assert client.post(address, json={"branch": "--evil"}).status_code == 400
        assert client.post("/api/v1/repos/alice/nothing/upstream/fetch", json={}).status_code == 404


def test_gitea_and_gitlab_are_followed_as_well(house: Service, forge: Forge) -> None:
    for kind, event, name in (
        ("gitea", "push", "repository__full_name"),
        ("gitlab", "Push Hook", "project__path_with_namespace"),
    ):
        one = follow(house, forge, f"of-{kind}", PROGRAM, kind=kind)
        sha = one.commit("more", "HEAD:refs/heads/told")
        payload = shape(f"{kind}.push", ref="refs/heads/told", after=sha, **{name: one.name})
        assert one.deliver(event, payload).status_code == 202
        assert run_of(one, sha)["why"] in (
            f"pushed by mona ({one.name})",
            f"found on {one.name} by polling",
        )
