"""Git is the oracle: the same operations on our server and on git's own end the same way.

Compared are the exit code, every line that the user reads, the refs of the client and of the server, a
mirror of the result, and what `git fsck` and a look at the files say."""

import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import NamedTuple

import pytest

from tests.git_operations import OPERATIONS, Operation, Step, many, orphan
from tests.oracle import Client, Done, Pair, Side, output, pair, refusals


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("oracle")) as both:
        yield both


@dataclass(frozen=True)
class Outcome:
    """All that an operation leaves."""

    code: int
    report: list[str]
    words: list[str]
    client: dict[str, str]
    server: dict[str, str]
    head: str
    mirror: list[str]
    faults: list[str]


def play(operation: Operation, servers: Pair, side: Side) -> Outcome:
    """The operation on one side, and what came of it."""
    client = servers.client(side, published=operation.published)
    *before, last = operation.steps
    take(client, *before)
    done = push(client, str(last))
    bare = side.bare(client.repo)
    return Outcome(
        code=done.returncode,
        report=client.plain(done.stdout),
        words=client.plain(done.stderr),
        client=client.refs("refs/remotes", "refs/heads"),
        server=side.refs(client.repo),
        head=output("git", "symbolic-ref", "HEAD", cwd=bare),
        mirror=what_a_mirror_has(client) if done.returncode == 0 else [],
        faults=side.faults(client.repo),
    )


def what_a_mirror_has(client: Client) -> list[str]:
    mirror = client.clone("--mirror", into="mirror")
    return mirror.do("symbolic-ref HEAD", "for-each-ref", "rev-list --objects --all").splitlines()


def take(client: Client, *steps: Step) -> None:
    """What comes before the operation."""
    for step in steps:
        client.do(step) if isinstance(step, str) else step(client)


def push(client: Client, line: str) -> Done:
    """The operation, with a report for programs."""
    return client.git(*shlex.split(line.replace("push ", "push --porcelain ", 1)))


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
def test_operation_ends_as_with_gits_own_server(servers: Pair, operation: Operation) -> None:
    with ThreadPoolExecutor(2) as both:
        wanted, found = both.map(lambda side: play(operation, servers, side), (servers.git, servers.hermes))
    assert asdict(found) == asdict(wanted)
    assert wanted.code == operation.code, wanted.words
    assert wanted.faults == []


# ---- where we differ on purpose


class Difference(NamedTuple):
    """What git takes, wholly or in part, and we do not."""

    name: str
    why: str
    steps: tuple[Step, ...]
    refused: dict[str, str]  # ref: words
    git_code: int = 0  # 1: git refuses it as well, with other words, or only in part


NO_BRANCH = "is not a branch or a tag"
ANOTHER = "another ref of this push was refused"
BESIDE = "refs/heads/{} cannot be beside refs/heads/{}"
DIFFERENCES = [
    Difference(
        "notes", "what no page shows, nobody could clean up",
        ("push origin main:refs/notes/x",), {"refs/notes/x": f"'refs/notes/x' {NO_BRANCH}"},
    ),
    Difference(
        "a mirror of a clone", "it has the branches of another remote, under names that say nothing here",
        ("push --mirror origin",),
        {
            "refs/remotes/origin/main": f"'refs/remotes/origin/main' {NO_BRANCH}",
            "refs/remotes/origin/side": ANOTHER,
            "refs/tags/light": ANOTHER,
        },
    ),
    Difference(
        "one bad ref among good ones", "a push is one thing: it is taken or it is not",
        ("push origin main:refs/heads/good main:refs/pull/1/head",),
        {"refs/heads/good": ANOTHER, "refs/pull/1/head": f"'refs/pull/1/head' {NO_BRANCH}"},
    ),
    Difference(
        "17 refs", "each of them may start a build",
        (many(17), "push origin refs/heads/many-*"),
        {f"refs/heads/many-{n}": ANOTHER if n else "17 refs in one push; at most 16" for n in range(17)},
    ),
    Difference(
        "a branch in UTF-8", "names become parts of commands, addresses and pages",
        ("push origin main:refs/heads/ü",), {"refs/heads/ü": "ref name 'ü' is not accepted here"},
    ),
    Difference(
        "a branch like an option", "the same",
        ("push origin main:refs/heads/-x",), {"refs/heads/-x": "ref name '-x' is not accepted here"},
    ),
    Difference(
        "an unknown push option", "a typing error should not start something else",
        ("push -o detahc origin light",),
        {"refs/tags/light": "unknown push option 'detahc', did you mean 'detach'?"},
    ),
    Difference(
        "a branch without a Makefile", "there is nothing to build, and `-o skip` says so if that is meant",
        (orphan, "push origin alone"), {"refs/heads/alone": "there is no Makefile at the top of this commit"},
    ),
    Difference(
        "a branch below a branch, and others", "refused before its objects are stored, and so are the others",
        ("push origin main:refs/heads/side/x light",),
        {"refs/heads/side/x": BESIDE.format("side/x", "side"), "refs/tags/light": ANOTHER}, git_code=1,
    ),
    Difference(
        "a branch below a branch, atomic", "the same",
        ("push --atomic origin main:refs/heads/side/x light",),
        {"refs/heads/side/x": BESIDE.format("side/x", "side"), "refs/tags/light": ANOTHER}, git_code=1,
    ),
    Difference(
        "a branch above a branch", "the same",
        ("push -q origin side:refs/heads/a/b", "push origin @:refs/heads/a"),
        {"refs/heads/a": BESIDE.format("a", "a/b")}, git_code=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENCES, ids=[each.name for each in DIFFERENCES])
def test_what_git_takes_and_we_do_not_is_refused_in_words(servers: Pair, case: Difference) -> None:
    *before, last = case.steps
    for side in (servers.git, servers.hermes):
        client = servers.client(side)
        take(client, *before)
        published, tracked = side.refs(client.repo), client.refs("refs/remotes")
        done = push(client, str(last))
        if side is servers.git:
            assert done.returncode == case.git_code, done.stderr
            continue
        assert (done.returncode, refusals(done)) == (1, case.refused)
        assert (side.refs(client.repo), client.refs("refs/remotes")) == (published, tracked)
        assert side.faults(client.repo) == []
