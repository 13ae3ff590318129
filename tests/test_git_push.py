"""Pushes that git itself must refuse, and what they leave: nothing. On our server and on git's own.

After git's own tests of pushing: t5504 (fsck), t5516 (missing objects), t5538 (shallow), t5541 (HTTP),
t5543 (atomic), t5545 (options), t5547 (quarantine)."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from dulwich.protocol import pkt_line

from tests.oracle import Client, Pair, Side, ours, pair, refusals
from tests.service import PATIENCE_S, TRUST

ZEROS = "0" * 40


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("push")) as both:
        yield both


@pytest.fixture(params=["git", "hermes"])
def side(servers: Pair, request: pytest.FixtureRequest) -> Side:
    return servers.git if request.param == "git" else servers.hermes


@pytest.fixture
def client(servers: Pair, side: Side) -> Client:
    """Somebody with main, side and v1 on the server."""
    return servers.client(side)


@pytest.fixture(scope="module")
def untouched(servers: Pair) -> dict[str, Client]:
    """On each side a repository that only sees pushes that are refused."""
    return {side.name: servers.client(side) for side in (servers.git, servers.hermes)}


# ---- objects that are wrong (git help fsck has the names)


def tree(*entries: tuple[str, bytes, str]) -> Callable[[Client], str]:
    """A commit of a tree with these entries (mode, name, object) exactly as they are."""

    def make(client: Client) -> str:
        raw = b"".join(
            mode.encode() + b" " + name + b"\0" + bytes.fromhex(client.do(f"rev-parse {what}"))
            for mode, name, what in entries
        )
        return client.do(f"commit-tree -m bad {client.make('tree', raw)}")

    return make


def commit(old: str, new: str) -> Callable[[Client], str]:
    """The newest commit with something in it changed."""

    def make(client: Client) -> str:
        raw = client.do("cat-file commit main") + "\n"
        assert old in raw
        return client.make("commit", raw.replace(old, new, 1).encode())

    return make


def module(line: str) -> Callable[[Client], str]:
    """A commit with this in .gitmodules."""

    def make(client: Client) -> str:
        client.write(".gitmodules", f'[submodule "a"]\n\tpath = a\n\turl = b\n\t{line}\n')
        return client.commit()

    return make


FILE, FOLDER = "main:Makefile", "main:src"
WHO = "Ada <ada@example.org> 1750000000 +0200"
WRONG = [
    ("hasDotgit", tree(("40000", b".git", FOLDER))),
    ("hasDotgit", tree(("40000", b".GiT", FOLDER))),
    ("hasDotgit", tree(("40000", b"git~1", FOLDER))),
    ("hasDotgit", tree(("40000", ".g\u200cit".encode(), FOLDER))),
    ("hasDot", tree(("40000", b".", FOLDER))),
    ("hasDotdot", tree(("40000", b"..", FOLDER))),
    ("fullPathname", tree(("100644", b"a/b", FILE))),
    ("duplicateEntries", tree(("100644", b"a", FILE), ("100644", b"a", FILE))),
    ("duplicateEntries", tree(("100644", b"a", FILE), ("40000", b"a", FOLDER))),
    ("treeNotSorted", tree(("100644", b"b", FILE), ("100644", b"a", FILE))),
    ("missingEmail", commit(WHO, "Ada 1750000000 +0200")),
    ("missingNameBeforeEmail", commit(WHO, WHO.removeprefix("Ada "))),
    ("badName", commit(WHO, f"Ada> {WHO}")),
    ("badDate", commit("1750000000", "tomorrow")),
    ("badDateOverflow", commit("1750000000", "18446744073709551616")),
    ("zeroPaddedDate", commit("1750000000", "01750000000")),
    ("missingAuthor", commit("author ", "writer ")),
    ("multipleAuthors", commit("committer ", f"author {WHO}\ncommitter ")),
    ("gitmodulesUrl", module("url = -u./x")),
    ("gitmodulesUrl", module("url = ./x\\ny")),
    ("gitmodulesPath", module("path = --option")),
    ("gitmodulesName", lambda client: module('[submodule "../x"]\n\turl = c')(client)),
    ("gitmodulesSymlink", tree(("120000", b".gitmodules", FILE))),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "make"), WRONG, ids=[f"{n} {name}" for n, (name, _) in enumerate(WRONG)])
def test_wrong_object_is_refused_by_its_fault_and_not_stored(
    untouched: dict[str, Client], side: Side, tmp_path: Path, fault: str, make: Callable[[Client], str]
) -> None:
    client = untouched[side.name].copy(tmp_path.name)
    published, sha = client.side.refs(client.repo), make(client)
    done = client.git("push", "--porcelain", "-o", "skip", "origin", f"{sha}:refs/heads/x")
    assert done.returncode == 1
    assert fault in done.stderr
    assert list(refusals(done)) == ["refs/heads/x"]
    assert is_untouched(client, published, sha)


def is_untouched(client: Client, published: dict[str, str], *shas: str) -> bool:
    """Nothing of a push is on the server: no ref, no object, no file."""
    side, repo = client.side, client.repo
    assert side.refs(repo) == published
    assert [sha for sha in shas if side.has(repo, sha)] == []
    assert side.faults(repo) == []
    return True


#: Real old histories have these; docs/git.md says that they are taken.
ODD = {
    "zero-padded mode": tree(("040000", b"src", FOLDER)),
    "mode of old days": tree(("100664", b"a", FILE)),
    "no space before the date": commit("> 1750000000", ">1750000000"),
    "time zone": commit("+0200", "+02000"),
}


@pytest.mark.parametrize("name", ODD)
def test_oddity_of_old_histories_is_taken(client: Client, name: str) -> None:
    sha = ODD[name](client)
    client.do(f"push -q -o skip origin {sha}:refs/heads/x")
    assert client.side.refs(client.repo)["refs/heads/x"] == sha


# ---- objects that are not there


def send(
    client: Client, sha: str, packed: list[str], can: str = "report-status side-band-64k"
) -> httpx.Response:
    """A push made by hand: this commit to x, and a pack with these objects."""
    command = ["git", "pack-objects", "--stdout", "-q"]
    names = "".join(f"{each}\n" for each in packed).encode()
    pack = subprocess.run(command, cwd=client.folder, input=names, capture_output=True, check=True).stdout
    name, _, value = client.side.env.get("GIT_CONFIG_VALUE_0", "X: y").partition(": ")
    head = pkt_line(f"{ZEROS} {sha} refs/heads/x\0 {can} agent=test".encode()) + b"0000"
    headers = {name: value, "Content-Type": "application/x-git-receive-pack-request"}
    url = f"{client.url}/git-receive-pack"
    return httpx.post(url, content=head + pack, headers=headers, timeout=PATIENCE_S, verify=TRUST)


@pytest.mark.parametrize("missing", ["tree", "file", "folder", "parent", "all"])
def test_commit_that_lacks_something_is_refused_and_not_stored(client: Client, missing: str) -> None:
    published = client.side.refs(client.repo)
    client.write("src/deep/new.txt", "new")
    parent = client.commit("parent")
    client.write("other.txt", "other")
    sha = client.commit("child")
    new = client.do(f"rev-list --objects --no-object-names {sha} --not origin/main").split()
    lacks = {
        "tree": f"{sha}^{{tree}}", "file": f"{sha}:other.txt", "folder": f"{sha}:src/deep", "parent": parent
    }  # fmt: skip
    gone = new if missing == "all" else [client.do(f"rev-parse {lacks[missing]}")]
    answer = send(client, sha, [each for each in new if each not in gone])
    assert answer.status_code == 200
    assert b"ng refs/heads/x " in answer.content, answer.content
    assert is_untouched(client, published, *new)


def test_client_that_wants_no_report_is_not_told_a_lie(client: Client) -> None:
    """Without the capability report-status git moves the ref and says nothing."""
    sha = client.commit()
    answer = send(client, sha, [sha], can="")
    stored = client.side.refs(client.repo).get("refs/heads/x") == sha
    assert answer.status_code == 200 if stored else 400 <= answer.status_code < 500, answer.text


# ---- what is left when our own policy says no


NO_REF, SKIP = "'refs/x/y' is not a branch or a tag", ["-o", "skip"]
REFUSED = {
    "no Makefile": ([], ["alone"], "there is no Makefile at the top of this commit"),
    "unknown option": (["-o", "skpi"], ["alone"], "unknown push option 'skpi', did you mean 'skip'?"),
    "unknown key": (
        [*SKIP, "-o", "run.tiemout=1m"], ["alone"], "run.tiemout cannot be set by a push option"
    ),
    "a ref that is none": (SKIP, ["alone:refs/x/y"], NO_REF),
    "one of two": (SKIP, ["alone", "alone:refs/x/y"], "another ref of this push was refused"),
    "atomic": ([*SKIP, "--atomic"], ["alone:refs/x/y", "main:refs/heads/x"], NO_REF),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_push_that_policy_refuses_leaves_nothing(servers: Pair, name: str) -> None:
    client = servers.client(servers.hermes)
    published = client.side.refs(client.repo)
    client.do("checkout -q --orphan alone", "rm -rfq .")
    client.write("only.txt", "here")
    sha = client.commit("alone")
    flags, refspecs, reason = REFUSED[name]
    done = client.git("push", "--porcelain", *flags, "origin", *refspecs)
    assert done.returncode == 1
    assert next(iter(refusals(done).values())) == reason
    assert is_untouched(client, published, sha, client.do(f"rev-parse {sha}:only.txt"))


def test_options_that_exist_arrive(servers: Pair) -> None:
    client = servers.client(servers.hermes)
    client.write("hermes.toml", 'handler = "true"\n')
    client.commit()
    done = client.git("push", "-o", "skip", "-o", "name=ü ; $(id)", "origin", "main")
    assert "remote: hermes  main stored; nothing started (skip)" in done.stderr


def test_push_to_somebody_elses_repository_is_refused_and_leaves_nothing(servers: Pair) -> None:
    client, service = servers.client(servers.hermes), servers.hermes.service
    assert service is not None
    published, sha = client.side.refs(client.repo), client.commit()
    mallory = ours(service, "mallory", service.add_user("mallory"))
    for url in (client.url, client.url.replace(client.repo, "none")):
        done = client.git("push", url, "main", env=mallory.env)
        assert done.returncode == 128
        assert "that you may see" in done.stderr and "not found" in done.stderr
    assert is_untouched(client, published, sha)


# ---- refs that cannot move


@pytest.mark.parametrize("atomic", [True, False])
def test_one_locked_ref_keeps_all_others_only_when_atomic(client: Client, atomic: bool) -> None:
    """As another git at work would lock it; the client's own picture of the remote is right afterwards."""
    sha, published = client.commit(), client.side.refs(client.repo)
    lock = client.side.bare(client.repo) / "refs/heads/main.lock"
    lock.touch()
    flags = ["--atomic"] if atomic else []
    done = client.git("push", "--porcelain", *flags, "origin", "main", "main:refs/heads/x")
    lock.unlink()
    assert done.returncode == 1
    locked = {"refs/heads/main": "failed to update ref"}
    failed = {ref: "atomic transaction failed" for ref in ("refs/heads/main", "refs/heads/x")}
    assert refusals(done) == (failed if atomic else locked)
    moved = {} if atomic else {"refs/heads/x": sha}
    assert client.side.refs(client.repo) == published | moved
    tracked = {
        ref.replace("/remotes/origin/", "/heads/"): at for ref, at in client.refs("refs/remotes").items()
    }
    assert tracked == {ref: at for ref, at in (published | moved).items() if "/heads/" in ref}


# ---- clones that do not have everything


@pytest.mark.parametrize("how", ["--depth=1", "--single-branch", "--filter=blob:none", "--filter=tree:0"])
def test_push_from_a_clone_with_a_part_is_taken_and_whole(client: Client, how: str) -> None:
    part = client.clone(how, into="part")
    part.write("new.txt", "new")
    sha = part.commit("from a part")
    part.do(
        "push -q origin HEAD:main",
        "push -q origin HEAD:refs/heads/x",
        "tag -a v9 -m new",
        "push -q origin v9",
    )
    assert client.side.refs(client.repo)["refs/heads/x"] == sha
    assert client.side.faults(client.repo) == []
    assert client.clone(into="whole").do("rev-list --count HEAD") == "4"


def test_push_of_a_shallow_clone_to_where_its_past_is_not_is_refused(servers: Pair, client: Client) -> None:
    shallow = client.clone("--depth=1", into="shallow")
    sha, empty = shallow.commit("new"), servers.client(client.side, published=False)
    empty.do("push -q origin light:refs/heads/main")
    published = client.side.refs(empty.repo)
    done = shallow.git("push", "--porcelain", empty.url, "main:refs/heads/x")
    assert (done.returncode, refusals(done)) == (1, {"refs/heads/x": "shallow update not allowed"})
    assert client.side.refs(empty.repo) == published
    assert client.side.faults(empty.repo) == []
    shallow.do("fetch -q --unshallow", f"push -q {empty.url} main:refs/heads/x")
    assert client.side.refs(empty.repo)["refs/heads/x"] == sha


def test_fetch_into_a_shallow_clone_after_somebody_pushed(client: Client) -> None:
    shallow = client.clone("--depth=1", into="shallow")
    sha = client.commit("theirs")
    client.do("push -q origin main")
    mine = shallow.commit("mine")
    assert "fetch first" in shallow.git("push", "origin", "main").stderr
    shallow.do("fetch -q", "rebase -q origin/main", "push -q origin main")
    assert shallow.do("rev-parse main~1") == sha
    assert client.side.refs(client.repo)["refs/heads/main"] != mine
