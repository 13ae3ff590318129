"""Clients that are not git, and git with Git LFS: they push, hear the run, clone, hear what went wrong."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.other_clients import Account, Client, Dulwich, Isomorphic, Libgit2, Talk
from tests.programs import git, refs, shell
from tests.service import GIT_ENV, PATIENCE_S, Service, WorkTree

MAIN, WORK = "refs/heads/main", "refs/heads/work"
KINDS: dict[str, type[Client]] = {"pygit2": Libgit2, "dulwich": Dulwich, "isomorphic-git": Isomorphic}
QUIET_S = 6.5  # node hangs up after 5 s without a byte; every client has to take our packets that are empty
STORED = "[on]\npush = []\n"
FILES = shell("echo first; sleep 6.5; echo second\n") | {
    "größe π.txt": "π\n" * 1000,
    "deep/er/data.bin": bytes(range(256)) * 2000,
    "empty": "",
}


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    """Of the client."""
    kind: str = request.param
    return kind


@pytest.fixture
def client(name: str) -> Client:
    """The client."""
    return KINDS[name]()


@pytest.fixture
def alice(service: Service) -> Account:
    """Who pushes."""
    return Account(service.user, service.token)


def make_tree(service: Service, name: str, files: dict[str, str | bytes]) -> tuple[WorkTree, str]:
    """A repository to push, and where to."""
    tree = service.worktree(files, name)
    (tree.folder / "link").symlink_to("deep/er/data.bin")
    (tree.folder / "main.sh").chmod(0o755)
    tree.commit("with a link and a program")
    return tree, f"{service.url}/{service.user}/{name}.git"


def same_tree(one: Path, other: Path) -> bool:
    """Whether two checkouts have the same commit and nothing that differs from it."""
    looks = []
    for folder in (one, other):
        tree = WorkTree(folder)
        tree.git("fsck", "--strict", "--full")
        looks.append((tree.git("rev-parse", "HEAD", "HEAD^{tree}"), tree.git("status", "--porcelain")))
    return looks[0] == looks[1] and looks[0][1] == ""


@pytest.fixture(scope="module")
def streams(service: Service) -> Iterator[dict[str, tuple[WorkTree, Talk]]]:
    """The same push by every client that is here, at the same time."""
    alice = Account(service.user, service.token)

    def push(name: str) -> tuple[WorkTree, Talk]:
        tree, url = make_tree(service, f"stream-{name}", FILES)
        return tree, KINDS[name]().push(url, tree.folder, MAIN, MAIN, alice)

    with ThreadPoolExecutor(len(KINDS)) as pool:
        pushing = {name: pool.submit(push, name) for name in KINDS}
    left_out = pytest.skip.Exception
    yield {
        name: each.result() for name, each in pushing.items() if not isinstance(each.exception(), left_out)
    }


# ---- every client


def test_a_run_streams_through_its_silence_to_its_end(
    client: Client, name: str, streams: dict[str, tuple[WorkTree, Talk]]
) -> None:
    _, talk = streams[name]
    assert talk.refused == ""
    assert talk.asked == 1, "it pushes without a token, and with one when it is asked"
    assert talk.heard_at("second\n") - talk.heard_at("first\n") > 1, talk.chunks
    assert talk.words.index("hermes  run ") < talk.words.index("first\n")
    assert "succeeded in" in talk.words[talk.words.index("second\n") :]
    assert "[32m" not in talk.words, "colours for a library that may be in no terminal"


def test_what_was_pushed_is_what_is_cloned(
    service: Service,
    client: Client,
    name: str,
    alice: Account,
    streams: dict[str, tuple[WorkTree, Talk]],
    tmp_path: Path,
) -> None:
    pushed, url = streams[name][0], f"{service.url}/{service.user}/stream-{name}.git"
    talk = client.clone(url, tmp_path / "clone", alice)
    assert talk.refused == ""
    assert same_tree(pushed.folder, tmp_path / "clone")
    clone = WorkTree(tmp_path / "clone").write({"hermes.toml": STORED, "deep/er/data.bin": b"changed"})
    clone.commit("second, onto what was cloned")
    assert client.push(url, clone.folder, MAIN, MAIN, alice).refused == ""
    assert git(service, "clone", "-q", url, str(tmp_path / "by-git")).returncode == 0
    assert same_tree(clone.folder, tmp_path / "by-git")


def test_a_refused_push_gives_the_reason_and_what_to_do(
    service: Service, client: Client, name: str, alice: Account
) -> None:
    tree, url = make_tree(service, f"refused-{name}", {"hermes.toml": "hndler = 'x'\n", "main.sh": ""})
    talk = client.push(url, tree.folder, MAIN, MAIN, alice)
    words = "hermes.toml:1:1: unknown key 'hndler', did you mean 'handler'?"
    assert talk.refused == words
    assert f"hermes  refused  {words}\n" in talk.words
    assert refs(service, f"refused-{name}") == {}


def test_an_unchanged_branch_starts_nothing_and_a_branch_can_be_deleted(
    service: Service, client: Client, name: str, alice: Account
) -> None:
    tree, url = make_tree(service, f"same-{name}", shell("true", STORED))
    tree.git("branch", "work")
    first = client.push(url, tree.folder, MAIN, MAIN, alice)
    assert "main stored; nothing started" in first.words, first
    tree.write({"hermes.toml": 'handler = "sh main.sh"\n'}).commit("would run")
    assert client.push(url, tree.folder, WORK, WORK, alice).refused == ""
    before = refs(service, f"same-{name}")
    assert set(before) == {MAIN, WORK}
    again = client.push(url, tree.folder, WORK, WORK, alice)
    assert again.refused == "" and "hermes  run" not in again.words, again
    assert refs(service, f"same-{name}") == before
    deleted = client.push(url, tree.folder, "", WORK, alice)
    assert deleted.refused == "" and "work deleted; its runs and logs stay" in deleted.words, deleted
    assert set(refs(service, f"same-{name}")) == {MAIN}


@pytest.mark.parametrize("name", ["pygit2", "dulwich"])  # isomorphic-git has none
def test_push_options_arrive(service: Service, client: Client, name: str, alice: Account) -> None:
    tree, url = make_tree(service, f"options-{name}", shell("echo no run"))
    talk = client.push(url, tree.folder, MAIN, MAIN, alice, "skip", "n=two words")
    assert talk.refused == "" and "main stored; nothing started (skip)" in talk.words
    wrong = client.push(url, tree.folder, MAIN, WORK, alice, "detatch")
    assert wrong.refused == "unknown push option 'detatch', did you mean 'detach'?"


def test_a_wrong_token_is_an_error_and_not_a_question_without_end(
    service: Service, client: Client, name: str, tmp_path: Path
) -> None:
    tree, url = make_tree(service, f"nobody-{name}", shell("true", STORED))
    stranger = Account(service.user, "hermes_not_a_token")
    assert client.push(url, tree.folder, MAIN, MAIN, stranger).refused
    assert client.clone(url, tmp_path / "clone", stranger).refused


# ---- git with Git LFS


@pytest.fixture
def lfs_tree(service: Service) -> WorkTree:
    """A repository whose data.bin is tracked by Git LFS, with the hooks and filters of `git lfs install`."""
    tree = service.worktree(shell("wc -c data.bin", 'language = "cpp"'), "lfs")
    if "git-lfs/" not in tree.git("lfs", "version", check=False):
        missing("git-lfs (scripts/ensure-clients)")
    tree.git("lfs", "install", "--local")
    tree.git("lfs", "track", "*.bin")
    tree.write({"data.bin": bytes(range(256)) * 100})
    tree.commit("with a tracked file")
    assert tree.git("show", "HEAD:data.bin").startswith("version https://git-lfs")
    return tree


def push_lfs(service: Service, tree: WorkTree, repo: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`git push` with git-lfs' hook."""
    command, own = service.push_command(repo)
    return subprocess.run(
        command,
        cwd=tree.folder,
        env=own | GIT_ENV | env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_git_lfs_is_told_that_its_files_cannot_be_kept_here(service: Service, lfs_tree: WorkTree) -> None:
    done = push_lfs(service, lfs_tree, "lfs-files")
    assert done.returncode != 0
    assert "this server keeps no Git LFS objects" in done.stderr, done.stderr
    assert "git lfs untrack" in done.stderr, done.stderr


def test_a_pushed_lfs_pointer_is_pointed_out(service: Service, lfs_tree: WorkTree) -> None:
    done = push_lfs(service, lfs_tree, "lfs-pointer", GIT_LFS_SKIP_PUSH="1")
    assert done.returncode == 0, done.stderr
    assert "warning: data.bin is a Git LFS pointer, not the file" in done.stderr, done.stderr
    assert "git lfs untrack" in done.stderr
