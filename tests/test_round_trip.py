"""From a commit there to its state there, with nothing in between but what people set up: one command."""

import subprocess
from collections.abc import Iterator

import httpx
import pytest

from hermes.git import git_env
from tests.access_tools import open_house
from tests.forge import Delivery, Json, deliver, now, shape
from tests.forge import open_forge as open_git
from tests.person import signed_in
from tests.programs import shell
from tests.service import Service, WorkTree, wait_for
from tests.stand_in_forge import Forge, There, forging

REPORTS = "[report]\ncomment = true\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"HERMES_CALLBACK_NETWORKS": "127.0.0.0/8,::1", "HERMES_UPSTREAM_POLL": "0"}
    yield from open_house(tmp_path_factory.mktemp("house"), **settings, HERMES_POLL="1s")


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """With git behind the same address."""
    with open_git(tmp_path_factory.mktemp("forge")) as git, forging() as one:
        one.git_url = git.url
        bare = git.folder / "octo" / "pi.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True, env=git_env())
        one.add("octo/pi").pulls[7] = {"base": {"ref": "main", "sha": ""}}
        one.folder = bare
        yield one


@pytest.fixture(scope="module")
def there(forge: Forge) -> There:
    return forge.there["octo/pi"]


@pytest.fixture(scope="module")
def tree(house: Service, forge: Forge, there: There, tmp_path_factory: pytest.TempPathFactory) -> WorkTree:
    """Somebody's clone of what is there; alice has connected it by one command."""
    found = house.worktree(shell("echo ::metric speed=80 GB/s", REPORTS), "pi")
    push(found, forge)
    alice = signed_in(house, tmp_path_factory.mktemp("alice"))
    words = ("github", "connect", "octo/pi", "--url", forge.url, "--token-file", "-")
    alice.ok(*words, stdin=b"good")
    return found


def push(tree: WorkTree, forge: Forge, ref: str = "refs/heads/main") -> str:
    tree.git("push", "-q", "--force", str(forge.folder), f"HEAD:{ref}")
    return tree.git("rev-parse", "HEAD")


def tell(house: Service, there: There, event: str, payload: Json) -> httpx.Response:
    """As the forge does, with the secret that the command has left there."""
    config = there.hooks[0]["config"]
    path = config["url"].partition("/webhooks/github")[2]
    return deliver(house, Delivery("github", event, payload, config["secret"]), path=path)


def last(there: There, sha: str, state: str) -> Json:
    wait_for(lambda: state in there.states(sha))
    return there.last(sha)


def of_pull(sha: str, fork: str = "octo/pi") -> Json:
    payload = shape("github.pull_request.opened", action="synchronize", repository__full_name="octo/pi")
    payload["number"] = payload["pull_request"]["number"] = 7
    payload["pull_request"]["head"] |= {"sha": sha}
    payload["pull_request"]["head"]["repo"]["full_name"] = fork
    payload["pull_request"]["updated_at"] = now()
    return payload


def test_what_was_there_before_is_fetched_at_once_and_told_of(tree: WorkTree, there: There) -> None:
    sha = tree.git("rev-parse", "HEAD")
    assert "speed 80 GB/s" in last(there, sha, "success")["description"]


def test_a_push_there_has_its_state_there(house: Service, tree: WorkTree, there: There, forge: Forge) -> None:
    tree.write({"main.sh": "exit 3"}).commit("bad")
    sha = push(tree, forge)
    payload = shape("github.push", ref="refs/heads/main", after=sha, repository__full_name="octo/pi")
    assert tell(house, there, "push", payload).status_code == 202
    assert last(there, sha, "failure")["description"].startswith("failed: exit code 3")
    assert there.last(sha)["target_url"] == f"http://localhost:{house.port}/alice/pi/commit/{sha}"


def test_a_commit_that_is_refused_says_why_there(
    house: Service, tree: WorkTree, there: There, forge: Forge
) -> None:
    tree.write({"hermes.toml": 'handler = "sh main.sh"\n[run]\ntimout = 3\n'}).commit("a mistake")
    sha = push(tree, forge)
    payload = shape("github.push", ref="refs/heads/main", after=sha, repository__full_name="octo/pi")
    assert tell(house, there, "push", payload).status_code == 202
    assert "hermes.toml:3:1" in last(there, sha, "failure")["description"]


def test_a_strangers_pull_request_waits_and_then_gets_its_comment(
    house: Service, tree: WorkTree, there: There, forge: Forge
) -> None:
    there.pulls[7]["base"]["sha"] = base = tree.git("rev-list", "--max-parents=0", "HEAD")
    tree.git("checkout", "-q", base)
    tree.write({"main.sh": "echo ::metric speed=88 GB/s"}).commit("faster")
    sha = push(tree, forge, "refs/pull/7/head")
    assert tell(house, there, "pull_request", of_pull(sha, "mallory/pi")).status_code == 202
    assert "collaborator" in last(there, sha, "pending")["description"]
    payload = shape("github.issue_comment.created", repository__full_name="octo/pi")
    payload["issue"]["number"] = 7
    there.people["octo"] = (payload["sender"]["id"], "write")
    payload["comment"] |= {"created_at": now(), "body": f"/hermes run {sha[:12]}"}
    assert tell(house, there, "issue_comment", payload).status_code == 202
    assert "speed 88 GB/s" in last(there, sha, "success")["description"]
    body = wait_for(lambda: [each["body"] for each in there.comments])[0]
    assert f"{sha[:7]} | {base[:7]} on main" in body and "\\+10 %" in body


def test_a_pull_request_of_a_branch_beside_main_gets_one_too(
    house: Service, tree: WorkTree, there: There, forge: Forge
) -> None:
    there.pulls[8] = there.pulls[7]
    tree.write({"main.sh": "echo ::metric speed=40 GB/s"}).commit("slower")
    sha = push(tree, forge, "refs/heads/slower")
    payload = shape("github.push", ref="refs/heads/slower", after=sha, repository__full_name="octo/pi")
    assert tell(house, there, "push", payload).status_code == 202
    assert "speed 40 GB/s" in last(there, sha, "success")["description"]
    payload = of_pull(sha) | {"number": 8}  # told of when all is over
    payload["pull_request"] |= {"number": 8}
    payload["pull_request"]["head"]["ref"] = "slower"
    assert tell(house, there, "pull_request", payload).status_code == 202
    body = wait_for(lambda: [each["body"] for each in there.comments if each["of"] == "8"])[0]
    assert f"of {sha[:7]}: succeeded in" in body and "−50 %" in body
