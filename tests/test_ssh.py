"""Git over SSH is git over HTTP with a key: the same stream, options, refusals and rights; every protocol."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.repos import find_repo, set_collaborator
from tests.conftest import missing
from tests.programs import arrivals, end_of, go_on, run_number, shell, told
from tests.service import Pushed, Service, WorkTree, wait_for
from tests.ssh import QUIET, Person, in_database, person, run

TICKS = shell("for n in 1 2 3 4 5; do echo tick $n; sleep 0.4; done")


@pytest.fixture(scope="module")
def alice(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """The instance's user, with a key."""
    return person(local_service, tmp_path_factory.mktemp("ssh"), "alice")


@pytest.fixture(scope="module")
def bob(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Another user, with another key."""
    return person(local_service, tmp_path_factory.mktemp("ssh"), "bob-by-ssh")


@pytest.fixture(scope="module")
def ran(alice: Person) -> Pushed:
    """A push whose run has succeeded."""
    pushed = alice.push(alice.service.worktree(shell("echo first; echo last")), "ssh-ran")
    assert pushed.code == 0, pushed.output
    return pushed


def clone(who: Person, repo: str, folder: Path, *options: str) -> WorkTree:
    """`git clone`, which must not fail."""
    done = who.git("clone", "-q", *options, who.url(repo), str(folder))
    assert done.returncode == 0, done.stderr
    return WorkTree(folder)


def one_is_quick(pushes: list[Pushed], again: Callable[[], Pushed]) -> None:
    """Nobody waits for 5 s of silence. That some took longer says something of the machine only."""

    def is_so() -> bool:
        if min(each.seconds for each in pushes) < 5:
            return True
        pushes.append(again())
        return False

    wait_for(is_so)


# ---- the stream


def test_a_push_is_followed_while_it_runs(alice: Person) -> None:
    script, files = told("for n in 1 2 3; do echo tick $n; done", "for n in 4 5; do echo tick $n; done")
    lines = []
    with alice.begin(alice.service.worktree(files), "ssh-live") as client:
        for _, line in arrivals(client):
            lines.append(line)
            if line == "tick 3":  # it has come while its program runs
                go_on(script)
    assert client.returncode == 0
    assert [line for line in lines if line.startswith("tick")] == [f"tick {n}" for n in range(1, 6)]
    assert re.match(r"hermes  main at \w{7}  http", lines[0]), lines
    assert any(re.match(r"hermes  run \d+    succeeded in ", line) for line in lines), lines
    assert lines[-1].startswith(" * [new branch] ")


def test_check_exits_1_for_a_failing_run_and_the_ref_has_moved(alice: Person) -> None:
    pushed = alice.push(alice.service.worktree(shell("exit 3")), "ssh-check", "check")
    assert pushed.code == 1, pushed.output
    assert re.search(r"run \d+ failed: exit code 3", pushed.output), pushed.output
    assert alice.refs("ssh-check") == {"refs/heads/main": pushed.sha}


def test_detach_returns_at_once_and_the_run_goes_on(alice: Person) -> None:
    pushed = alice.push(alice.service.worktree(TICKS), "ssh-detach", "detach")
    assert pushed.code == 0 and "tick" not in pushed.output
    assert alice.service.run_of(pushed)["state"] == "succeeded"


def test_a_run_is_followed_again_from_its_first_byte(alice: Person, ran: Pushed) -> None:
    number = run_number(ran)
    for options, ref in (((f"follow={number}",), "refs/follow"), ((), f"refs/follow/{number}")):
        again = alice.push(ran.tree, "ssh-ran", *options, refs=(f"HEAD:{ref}",))
        assert again.code == 0, again.output
        assert {"first", "last"} <= set(again.lines), again.output
        assert f"/runs/{number}" in again.output
    assert set(alice.refs("ssh-ran")) == {"refs/heads/main"}


def test_a_run_is_followed_by_a_client_whose_pack_comes_late(
    alice: Person, ran: Pushed, tmp_path: Path
) -> None:
    """The answer is over before git has sent it all: who hangs up then makes git say that the push failed."""
    git = tmp_path / "git"
    late = f'{shutil.which("git")} "$@" | {{ dd bs=12 count=1 status=none; sleep 1; cat; }}'
    git.write_text(f"#!/bin/sh\n{late}\n")
    git.chmod(0o755)
    ref = f"HEAD:refs/follow/{run_number(ran)}"
    again = alice.push(ran.tree, "ssh-ran", refs=(ref,), env={"GIT_EXEC_PATH": str(tmp_path)})
    assert again.code == 0 and "last" in again.lines, again.output


def test_an_unknown_run_is_not_followed(alice: Person, ran: Pushed) -> None:
    for options, ref in ((("follow=98765",), "refs/follow"), ((), "refs/follow/98765")):
        again = alice.push(ran.tree, "ssh-ran", *options, refs=(f"HEAD:{ref}",))
        assert again.code == 1
        assert f" ! [remote rejected] HEAD -> {ref} (there is no run 98765 that you may see)" in again.lines


# ---- what is pushed


def test_pushes_that_send_no_pack(alice: Person) -> None:
    tree = alice.service.worktree(QUIET)
    first = alice.push(tree, "ssh-refs", "skip")
    assert first.code == 0 and "hermes  main stored; nothing started (skip)" in first.lines
    same = alice.push(tree, "ssh-refs")
    assert (same.code, same.output) == (0, "Everything up-to-date")
    assert alice.push(tree, "ssh-refs", refs=("HEAD:a", "HEAD:b", "HEAD:c", "HEAD:d")).code == 0
    gone = [alice.push(tree, "ssh-refs", refs=(f":{ref}",)) for ref in ("a", "c", "d")]
    assert gone[0].code == 0 and "hermes  a deleted; its runs and logs stay" in gone[0].lines
    assert set(alice.refs("ssh-refs")) == {"refs/heads/main", "refs/heads/b"}

    def once_more() -> Pushed:
        assert alice.push(tree, "ssh-refs", refs=("HEAD:again",)).code == 0
        return alice.push(tree, "ssh-refs", refs=(":again",))

    one_is_quick(gone, once_more)


def test_thirty_megabytes_are_pushed_with_keys_that_change_meanwhile(alice: Person, tmp_path: Path) -> None:
    data = Random(1).randbytes(30 << 20)
    tree = alice.service.worktree({**QUIET, "data.bin": data})
    words = shlex.join(alice.words("-o", "RekeyLimit=4M"))
    pushed = alice.push(tree, "ssh-large", env={"GIT_SSH_COMMAND": words})
    assert pushed.code == 0, pushed.output
    copy = clone(alice, "ssh-large", tmp_path / "copy")
    assert (copy.folder / "data.bin").read_bytes() == data


REFUSED: list[tuple[str, tuple[str, ...], str, dict[str, str | bytes], str]] = [
    ("ref", (), "refs/bad", QUIET, "'refs/bad' is not a branch or a tag"),
    ("option", ("chek",), "main", QUIET, "unknown push option 'chek', did you mean 'check'?"),
    ("manifest", (), "main", {"Makefile": "", "hermes.toml": "naem = 1"},
     "hermes.toml:1:1: unknown key 'naem', did you mean 'name'?"),
    ("makefile", (), "main", {"a": "b"}, "there is no Makefile at the top of this commit"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "ref", "files", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_push_is_refused_in_the_same_words(
    alice: Person, name: str, options: tuple[str, ...], ref: str, files: dict[str, str | bytes], words: str
) -> None:
    tree = alice.service.worktree({**files, "noise.bin": os.urandom(3 << 20)})
    pushed = alice.push(tree, f"ssh-no-{name}", *options, refs=(f"HEAD:{ref}",))
    assert pushed.code == 1, pushed.output
    assert f"hermes  refused  {words}" in pushed.lines, pushed.output
    assert f" ! [remote rejected] HEAD -> {ref} ({words})" in pushed.lines
    assert alice.refs(f"ssh-no-{name}") == {}
    one_is_quick([pushed], lambda: alice.push(tree, f"ssh-no-{name}", *options, refs=(f"HEAD:{ref}",)))


def test_of_twenty_pushes_at_once_to_one_branch_one_wins(alice: Person) -> None:
    trees = [alice.service.worktree({"README": str(number)}) for number in range(20)]
    clients = [alice.begin(tree, "ssh-race", "skip") for tree in trees]
    ends = [end_of(client) for client in clients]
    shas = [tree.git("rev-parse", "HEAD") for tree in trees]
    winners = [sha for sha, (code, _) in zip(shas, ends, strict=True) if code == 0]
    assert len(winners) == 1, ends
    assert alice.refs("ssh-race") == {"refs/heads/main": winners[0]}
    assert all("rejected]" in words for code, words in ends if code), ends


# ---- what is fetched


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_clone_fetch_and_push_speak_every_protocol(alice: Person, tmp_path: Path, version: str) -> None:
    tree = alice.service.worktree(QUIET)
    repo = f"ssh-protocol-{version}"
    assert alice.push(tree, repo).code == 0
    chosen = ["-c", f"protocol.version={version}"]
    done = alice.git(*chosen, "clone", alice.url(repo), str(tmp_path / "copy"), env={"GIT_TRACE_PACKET": "1"})
    assert done.returncode == 0, done.stderr
    assert ("clone< version 2" in done.stderr) == (version == "2"), done.stderr[-2000:]
    assert ("clone< version 1" in done.stderr) == (version == "1")
    more = tree.commit("more")
    assert alice.git(*chosen, "push", "-q", alice.url(repo), "HEAD:main", cwd=tree.folder).returncode == 0
    copy = WorkTree(tmp_path / "copy")
    assert alice.git(*chosen, "fetch", "-q", cwd=copy.folder).returncode == 0
    assert copy.git("rev-parse", "origin/main") == more


def test_shallow_and_partial_clones_can_push(alice: Person, tmp_path: Path) -> None:
    tree = alice.service.worktree({**QUIET, "large.bin": os.urandom(1 << 20)})
    tree.commit("second")
    assert alice.push(tree, "ssh-shallow").code == 0
    shallow = clone(alice, "ssh-shallow", tmp_path / "shallow", "--depth=1")
    assert shallow.git("rev-list", "--count", "HEAD") == "1"
    third = shallow.commit("third")
    assert alice.push(shallow, "ssh-shallow").code == 0
    partial = clone(alice, "ssh-shallow", tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    missing_objects = partial.git("rev-list", "--objects", "--missing=print", "HEAD").splitlines()
    assert any(line.startswith("?") for line in missing_objects)
    assert alice.git("checkout", "-q", "main", cwd=partial.folder).returncode == 0
    assert (partial.folder / "large.bin").stat().st_size == 1 << 20
    assert partial.git("rev-parse", "HEAD") == third


def test_addresses_as_people_write_them(alice: Person, ran: Pushed) -> None:
    port = shlex.join(alice.words("-p", str(alice.service.ssh_port)))
    base = f"ssh://alice@127.0.0.1:{alice.service.ssh_port}/alice/ssh-ran"
    for url in (
        base,
        f"{base}/",
        f"{base}.git/",
        "git@127.0.0.1:alice/ssh-ran.git",
        "127.0.0.1:/alice/ssh-ran",
    ):
        done = alice.git("ls-remote", url, env={"GIT_SSH_COMMAND": port})
        assert done.returncode == 0 and ran.sha in done.stdout, (url, done.stderr)


def test_many_fetches_share_one_connection(alice: Person, ran: Pushed, tmp_path: Path) -> None:
    control = tmp_path / "c"
    shared = ("-o", "ControlMaster=auto", "-o", f"ControlPath={control}", "-o", "ControlPersist=30")
    env = {"GIT_SSH_COMMAND": shlex.join(alice.words(*shared))}
    url = alice.url("ssh-ran")
    try:
        with ThreadPoolExecutor(5) as pool:
            ends = list(pool.map(lambda _: alice.git("ls-remote", url, env=env), range(15)))
        assert all(done.returncode == 0 and ran.sha in done.stdout for done in ends), ends
    finally:
        alice.ssh(options=(*shared, "-O", "exit"))


# ---- who may


def test_others_see_nothing_without_a_role(alice: Person, bob: Person, ran: Pushed) -> None:
    words = "fatal: remote error: there is no repository alice/ssh-ran that you may see"
    read = bob.git("ls-remote", bob.url("alice/ssh-ran"))
    assert read.returncode == 128 and read.stderr.startswith(words), read.stderr
    pushed = bob.push(ran.tree, "alice/ssh-ran", "skip")
    assert pushed.code == 128 and words in pushed.output
    never = bob.push(ran.tree, "alice/ssh-never", "skip")
    assert never.code == 128 and "you may see; your own repositories are made by their first push: …/bob" in (
        never.output
    )


def test_collaborators_do_what_their_role_says(alice: Person, bob: Person) -> None:
    tree = alice.service.worktree(QUIET)
    assert alice.push(tree, "ssh-shared").code == 0

    def let(role: str) -> None:
        async def act(session: AsyncSession) -> None:
            repo = await find_repo(session, "alice", "ssh-shared")
            assert repo is not None
            await set_collaborator(session, repo, bob.user, role)

        in_database(alice.service, act)

    let("read")
    assert set(bob.refs("alice/ssh-shared")) == {"refs/heads/main"}
    refused = bob.push(tree, "alice/ssh-shared", refs=("HEAD:theirs",))
    assert refused.code == 128
    assert "fatal: remote error: you may read alice/ssh-shared, but not push to it" in refused.output
    let("write")
    assert bob.push(tree, "alice/ssh-shared", refs=("HEAD:theirs",)).code == 0


# ---- another client


def test_dropbears_client_pushes_and_clones(alice: Person, tmp_path: Path) -> None:
    try:
        key = str(tmp_path / "dropbear")
        run(["dropbearkey", "-t", "ed25519", "-f", key]).check_returncode()
        subprocess.run(["dbclient", "-V"], check=False, capture_output=True)
    except FileNotFoundError:
        return missing("dropbear's client (Debian: dropbear-bin)")
    shown = run(["dropbearkey", "-y", "-f", key]).stdout.splitlines()
    Path(f"{key}.pub").write_text(next(line for line in shown if line.startswith("ssh-")))
    person(alice.service, tmp_path, "alice", Path(key))
    words = f"dbclient -y -y -i {key} -p {alice.service.ssh_port}"
    env = {"GIT_SSH_COMMAND": words, "GIT_SSH_VARIANT": "simple", "HOME": str(tmp_path)}
    tree = alice.service.worktree(shell("echo by dropbear"))
    url = "git@127.0.0.1:alice/ssh-dropbear.git"
    pushed = alice.git("push", url, "HEAD:main", cwd=tree.folder, env=env)
    assert pushed.returncode == 0 and "remote: by dropbear" in pushed.stderr, pushed.stderr
    done = alice.git("clone", "-q", url, str(tmp_path / "copy"), env=env)
    assert done.returncode == 0, done.stderr
