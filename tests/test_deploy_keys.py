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
import pytest

from tests.access_tools import ask, browsing, execute, open_house
from tests.forge import Delivery, at_rest, deliver, shape
from tests.leftovers import the_process
from tests.person import Person, signed_in
from tests.programs import command_lines, shell
from tests.service import Service, WorkTree, wait_for
from tests.ssh_forge import SshForge, fill, ssh_forge
from tests.stand_in_forge import Forge, There, forging

TOKEN = "github_pat_never-shown-again"
PROGRAM = shell("echo hello")
NAME = "Octo/Pi"


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
    """A repository at a forge, by its API and by SSH, and who works there."""

    api: Forge
    there: There
    ssh: SshForge
    tree: WorkTree

    def push(self, message: str = "work", ref: str = "main") -> str:
        """Somebody commits and pushes there; returns the commit."""
        sha = self.tree.commit(message)
        self.tree.git("push", "-q", "origin", f"HEAD:{ref}")
        return sha

    @property
    def sha(self) -> str:
        """Of the last commit."""
        return self.tree.git("rev-parse", "HEAD")


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Elsewhere]:
    with forging() as api:
        api.tokens[TOKEN] = None
        there = api.add(NAME)
        with ssh_forge(tmp_path / "there", there) as ssh:
            api.ssh = ssh.address
            yield Elsewhere(api, there, ssh, fill(ssh, NAME, PROGRAM, tmp_path / "tree"))


def connect(alice: Person, pi: Elsewhere, ours: str, *more: str, token: str = TOKEN) -> str:
    """It goes well, with a deploy key."""
    words = ("github", "connect", NAME.lower(), "--url", pi.api.url, "--repo", f"alice/{ours}", *more)
    words = words if "--no-deploy-key" in more else (*words, "--deploy-key")
    return alice.ok(*words, *(("--token-file", "-") if token else ()), stdin=token.encode() or None)


def fails(alice: Person, pi: Elsewhere, ours: str, *more: str) -> str:
    """What is said; nothing has changed."""
    words = ("github", "connect", NAME, "--url", pi.api.url, "--repo", f"alice/{ours}", "--deploy-key")
    done = alice.hermes(*words, *more, "--token-file", "-", stdin=TOKEN.encode())
    assert done.returncode == 1 and not done.stdout, done
    said = done.stderr.decode()
    assert "Traceback" not in said and TOKEN not in said
    return said


def state(house: Service, ours: str) -> dict[str, Any]:
    found: dict[str, Any] = house.api(f"/repos/alice/{ours}/upstream")
    return found


def came(house: Service, ours: str, sha: str) -> dict[str, Any]:
    """The run of a commit, when there is one."""

    def look() -> dict[str, Any] | None:
        with house.client() as client:
            answer = client.get(f"/api/v1/repos/alice/{ours}/commits/{sha}")
        runs: list[dict[str, Any]] = answer.json()["runs"] if answer.status_code == 200 else []
        return runs[0] if runs else None

    return wait_for(look)


def error(house: Service, ours: str, words: str) -> str:
    """Why it is not fetched, when that is said."""

    def look() -> str | None:
        found: str = state(house, ours)["error"]
        return found if words in found else None

    return wait_for(look)


def public_keys(there: There) -> list[str]:
    return [each["key"] for each in there.keys]


def files_kept(house: Service) -> bytes:
    """All that is on the disk of the service, and what it has said."""
    found = [path.read_bytes() for path in house.data.rglob("*") if path.is_file() and not path.is_symlink()]
    return b"".join(found) + house.log.encode()


def no_private_key_shows(house: Service) -> None:
    """The one of its own SSH server is there, by its name."""
    own = (house.data / "ssh_host_ed25519_key").read_bytes()
    assert files_kept(house).count(b"PRIVATE KEY") == own.count(b"PRIVATE KEY")


def test_one_command_makes_a_key_and_all_is_fetched_over_ssh(
    house: Service, alice: Person, pi: Elsewhere
) -> None:
    said = connect(alice, pi, "made")
    (key,) = pi.there.keys
    assert key["read_only"] is True and key["title"].startswith("Hermes: alice/made at http")
    assert key["key"].startswith("ssh-ed25519 ") and f"its deploy key is made: {key['key']}" in said
    assert f"fetched over SSH from {pi.ssh.address} with a deploy key" in said
    assert "its host key is kept as it is first seen; is it the one that its operator names?: " in said
    assert pi.ssh.fingerprint in said and "its webhook is made" in said
    assert came(house, "made", pi.sha)["why"] == f"{NAME} connected by alice"
    (asked, *_) = pi.ssh.asked
    assert asked.command == f"git-upload-pack '/{NAME}.git'" and asked.user == "git"
    assert asked.env == {"GIT_PROTOCOL": "version=2"}
    no_private_key_shows(house)
    shown = state(house, "made")
    assert shown["ssh"] == pi.ssh.address and shown["host_keys"] == [pi.ssh.fingerprint]
    assert shown["public_key"].startswith(key["key"]) and "PRIVATE" not in json.dumps(shown)
    assert "fetched over SSH from" in alice.ok("github", "status", "alice/made")
    (line,) = ask(
        house, "SELECT detail FROM audit WHERE act = 'upstream connected' AND subject = 'alice/made'"
    )
    words = f"over SSH from {pi.ssh.address}, host key first seen: {pi.ssh.fingerprint}"
    assert line[0] == f"{pi.api.url}/{NAME} {words}"


def test_asked_for_again_the_key_stays_and_disconnect_takes_it_away(
    house: Service, alice: Person, pi: Elsewhere
) -> None:
    connect(alice, pi, "again")
    first = public_keys(pi.there)
    said = connect(alice, pi, "again", token="")  # with the token that is there
    assert f"its deploy key is there: {first[0]}" in said
    assert f"its host key stays the one that is known: {pi.ssh.fingerprint}" in said
    pi.there.keys[0]["read_only"] = False  # somebody has let it write
    assert "its deploy key is made" in connect(alice, pi, "again")
    assert public_keys(pi.there) == first and pi.there.keys[0]["read_only"] is True
    assert ask(house, "SELECT name FROM sealed WHERE name LIKE 'upstream % deploy key'")
    said = alice.ok("github", "disconnect", "alice/again")
    assert "its webhook is removed at GitHub; its deploy key is removed at GitHub" in said
    assert not pi.there.keys and not pi.there.hooks
    number = house.api("/repos/alice/again")["id"]
    assert not ask(house, "SELECT name FROM sealed WHERE name LIKE ?", f"upstream {number} %")


def test_a_webhook_and_polling_bring_what_is_new(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "told")
    came(house, "told", pi.sha)
    sha = pi.push("told", "told")
    secret = pi.there.hooks[0]["config"]["secret"]
    payload = shape("github.push", ref="refs/heads/told", after=sha, repository__full_name=NAME)
    assert deliver(house, Delivery("github", "push", payload, secret)).status_code == 202
    assert came(house, "told", sha)
    sha = pi.push("found")
    assert came(house, "told", sha)["why"] == f"found on {NAME} by polling"
    assert wait_for(lambda: house.api("/repos/alice/told")["default_branch"]) == "main"
    assert wait_for(lambda: [each for each in pi.there.statuses if each["sha"] == sha])  # by the token


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
    more = ("--by-hand", "--kind", kind, "--ssh", pi.ssh.address)
    said = connect(alice, pi, ours, *more, token="")
    assert (
        f"Open {pi.api.url}/octo/pi{words}" in said and "there is no token: nothing is reported back" in said
    )
    (shown,) = re.findall(rf"{field}: (ssh-ed25519 \S+)", said)
    assert "its deploy key is to be added by hand" in said and "rite " in said and "leave it off" in said
    assert not pi.there.keys and not pi.api.calls
    assert "it does not take our deploy key" in error(house, ours, "deploy key")
    execute(house, "UPDATE upstream SET name = ? WHERE name = 'octo/pi'", NAME)  # its folder has capitals
    pi.there.keys.append({"id": 1, "key": shown})  # somebody pastes it
    assert came(house, ours, pi.sha)
    wait_for(lambda: state(house, ours)["error"] == "")
    said = alice.ok("github", "disconnect", f"alice/{ours}")
    assert f"remove the deploy key in the settings of {pi.api.url}/{NAME}" in said


@pytest.mark.parametrize(
    ("kind", "path", "only_reads"),
    [
        ("gitea", "/api/v1/repos/Octo/Pi/keys", ("read_only", True)),
        ("gitlab", "/api/v4/projects/Octo%2FPi/deploy_keys", ("can_push", False)),
    ],
)
def test_gitea_and_gitlab_get_a_key_that_only_reads(
    house: Service, alice: Person, pi: Elsewhere, kind: str, path: str, only_reads: tuple[str, bool]
) -> None:
    ours = f"of-{kind}"
    assert "its deploy key is made" in connect(alice, pi, ours, "--kind", kind)
    (call,) = pi.api.asked("POST", "keys$")
    assert call.path == path and call.body[only_reads[0]] is only_reads[1]
    assert "its deploy key is there" in connect(alice, pi, ours, "--kind", kind)
    assert came(house, ours, pi.sha)
    alice.ok("github", "disconnect", f"alice/{ours}")
    assert not pi.there.keys


def test_what_the_token_may_not_is_done_by_hand(house: Service, alice: Person, pi: Elsewhere) -> None:
    pi.there.permissions = {"admin": False, "push": True, "pull": True}
    words = ("github", "connect", NAME, "--url", pi.api.url, "--repo", "alice/weak", "--deploy-key")
    done = alice.hermes(*words, "--token-file", "-", stdin=TOKEN.encode())
    assert done.returncode == 0 and b"missing: the deploy key: " in done.stderr
    assert b"its deploy key is to be added by hand" in done.stdout and b"Allow write access" in done.stdout
    assert state(house, "weak")["has_token"]


def test_back_to_https_the_key_goes(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "back")
    assert len(pi.there.keys) == 1
    connect(alice, pi, "back", "--by-hand")  # nothing is made there, and what is there stays
    assert len(pi.there.keys) == 1
    said = connect(alice, pi, "back", "--no-deploy-key")
    assert "its deploy key is removed at GitHub" in said and not pi.there.keys
    shown = state(house, "back")
    assert (shown["ssh"], shown["public_key"], shown["host_keys"]) == ("", "", [])
    number = house.api("/repos/alice/back")["id"]
    assert not ask(house, "SELECT name FROM sealed WHERE name = ?", f"upstream {number} deploy key")


def test_a_key_that_was_revoked_is_said_and_made_anew(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "revoked")
    came(house, "revoked", pi.sha)
    secret = pi.there.hooks[0]["config"]["secret"]
    pi.there.keys.clear()
    sha = pi.push("unseen")
    payload = shape("github.push", ref="refs/heads/main", after=sha, repository__full_name=NAME)
    assert deliver(house, Delivery("github", "push", payload, secret)).status_code == 202
    said = error(house, "revoked", "it does not take our deploy key: it was removed there, or never added")
    assert "hermes github connect … --deploy-key adds it again" in said
    done = alice.hermes("github", "status", "alice/revoked")
    assert done.returncode == 1 and b"it does not take our deploy key" in done.stdout
    with browsing(house, house.token) as browser:
        assert "it does not take our deploy key" in browser.get("/alice/revoked/settings/upstream").text
    query = "SELECT detail FROM audit WHERE act = 'fetch refused' AND subject = ?"
    wait_for(lambda: any("does not take our deploy key" in row[0] for row in ask(house, query, NAME)))
    assert "its deploy key is made" in connect(alice, pi, "revoked", token="")
    assert came(house, "revoked", sha)
    wait_for(lambda: state(house, "revoked")["error"] == "")


def test_a_repository_that_is_gone_and_comes_back(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "gone")
    came(house, "gone", pi.sha)
    pi.there.name = "Octo/Renamed"
    assert "there is no such repository, or the deploy key may not read it" in error(house, "gone", "no such")
    pi.there.name = NAME
    (pi.ssh.folder / "Octo/Pi.git").rename(pi.ssh.folder / "Octo/Away.git")
    assert "there is no such repository" in error(house, "gone", "no such")
    (pi.ssh.folder / "Octo/Away.git").rename(pi.ssh.folder / "Octo/Pi.git")
    sha = pi.push("back")
    assert came(house, "gone", sha)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
def test_another_host_key_is_refused_until_somebody_names_it(
    house: Service, alice: Person, pi: Elsewhere, kind: str
) -> None:
    ours = f"host-{kind}"
    connect(alice, pi, ours)
    came(house, ours, pi.sha)
    old, asked = pi.ssh.fingerprint, len(pi.ssh.asked)
    pi.ssh.change_host_key(kind)
    sha = pi.push("behind another key")
    said = error(house, ours, "has changed")
    new = pi.ssh.fingerprint
    assert f"the host key of localhost has changed: it shows {new}, not {old}; only if its operator" in said
    assert f"hermes github connect … --host-key {new}" in said
    asked = len(pi.ssh.asked)
    polled = state(house, ours)["polled_at"]
    wait_for(lambda: state(house, ours)["polled_at"] > polled)
    assert len(pi.ssh.asked) == asked  # nobody signs in at a server that is not known
    connect(alice, pi, ours)  # asking for the same again changes nothing of that
    assert state(house, ours)["host_keys"] == [old]
    other = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    assert f"shows other host keys than {other}: {new}" in fails(alice, pi, ours, "--host-key", other)
    assert state(house, ours)["host_keys"] == [old]
    assert "its host key is the one that you have named" in connect(alice, pi, ours, "--host-key", new)
    assert came(house, ours, sha)


def test_a_host_key_of_another_kind_can_be_named(house: Service, alice: Person, pi: Elsewhere) -> None:
    rsa = asyncssh.generate_private_key("ssh-rsa")
    pi.ssh.stop()
    pi.ssh.more_host_keys.append(rsa)
    pi.ssh.start()
    connect(alice, pi, "named", "--host-key", rsa.get_fingerprint())
    assert state(house, "named")["host_keys"] == [rsa.get_fingerprint()]
    assert came(house, "named", pi.sha)  # the better kind that it has, too, is no surprise


def test_a_server_that_is_away_is_tried_again(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "away")
    came(house, "away", pi.sha)
    pi.ssh.stop()
    sha = pi.push("meanwhile")
    words = f"the SSH port of localhost ({pi.ssh.port}) is closed: connection refused"
    error(house, "away", words)
    with house.client() as client:
        client.post("/api/v1/repos/alice/away/upstream/fetch", json={"branch": "main"})

    def tried() -> dict[str, Any] | None:
        rows = [each for each in state(house, "away")["arrivals"] if each["tries"]]
        return rows[0] if rows else None

    arrival = wait_for(tried)
    assert arrival["state"] == "waiting" and arrival["reason"] == words
    pi.ssh.start()
    assert came(house, "away", sha)
    wait_for(lambda: state(house, "away")["error"] == "")


def test_a_connection_that_breaks_off_leaves_nothing(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "broken")
    came(house, "broken", pi.sha)
    pi.tree.write({"data": os.urandom(300_000)})
    pi.ssh.cut_after = 100_000
    sha = pi.push("large")
    wait_for(lambda: [each for each in state(house, "broken")["arrivals"] if each["tries"]])
    (arrival, *_) = [each for each in state(house, "broken")["arrivals"] if each["tries"]]
    assert arrival["state"] == "waiting" and arrival["reason"]
    pi.ssh.cut_after = 0
    assert came(house, "broken", sha)
    wait_for(lambda: not list((house.data / "spool" / "fetches").glob("*")))


def test_slow_and_silent_servers_are_left(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "slow")
    came(house, "slow", pi.sha)
    pi.ssh.drip_s = 1.0
    sha = pi.push("slowly")
    during = wait_for(lambda: [line for line in command_lines().values() if "fd::" in line])
    assert not [line for line in during if "PRIVATE" in line or "ssh-ed25519" in line]
    assert re.search(r"it is too slow: \d+ bytes in 30 s", error(house, "slow", "too slow"))
    pi.ssh.drip_s = 0.0
    pi.ssh.stop()
    pi.ssh.silent = True
    pi.ssh.start()
    said = error(house, "slow", "does not answer as an SSH server does")
    assert f"{pi.ssh.address} does not answer as an SSH server does within 20 s" in said
    pi.ssh.stop()
    pi.ssh.silent = False
    pi.ssh.start()
    assert came(house, "slow", sha)


def test_what_is_too_large_is_said(house: Service, alice: Person, pi: Elsewhere) -> None:
    connect(alice, pi, "large")
    came(house, "large", pi.sha)
    pi.tree.write({"data": os.urandom(3 << 20)})
    pi.push("large")
    assert "HERMES_PUSH_SIZE" in error(house, "large", "more than 1.0 MiB")


def test_an_address_inside_is_not_connected_to(house: Service, alice: Person, pi: Elsewhere) -> None:
    said = fails(alice, pi, "inside", "--ssh", f"127.0.0.2:{pi.ssh.port}")
    assert "127.0.0.2 is not on the public internet" in said and "the operator can allow" in said
    connect(alice, pi, "inside")
    came(house, "inside", pi.sha)
    pi.ssh.stop()
    logins = pi.ssh.logins
    inside = f"git@127.0.0.2:{pi.ssh.port}"  # as if its name meant that now
    execute(house, "UPDATE upstream SET ssh = ? WHERE ssh = ?", inside, pi.ssh.address)
    assert "the operator can allow its address" in error(house, "inside", "not on the public internet")
    assert pi.ssh.logins == logins


def closed(pi: Elsewhere) -> tuple[str, ...]:
    pi.ssh.stop()
    return ()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (closed, "is closed: connection refused\n  where does it answer to SSH?"),
        (lambda _: ("--ssh", "no host"), "'no host' is no address of an SSH server"),
        (lambda _: ("--ssh", "forge.invalid"), "forge.invalid is not known"),
        (lambda _: ("--host-key", "MD5:aa"), "'MD5:aa' is no fingerprint of a host key"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_has_changed(
    house: Service, alice: Person, pi: Elsewhere, more: Callable[[Elsewhere], tuple[str, ...]], words: str
) -> None:
    said = fails(alice, pi, "wrong", *more(pi))
    assert words in said, said
    assert not pi.there.keys and not pi.there.hooks
    assert house.client().get("/api/v1/repos/alice/wrong").status_code == 404


def test_an_ssh_address_is_for_a_deploy_key(alice: Person, pi: Elsewhere) -> None:
    words = ("github", "connect", NAME, "--url", pi.api.url, "--ssh", pi.ssh.address, "--token-file", "-")
    done = alice.hermes(*words, stdin=TOKEN.encode())
    assert done.returncode == 1 and b"ask for a deploy key, too" in done.stderr


def test_the_page_does_the_same(house: Service, pi: Elsewhere) -> None:
    with house.client() as client:
        assert client.put("/api/v1/repos/alice/by-page/upstream", json={"name": "octo/x"}).status_code == 200
    address = "/alice/by-page/settings/upstream"
    with browsing(house, house.token) as client:
        form = {"do": "connect", "name": NAME, "kind": "github", "url": pi.api.url, "token": TOKEN}
        wrong = client.post(address, data=form | {"deploy_key": "on", "ssh": "127.0.0.2"})
        assert wrong.status_code == 400 and "not on the public internet" in wrong.text
        assert 'value="127.0.0.2"' in wrong.text and not pi.there.keys
        made = client.post(address, data=form | {"deploy_key": "on"})
        assert made.status_code == 200 and pi.ssh.fingerprint in made.text
        assert public_keys(pi.there)[0] in made.text and "seen for the first time" in made.text
        assert "PRIVATE" not in made.text and TOKEN not in made.text
        assert came(house, "by-page", pi.sha)
        gone = client.post(address, data={"do": "disconnect"})
        assert "its deploy key is removed at GitHub" in gone.text and not pi.there.keys


def test_a_kill_in_the_midst_of_a_fetch_leaves_no_key_and_loses_nothing(
    house: Service, alice: Person, pi: Elsewhere
) -> None:
    connect(alice, pi, "killed")
    came(house, "killed", pi.sha)
    pi.ssh.drip_s = 0.2
    sha = pi.push("in the midst")
    wait_for(lambda: [line for line in command_lines().values() if "fd::" in line and "fetch" in line])
    os.kill(the_process(house, "-m hermes.serve"), signal.SIGKILL)  # it is started again
    pi.ssh.drip_s = 0.0
    no_private_key_shows(house)
    wait_for(house.answers)
    assert came(house, "killed", sha)
    wait_for(lambda: not list((house.data / "spool" / "fetches").glob("*")))
