"""Clients over SSH that are not git: libgit2, dulwich, and one that never closes its side."""

import asyncio
import io
import shlex
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Protocol

import pygit2
import pytest
from dulwich import porcelain
from pygit2.enums import CredentialType, Feature

from tests.conftest import missing
from tests.programs import shell
from tests.service import PATIENCE_S, Service, WorkTree
from tests.ssh import QUIET, Person, command, packets, person, run

MIB = 1 << 20
MAIN = "refs/heads/main"
LARGE = {**QUIET, "noise.bin": Random(5).randbytes(4 * MIB)}


@pytest.fixture(scope="module")
def alice(local_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody with a key."""
    return person(local_service, tmp_path_factory.mktemp("clients"), "alice")


@pytest.fixture(scope="module", autouse=True)
def silent(alice: Person) -> "Iterator[Future[tuple[bytes, int | None]]]":
    """A push that is refused after a part of its pack and then says no more; it takes seconds to end."""
    head, pack = make_push(alice.service.worktree(LARGE), "refs/bad")
    with ThreadPoolExecutor(1) as other:
        yield other.submit(lambda: asyncio.run(talk(alice, "half", head + pack[:MIB])))


class Client(Protocol):
    """A library that speaks git's protocol by itself."""

    def push(self, who: Person, tree: WorkTree, repo: str, ref: str, *options: str) -> tuple[str, str]:
        """What the server said, and why it refused the ref."""

    def clone(self, who: Person, repo: str, folder: Path) -> None:
        """With a checkout."""


class _Callbacks(pygit2.RemoteCallbacks):
    def __init__(self, who: Person) -> None:
        super().__init__()
        self.who, self.words, self.refused = who, "", ""

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.Keypair:
        assert allowed_types & (CredentialType.SSH_KEY | CredentialType.USERNAME)
        return pygit2.Keypair(username_from_url or "git", f"{self.who.key}.pub", str(self.who.key), "")

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        return True  # libgit2 reads only the known hosts of the home directory

    def sideband_progress(self, string: str) -> None:
        self.words += string

    def push_update_reference(self, refname: str, message: str | None) -> None:
        self.refused = message or ""


class Libgit2:
    """pygit2, whose wheel may come without libssh2."""

    def __init__(self) -> None:
        if not pygit2.features & Feature.SSH:
            missing("SSH in this build of libgit2")

    def push(self, who: Person, tree: WorkTree, repo: str, ref: str, *options: str) -> tuple[str, str]:
        remote = pygit2.Repository(str(tree.folder)).remotes.create_anonymous(who.url(repo))
        callbacks = _Callbacks(who)
        remote.push([f"{MAIN}:{ref}"], callbacks, push_options=list(options) or None)
        return callbacks.words, callbacks.refused

    def clone(self, who: Person, repo: str, folder: Path) -> None:
        pygit2.clone_repository(who.url(repo), str(folder), callbacks=_Callbacks(who))


class _Ear(io.RawIOBase):
    def __init__(self) -> None:
        self.words = ""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.words += bytes(data).decode()
        return len(data)


class Dulwich:
    """dulwich, which starts the real ssh."""

    def push(self, who: Person, tree: WorkTree, repo: str, ref: str, *options: str) -> tuple[str, str]:
        ear = _Ear()
        done = porcelain.push(
            str(tree.folder), who.url(repo), f"{MAIN}:{ref}", errstream=ear, push_options=list(options),
            ssh_command=shlex.join(who.words()),
        )  # fmt: skip
        return ear.words, "; ".join(reason for reason in (done.ref_status or {}).values() if reason)

    def clone(self, who: Person, repo: str, folder: Path) -> None:
        porcelain.clone(
            who.url(repo), str(folder), errstream=_Ear(), ssh_command=shlex.join(who.words())
        ).close()


KINDS: dict[str, Callable[[], Client]] = {"libgit2": Libgit2, "dulwich": Dulwich}


@pytest.mark.parametrize("name", KINDS)
def test_another_client_pushes_hears_the_run_and_clones(alice: Person, name: str, tmp_path: Path) -> None:
    client, repo = KINDS[name](), f"by-{name}"
    files = shell("echo one; sleep 1; echo two") | {"noise.bin": Random(3).randbytes(3 << 20)}
    tree = alice.service.worktree(files)
    words, refused = client.push(alice, tree, repo, MAIN)
    assert refused == "" and "one\n" in words and "two\n" in words and "succeeded in" in words, words
    more = tree.commit("more")
    words, refused = client.push(alice, tree, repo, MAIN, "skip")
    assert refused == "" and "stored; nothing started (skip)" in words, (words, refused)
    client.clone(alice, repo, tmp_path / "copy")
    copy = WorkTree(tmp_path / "copy")
    assert copy.git("rev-parse", "HEAD") == more
    assert (copy.folder / "noise.bin").read_bytes() == files["noise.bin"]


@pytest.mark.parametrize("name", KINDS)
def test_another_client_hears_why_a_push_is_refused(alice: Person, name: str) -> None:
    client = KINDS[name]()
    tree = alice.service.worktree({**QUIET, "noise.bin": Random(4).randbytes(3 << 20)})
    words, refused = client.push(alice, tree, f"no-{name}", "refs/bad/x")
    assert "hermes  refused  'refs/bad/x' is not a branch or a tag" in words, words
    assert refused == "'refs/bad/x' is not a branch or a tag"
    words, refused = client.push(alice, tree, f"no-{name}", MAIN, "chek")
    assert refused == "unknown push option 'chek', did you mean 'check'?"
    assert alice.refs(f"no-{name}") == {}


# ---- one that never closes its side


def make_push(tree: WorkTree, ref: str) -> tuple[bytes, bytes]:
    """Everything that a client sends: its command, and a pack."""
    sha = tree.git("rev-parse", "HEAD")
    line = f"{'0' * 40} {sha} {ref}\0report-status side-band-64k".encode()
    done = run(["git", "rev-list", "--objects", "HEAD"], cwd=tree.folder)
    objects = "".join(f"{each.split()[0]}\n" for each in done.stdout.splitlines())
    pack = subprocess.run(
        ["git", "pack-objects", "-q", "--stdout"],
        cwd=tree.folder,
        input=objects.encode(),
        capture_output=True,
        check=True,
    ).stdout
    return b"%04x%s0000" % (len(line) + 4, line), pack


async def talk(who: Person, repo: str, *sent: bytes) -> tuple[bytes, int | None]:
    """Sends these and then nothing, with its side open; what comes back up to the end."""
    async with (
        who.connection() as connection,
        command(connection, f"git-receive-pack {who.user}/{repo}.git") as process,
    ):
        _ = [each async for each in packets(process)]
        for each in sent:
            process.stdin.write(each)
        said = await asyncio.wait_for(process.stdout.readuntil(b"0000"), PATIENCE_S)
        rest = await asyncio.wait_for(process.stdout.read(), PATIENCE_S)
        await process.wait_closed()
        return said + rest, process.exit_status


async def test_a_push_is_taken_when_its_pack_is_whole(alice: Person) -> None:
    tree = alice.service.worktree(QUIET)
    said, code = await asyncio.wait_for(talk(alice, "open-side", *make_push(tree, MAIN)), PATIENCE_S)
    assert code == 0 and b"unpack ok" in said and b"ok refs/heads/main" in said, said
    refs = await asyncio.to_thread(alice.refs, "open-side")
    assert refs == {MAIN: tree.git("rev-parse", "HEAD")}


async def test_a_refused_push_is_answered_at_once_in_the_middle_of_its_pack(alice: Person) -> None:
    head, pack = make_push(alice.service.worktree(LARGE), "refs/bad")
    async with (
        alice.connection() as connection,
        command(connection, "git-receive-pack alice/half.git") as process,
    ):
        _ = [each async for each in packets(process)]
        process.stdin.write(head + pack[:MIB])
        said = b"".join([each async for each in packets(process)])
        assert b"ng refs/bad 'refs/bad' is not a branch or a tag" in said
        process.stdin.write(pack[MIB:])  # and still it may go on
        process.stdin.write_eof()
        await asyncio.wait_for(process.wait_closed(), PATIENCE_S)
        assert process.exit_status == 0


def test_a_refused_push_that_falls_silent_ends_too(silent: "Future[tuple[bytes, int | None]]") -> None:
    said, code = silent.result()
    assert code == 0 and b"ng refs/bad 'refs/bad' is not a branch or a tag" in said
