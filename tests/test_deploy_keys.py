"""Repositories elsewhere that are fetched over SSH with a deploy key: from a server that speaks real SSH, and
beside it the forge's API. Every fetch here is one over SSH: there is no other way to that server."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import pytest

from tests.access_tools import ask, browsing, execute, open_house
from tests.files import found_in
from tests.forge import Delivery, at_rest, deliver, shape
from tests.leftovers import the_process
from tests.person import Person, signed_in
from tests.programs import command_lines, shell
from tests.service import Service, WorkTree, wait_for
from tests.ssh import QUIET
from tests.ssh_forge import SshForge, fill, ssh_forge
from tests.stand_in_forge import Forge, There, forging

TOKEN = "github_pat_never-shown-again"
NAME = "Octo/Pi"
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {"HERMES_TRUST": "all", "HERMES_CALLBACK_NETWORKS": "127.0.0.1/32,::1", "HERMES_POLL": "1s"}
    more = {"HERMES_UPSTREAM_POLL": "1s", "HERMES_PUSH_SIZE": "1M"}
    for one in open_house(tmp_path_factory.mktemp("house"), **env, **more):
        yield one
        at_rest(one)


@pytest.fixture
def alice(house: Service, tmp_path: Path) -> Person:
    return signed_in(house, tmp_path / "alice")


@dataclass
class Elsewhere:
    """A repository at a forge, by its API and by SSH, who works there, and who follows it here."""

    house: Service
    api: Forge
    there: There
    ssh: SshForge
    tree: WorkTree

    def push(self, message: str = "work", ref: str = "main") -> str:
        """Somebody commits and pushes there; returns the commit."""
        sha = self.tree.commit(message)
        self.tree.git("push", "-q", "origin", f"HEAD:{ref}")
        return sha

    def put(self, ours: str, **body: Any) -> httpx.Response:
        """It is asked to be followed, with a deploy key."""
        wish = {"name": NAME, "url": self.api.url, "token": TOKEN, "deploy_key": True} | body
        with self.house.client() as client:
            return client.put(f"/api/v1/repos/alice/{ours}/upstream", json=wish)

    def connect(self, ours: str, **body: Any) -> Answer:
        """It is followed."""
        answer = self.put(ours, **body)
        assert answer.status_code == 200, answer.text
        found: Answer = answer.json()
        return found

    def followed(self, ours: str) -> Answer:
        """And its first commit is here."""
        done = self.connect(ours)
        came(self.house, ours, self.tree.git("rev-parse", "HEAD"))
        return done

    @property
    def keys(self) -> list[str]:
        """The deploy keys there."""
        return [each["key"] for each in self.there.keys]


@pytest.fixture
def pi(house: Service, tmp_path: Path) -> Iterator[Elsewhere]:
    with forging() as api:
        api.tokens[TOKEN] = None
        there = api.add(NAME)
        with ssh_forge(tmp_path / "there", there) as ssh:
            api.ssh = ssh.address
            yield Elsewhere(house, api, there, ssh, fill(ssh, NAME, QUIET, tmp_path / "tree"))
            execute(house, "DELETE FROM upstream")  # nobody asks a server that is no more


def state(house: Service, ours: str) -> Answer:
    found: Answer = house.api(f"/repos/alice/{ours}/upstream")
    return found


def came(house: Service, ours: str, sha: str, branch: str = "main") -> None:
    """When a branch here is that commit."""

    def look() -> bool:
        with house.client() as client:
            auth = (house.user, house.token)
            answer = client.get(f"/alice/{ours}.git/info/refs?service=git-upload-pack", auth=auth)
        return f"{sha} refs/heads/{branch}" in answer.text

    wait_for(look)


def error(house: Service, ours: str, words: str) -> str:
    """Why it is not fetched, when that is said."""

    def look() -> str | None:
        found: str = state(house, ours)["error"]
        return found if words in found else None

    return wait_for(look)


def tell(pi: Elsewhere, ref: str, sha: str) -> None:
    """Its webhook is sent."""
    secret = pi.there.hooks[0]["config"]["secret"]
    payload = shape("github.push", ref=ref, after=sha, repository__full_name=NAME)
    assert deliver(pi.house, Delivery("github", "push", payload, secret)).status_code == 202


def no_private_key_shows(house: Service) -> None:
    """On the disk of the service there is only the one of its own SSH server; nor has it said any."""
    shown = [Path(each).name for each in found_in(house.data, ["PRIVATE KEY"])]
    assert shown == ["ssh_host_ed25519_key"] and "PRIVATE KEY" not in house.log


def test_one_command_makes_a_key_and_all_is_fetched_over_ssh(
    house: Service, alice: Person, pi: Elsewhere
) -> None:
    sha = pi.tree.write(shell("echo hello")).commit("runs")
    pi.tree.git("push", "-q", "origin", "HEAD:main")
    words = ("github", "connect", NAME.lower(), "--url", pi.api.url, "--repo", "alice/made", "--deploy-key")
    said = alice.ok(*words, "--token-file", "-", stdin=TOKEN.encode())
    (key,) = pi.there.keys
    assert key["read_only"] is True and key["title"].startswith("Hermes: alice/made at http")
    assert key["key"].startswith("ssh-ed25519 ") and f"its deploy key is made: {key['key']}" in said
    assert f"fetched over SSH from {pi.ssh.address} with a deploy key" in said
    seen = "its host key is kept as it is first seen; is it the one that its operator names?: "
    assert seen + pi.ssh.fingerprint in said and "its webhook is made" in said
    came(house, "made", sha)
    runs = wait_for(lambda: house.api(f"/repos/alice/made/commits/{sha}")["runs"])
    assert runs[0]["why"] == f"found on {NAME} by polling"
    wait_for(lambda: "success" in pi.there.states(sha))  # by the token
    (asked, *_) = pi.ssh.asked
    assert asked.command == f"git-upload-pack '/{NAME}.git'" and asked.user == "git"
    assert asked.env == {"GIT_PROTOCOL": "version=2"}
    no_private_key_shows(house)
    shown = state(house, "made")
    assert shown["ssh"] == pi.ssh.address and shown["host_keys"] == [pi.ssh.fingerprint]
    assert shown["public_key"].startswith(key["key"]) and "PRIVATE" not in json.dumps(shown)
    assert "fetched over SSH from" in alice.ok("github", "status", "alice/made")
    query = "SELECT detail FROM audit WHERE act = 'upstream connected' AND subject = 'alice/made'"
    ((detail,),) = ask(house, query)
    how = f"over SSH from {pi.ssh.address}, host key first seen: {pi.ssh.fingerprint}"
    assert detail == f"{pi.api.url}/{NAME} {how}"
    said = alice.ok("github", "disconnect", "alice/made")
    assert "its webhook is removed at GitHub; its deploy key is removed at GitHub" in said
    assert not pi.there.keys and not pi.there.hooks
    number = house.api("/repos/alice/made")["id"]
    assert not ask(house, "SELECT name FROM sealed WHERE name LIKE ?", f"upstream {number} %")


def test_asked_for_again_the_key_stays(house: Service, pi: Elsewhere) -> None:
    assert pi.connect("again")["deploy_key"] == "made"
    first = pi.keys
    again = pi.connect("again", token=None, deploy_key=None)  # as it is
    assert (again["deploy_key"], again["host_key"]) == ("there", "known") and pi.keys == first
    pi.there.keys[0]["read_only"] = False  # somebody has let it write
    assert pi.connect("again")["deploy_key"] == "made"
    assert pi.keys == first and pi.there.keys[0]["read_only"] is True
    pi.connect("other")
    assert len(set(pi.keys)) == 2  # each of ours has its own
    number = house.api("/repos/alice/again")["id"]
    assert ask(house, "SELECT name FROM sealed WHERE name = ?", f"upstream {number} deploy key")


def test_a_webhook_and_polling_bring_what_is_new(house: Service, pi: Elsewhere) -> None:
    pi.followed("told")
    sha = pi.push("told", "told")
    tell(pi, "refs/heads/told", sha)
    came(house, "told", sha, "told")
    came(house, "told", pi.push("found"))


@pytest.mark.parametrize(
    ("kind", "words", "field"),
    [
        ("github", "/settings/keys/new and add a deploy key.", "Key"),
        ("gitea", "/settings/keys and add a deploy key.", "Content"),
        ("gitlab", "/-/settings/repository#js-deploy-keys-settings and add a deploy key.", "Key"),
    ],
)
def test_by_hand_without_any_token(
    house: Service, alice: Person, pi: Elsewhere, kind: str, words: str, field: str
) -> None:
    ours = f"hand-{kind}"
    more = ("--deploy-key", "--by-hand", "--kind", kind, "--ssh", pi.ssh.address, "--repo", f"alice/{ours}")
    said = alice.ok("github", "connect", NAME, "--url", pi.api.url, *more)
    assert f"Open {pi.api.url}/{NAME}{words}" in said and "there is no token: nothing is reported" in said
    (shown,) = re.findall(rf"{field}: (ssh-ed25519 \S+)", said)
    assert "its deploy key is to be added by hand" in said and "leave it off" in said
    assert not pi.there.keys and not pi.api.calls
    assert "it does not take our deploy key" in error(house, ours, "deploy key")
    pi.there.keys.append({"id": 1, "key": shown})  # somebody pastes it
    came(house, ours, pi.tree.git("rev-parse", "HEAD"))
    wait_for(lambda: state(house, ours)["error"] == "")
    with house.client() as client:
        gone = client.delete(f"/api/v1/repos/alice/{ours}/upstream").json()
    assert gone["deploy_key"] == f"remove the deploy key in the settings of {pi.api.url}/{NAME}"


@pytest.mark.parametrize(
    ("kind", "path", "only_reads"),
    [
        ("gitea", "/api/v1/repos/Octo/Pi/keys", ("read_only", True)),
        ("gitlab", "/api/v4/projects/Octo%2FPi/deploy_keys", ("can_push", False)),
    ],
)
def test_gitea_and_gitlab_get_a_key_that_only_reads(
    house: Service, pi: Elsewhere, kind: str, path: str, only_reads: tuple[str, bool]
) -> None:
    ours = f"of-{kind}"
    assert pi.connect(ours, kind=kind)["deploy_key"] == "made"
    (call,) = pi.api.asked("POST", "keys$")
    assert call.path == path and call.body[only_reads[0]] is only_reads[1]
    assert pi.connect(ours, kind=kind)["deploy_key"] == "there"
    came(house, ours, pi.tree.git("rev-parse", "HEAD"))
    with house.client() as client:
        client.delete(f"/api/v1/repos/alice/{ours}/upstream")
    assert not pi.there.keys


def test_what_the_token_may_not_is_done_by_hand(pi: Elsewhere) -> None:
    pi.there.permissions = {"admin": False, "push": True, "pull": True}
    done = pi.connect("weak")
    assert done["deploy_key"] == "by hand" and done["has_token"]
    assert [each for each in done["lacks"] if each.startswith("the deploy key: GitHub shows this token no")]
    assert "Allow write access: leave it off." in done["steps"]


def test_back_to_https_the_key_goes(house: Service, pi: Elsewhere) -> None:
    pi.connect("back")
    assert "its deploy key is removed at GitHub" in pi.connect("back", deploy_key=False)["steps"]
    assert not pi.there.keys
    shown = state(house, "back")
    assert (shown["ssh"], shown["public_key"], shown["host_keys"]) == ("", "", [])
    number = house.api("/repos/alice/back")["id"]
    assert not ask(house, "SELECT name FROM sealed WHERE name = ?", f"upstream {number} deploy key")


def test_a_key_that_was_revoked_is_said_and_made_anew(house: Service, alice: Person, pi: Elsewhere) -> None:
    pi.followed("revoked")
    pi.there.keys.clear()
    sha = pi.push("unseen")
    tell(pi, "refs/heads/main", sha)
    said = error(house, "revoked", "it does not take our deploy key: it was removed there, or never added")
    assert "hermes github connect … --deploy-key adds it again" in said
    done = alice.hermes("github", "status", "alice/revoked")
    assert done.returncode == 1 and b"it does not take our deploy key" in done.stdout
    with browsing(house, house.token) as browser:
        assert "it does not take our deploy key" in browser.get("/alice/revoked/settings/upstream").text
    query = "SELECT detail FROM audit WHERE act = 'fetch refused' AND subject = ?"
    wait_for(lambda: any("does not take our deploy key" in row[0] for row in ask(house, query, NAME)))
    assert pi.connect("revoked")["deploy_key"] == "made"
    came(house, "revoked", sha)
    wait_for(lambda: state(house, "revoked")["error"] == "")


def test_a_repository_that_is_gone_and_comes_back(house: Service, pi: Elsewhere) -> None:
    pi.followed("gone")
    pi.there.name = "Octo/Renamed"
    error(house, "gone", "there is no such repository, or the deploy key may not read it")
    pi.there.name = NAME
    wait_for(lambda: state(house, "gone")["error"] == "")
    (pi.ssh.folder / "Octo/Pi.git").rename(pi.ssh.folder / "Octo/Away.git")
    error(house, "gone", "there is no such repository")
    (pi.ssh.folder / "Octo/Away.git").rename(pi.ssh.folder / "Octo/Pi.git")
    came(house, "gone", pi.push("back"))


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
def test_another_host_key_is_refused_until_somebody_names_it(
    house: Service, pi: Elsewhere, kind: str
) -> None:
    ours = f"host-{kind}"
    pi.followed(ours)
    old = pi.ssh.fingerprint
    pi.ssh.change_host_key(kind)
    asked = len(pi.ssh.asked)
    sha = pi.push("behind another key")
    said = error(house, ours, "has changed")
    new = pi.ssh.fingerprint
    assert f"the host key of localhost has changed: it shows {new}, not {old}; only if its operator" in said
    assert f"hermes github connect … --host-key {new}" in said
    pi.connect(ours)  # asking for the same again changes nothing of that
    assert state(house, ours)["host_keys"] == [old]
    other = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    wrong = pi.put(ours, host_key=other)
    assert wrong.status_code == 400 and f"shows other host keys than {other}: {new}" in wrong.text
    assert state(house, ours)["host_keys"] == [old]
    assert len(pi.ssh.asked) == asked  # nobody signs in at a server that is not known
    assert pi.connect(ours, host_key=new)["host_key"] == "confirmed"
    came(house, ours, sha)


def test_a_host_key_of_another_kind_can_be_named(house: Service, pi: Elsewhere) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa")
    pi.ssh.stop()
    pi.ssh.more_host_keys.append(rsa)
    pi.ssh.start()
    assert pi.connect("named", host_key=rsa.get_fingerprint())["host_keys"] == [rsa.get_fingerprint()]
    came(house, "named", pi.tree.git("rev-parse", "HEAD"))  # the other kind that it has is no surprise


def tried(house: Service, ours: str) -> Answer:
    """An arrival that waits for its next try."""

    def look() -> Answer | None:
        return next((each for each in state(house, ours)["arrivals"] if each["tries"]), None)

    return wait_for(look)


def test_a_server_that_is_away_is_tried_again(house: Service, pi: Elsewhere) -> None:
    pi.followed("away")
    pi.ssh.stop()
    sha = pi.push("meanwhile")
    tell(pi, "refs/heads/main", sha)
    arrival, words = tried(house, "away"), f"the SSH port of localhost ({pi.ssh.port}) is closed: "
    assert (arrival["state"], arrival["reason"]) == ("waiting", f"{words}connection refused")
    error(house, "away", words)
    pi.ssh.start()
    came(house, "away", sha)
    wait_for(lambda: state(house, "away")["error"] == "")


def test_a_connection_that_breaks_off_leaves_nothing(house: Service, pi: Elsewhere) -> None:
    pi.followed("broken")
    pi.tree.write({"data": os.urandom(300_000)})
    pi.ssh.cut_after = 100_000
    sha = pi.push("large")
    assert tried(house, "broken")["reason"]
    pi.ssh.cut_after = 0
    came(house, "broken", sha)
    wait_for(lambda: not list((house.data / "spool" / "fetches").glob("*")))


def test_slow_and_silent_servers_are_left(house: Service, pi: Elsewhere) -> None:
    pi.followed("slow")
    pi.ssh.drip_s = 1.0
    sha = pi.push("slowly")
    during = wait_for(lambda: [line for line in command_lines().values() if "fd::" in line])
    assert not [line for line in during if "PRIVATE" in line or "ssh-ed25519" in line]
    assert re.search(r"it is too slow: \d+ bytes in 30 s", error(house, "slow", "too slow"))
    pi.ssh.drip_s = 0.0
    pi.ssh.stop()
    pi.ssh.silent = True
    pi.ssh.start()
    error(house, "slow", f"{pi.ssh.address} does not answer as an SSH server does within 20 s")
    pi.ssh.stop()
    pi.ssh.silent = False
    pi.ssh.start()
    came(house, "slow", sha)


def test_what_is_too_large_is_said(house: Service, pi: Elsewhere) -> None:
    pi.followed("large")
    pi.tree.write({"data": os.urandom(3 << 20)})
    pi.push("large")
    assert "HERMES_PUSH_SIZE" in error(house, "large", "more than 1.0 MiB")


def test_an_address_inside_is_not_connected_to(house: Service, pi: Elsewhere) -> None:
    inside = f"git@127.0.0.2:{pi.ssh.port}"
    with pi.ssh.listening_at("127.0.0.2"):
        refused = pi.put("inside", ssh=inside)
        assert refused.status_code == 400 and "127.0.0.2 is not on the public internet" in refused.text
        assert "the operator can allow" in refused.text and not pi.ssh.logins
        pi.followed("inside")
        execute(house, "UPDATE upstream SET ssh = ? WHERE ssh = ?", inside, pi.ssh.address)
        error(house, "inside", "127.0.0.2 is not on the public internet")  # a look of before is over
        asked = len(pi.ssh.asked)
        pi.push("not seen")
        for _ in range(2):  # the first one may have begun before
            before = looked_at(house, inside)
            wait_for(lambda: looked_at(house, inside) > before)  # noqa: B023
        assert len(pi.ssh.asked) == asked


def looked_at(house: Service, address: str) -> float:
    """When it was, last; of who is followed at this address."""
    ((at,),) = ask(house, "SELECT polled_at FROM upstream WHERE ssh = ?", address)
    return float(at)


def closed(pi: Elsewhere) -> Answer:
    pi.ssh.stop()
    return {}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (closed, "is closed: connection refused"),
        (lambda _: {"ssh": "no host"}, "'no host' is no address of an SSH server"),
        (lambda _: {"ssh": "forge.invalid"}, "forge.invalid is not known"),
        (lambda _: {"host_key": "MD5:aa"}, "'MD5:aa' is no fingerprint of a host key"),
        (lambda _: {"deploy_key": False, "ssh": "localhost"}, "ask for a deploy key, too"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_has_changed(
    house: Service, pi: Elsewhere, more: Callable[[Elsewhere], Answer], words: str
) -> None:
    answer = pi.put("wrong", **more(pi))
    assert answer.status_code == 400 and words in " ".join(answer.json()["error"].values())
    assert answer.json()["error"]["hint"]
    assert not pi.there.keys and not pi.there.hooks
    with house.client() as client:
        assert client.get("/api/v1/repos/alice/wrong").status_code == 404


def test_the_page_does_the_same(house: Service, pi: Elsewhere) -> None:
    pi.connect("by-page", deploy_key=False)
    address = "/alice/by-page/settings/upstream"
    with browsing(house, house.token) as client:
        form = {"do": "connect", "name": NAME, "kind": "github", "url": pi.api.url, "token": TOKEN}
        wrong = client.post(address, data=form | {"deploy_key": "on", "ssh": "127.0.0.2"})
        assert wrong.status_code == 400 and "not on the public internet" in wrong.text
        assert 'value="127.0.0.2"' in wrong.text and not pi.there.keys
        made = client.post(address, data=form | {"deploy_key": "on"})
        assert made.status_code == 200 and pi.ssh.fingerprint in made.text
        assert pi.keys[0] in made.text and "seen for the first time" in made.text
        assert "PRIVATE" not in made.text and TOKEN not in made.text
        came(house, "by-page", pi.tree.git("rev-parse", "HEAD"))
        gone = client.post(address, data={"do": "disconnect"})
        assert "its deploy key is removed at GitHub" in gone.text and not pi.there.keys


def test_a_kill_amid_a_fetch_leaves_no_key_and_loses_nothing(house: Service, pi: Elsewhere) -> None:
    pi.followed("killed")
    pi.ssh.drip_s = 0.2
    sha = pi.push("in the midst")
    wait_for(lambda: [line for line in command_lines().values() if "fd::" in line])
    os.kill(the_process(house, "hermes web"), signal.SIGKILL)  # it is started again
    pi.ssh.drip_s = 0.0
    no_private_key_shows(house)
    wait_for(house.answers)
    came(house, "killed", sha)
    wait_for(lambda: not list((house.data / "spool" / "fetches").glob("*")))
