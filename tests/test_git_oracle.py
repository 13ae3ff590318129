"""Git is the oracle: the same operations on our server and on git's own end the same way.

Compared are the exit code, every line that the user reads, the refs of the client and of the server, a
mirror of the result, and what `git fsck` and a look at the files say."""

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import pytest

from tests.git_operations import OPERATIONS, Operation
from tests.oracle import Client, Pair, Side, output, pair


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
    objects: list[str]
    faults: list[str]


def play(operation: Operation, servers: Pair, side: Side) -> Outcome:
    """The operation on one side, and what came of it."""
    client = servers.client(side, published=operation.published)
    *before, last = operation.steps
    for step in before:
        client.do(step) if isinstance(step, str) else step(client)
    assert isinstance(last, str)
    done = client.git(*shlex.split(last.replace("push ", "push --porcelain ", 1)))
    bare = side.bare(client.repo)
    mirror = client.clone("--mirror", into="mirror")
    return Outcome(
        code=done.returncode,
        report=plain(client, done.stdout),
        words=plain(client, done.stderr),
        client=client.refs("refs/remotes", "refs/heads"),
        server=side.refs(client.repo),
        head=output("git", "symbolic-ref", "HEAD", cwd=bare),
        mirror=mirror.do("for-each-ref").splitlines() + [output("git", "symbolic-ref", "HEAD", cwd=mirror.folder)],
        objects=sorted(mirror.do("rev-list --objects --all").splitlines()),
        faults=side.faults(client.repo) + mirror.do("fsck --strict --full").splitlines(),
    )


def plain(client: Client, text: str) -> list[str]:
    """What a user reads, without the address, what we say on top, and figures that time decides."""
    lines = [line.rstrip() for line in re.split(r"[\n\r]", text.replace(client.side.base, "…").replace(client.repo, "repo"))]
    return [line for line in lines if line and not re.match(r"remote: hermes  |.* \d+% ", line)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
def test_operation_ends_as_with_gits_own_server(servers: Pair, operation: Operation) -> None:
    with ThreadPoolExecutor(2) as both:
        wanted, found = both.map(lambda side: play(operation, servers, side), (servers.git, servers.hermes))
    assert asdict(found) == asdict(wanted)
    assert wanted.code == operation.code, wanted.words
    assert wanted.faults == []
