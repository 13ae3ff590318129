"""Clones and fetches as people make them, on our server and on git's own: what arrives is the same.

After git's own tests of fetching: t5551 (HTTP), t5537 (shallow), t5500 (depths), t5616 (partial clones)."""

import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.oracle import Client, Pair, Side, pair

DAY_S = 86400


@dataclass(frozen=True)
class Source:
    """One repository twice: as it is first, and after a while. Nothing here changes them any more."""

    before: Client
    after: Client


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("fetch")) as both:
        yield both


@pytest.fixture(scope="module")
def sources(servers: Pair) -> dict[str, Source]:
    """On each side: five days of main, side and two tags; then two more days, a branch less and one more."""
    return {side.name: _source(servers, side) for side in (servers.git, servers.hermes)}


def _source(servers: Pair, side: Side) -> Source:
    before = servers.client(side, published=False)
    for day in range(1, 6):
        before.write(f"day-{day}.txt", f"{day}\n" * 900)
        before.write("small.txt", f"{day}\n")
        before.do("add -A")
        _commit(before, day)
    before.do("push -q origin main side v1 light")
    after = before.copy("after")
    after.repo = side.fresh()
    after.do(f"remote set-url origin {after.url}", "branch new side", "tag -a v2 -m second", "branch -D side")
    for day in (6, 7):
        _commit(after, day)
    after.do("push -q origin main new v1 v2 light")
    return Source(before, after)


def _commit(client: Client, day: int) -> None:
    date = {"GIT_COMMITTER_DATE": f"{1_750_000_000 + day * DAY_S} +0000"}
    done = client.git("commit", "-q", "--allow-empty", "-m", f"day {day}", env=date)
    assert done.returncode == 0, done.stderr


# ---- what arrives


@dataclass(frozen=True)
class Row:
    """How the clone is made, and what is done in it."""

    name: str
    clone: str
    lines: tuple[str, ...] = ()
    code: int = 0


def row(name: str, clone: str = "", *lines: str, code: int = 0) -> Row:
    return Row(name, clone, lines, code)


SINCE = f"--shallow-since=@{1_750_000_000 + 4 * DAY_S - 9}"
#: The server has moved on.
LATER = "remote set-url origin {later}"
ROWS = [
    row("clone"),
    row("mirror", "--mirror"),
    row("a branch", "--branch=side"),
    row("a tag", "--branch=v1"),
    row("one branch", "--single-branch"),
    row("no tags", "--no-tags"),
    row("depth 1", "--depth=1"),
    row("more depth than there is", "--depth=99"),
    row("since", SINCE),
    row("excluding", "--shallow-exclude=v1"),
    row("no blobs", "--filter=blob:none --no-checkout"),
    row("no trees", "--filter=tree:0 --no-checkout"),
    row("no blobs, then those of a commit", "--filter=blob:none --no-checkout", "checkout -q main~2"),
    row("no trees, then those of a commit", "--filter=tree:0 --no-checkout", "checkout -q main~2"),
    row("no large blobs, then one", "--filter=blob:limit=1k --no-checkout", "show main:day-3.txt"),
    row("no blobs, then all differences", "--filter=blob:none --no-checkout", "log -p --stat main"),
    row("some folders only", "--filter=blob:none --sparse", "sparse-checkout set src"),
    row("no blobs, later", "--filter=blob:none --no-checkout", LATER, "fetch origin"),
    row("no blobs, then all", "--filter=blob:none --no-checkout", "fetch --refetch --no-filter origin"),
    row("deepen", "--depth=1", "fetch --deepen=2"),
    row("shallower", "--depth=3", "fetch --depth=1"),
    row("unshallow", "--depth=1", "fetch --unshallow"),
    row("a branch into a shallow clone", "--depth=1", "fetch origin side:theirs"),
    row("since, later on", "--depth=1", f"fetch {SINCE}"),
    row("excluding, later on", "--depth=1", "fetch --shallow-exclude=v1"),
    row("shallow, later", "--depth=1", LATER, "fetch"),
    row("shallow, later, depth 1", "--depth=1", LATER, "fetch --depth=1"),
    row("nothing new", "", "fetch"),
    row("later", "", LATER, "fetch"),
    row("later, pull", "", LATER, "pull --ff-only"),
    row("later, prune", "", LATER, "fetch --prune"),
    row("later, tags", "--no-tags", LATER, "fetch --tags --force"),
    row("later, one branch", "", LATER, "fetch origin new"),
    row("later, atomic", "", LATER, "fetch --atomic --prune origin"),
    row("later, mirror", "--mirror", LATER, "remote update --prune"),
    row("later, a commit inside a branch", "", LATER, "fetch origin {inside}"),
    row("a branch that is not there", "", "fetch origin none", code=128),
    row("an object that is not there", "", f"fetch origin {'1' * 40}", code=128),
    row("list", "", "ls-remote"),
    row("list HEAD", "", "ls-remote --symref origin HEAD"),
    row("list heads", "", "ls-remote --heads"),
    row("list tags", "", "ls-remote --tags --refs"),
    row("list a pattern", "", "ls-remote origin refs/tags/v*"),
    row("list a pattern without any", "", "ls-remote --exit-code origin none", code=2),
    row("show", "", "remote show origin"),
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """All that a clone or a fetch leaves."""

    code: int
    printed: list[str]
    words: list[str]
    refs: dict[str, str]
    objects: list[str]
    shallow: list[str]


def play(case: Row, source: Source, number: str, *config: str) -> Outcome:
    """One row on one side."""
    names = {"later": source.after.url, "inside": source.after.do("rev-parse main~1")}
    flags = [word for each in config for word in ("-c", each)]
    clone = source.before.clone(*flags, *shlex.split(case.clone), into=f"clone-{number}")
    done = None
    for line in case.lines:
        done = clone.git(*flags, *shlex.split(line.format(**names)))
    have = clone.do("cat-file --batch-all-objects --batch-check=%(objectname)")
    shallow = Path(clone.do("rev-parse --absolute-git-dir")) / "shallow"
    return Outcome(
        code=done.returncode if done else 0,
        printed=_plain(clone, source, done.stdout) if done else [],
        words=_plain(clone, source, done.stderr) if done else [],
        refs=clone.refs() | {"HEAD": clone.do("rev-parse HEAD")},
        objects=have.splitlines(),
        shallow=sorted(shallow.read_text().splitlines()) if shallow.exists() else [],
    )


def _plain(clone: Client, source: Source, text: str) -> list[str]:
    return clone.plain(text.replace(source.after.repo, clone.repo))


def compare(case: Row, sources: dict[str, Source], number: str, *config: str) -> Outcome:
    with ThreadPoolExecutor(2) as both:
        wanted, found = both.map(lambda name: play(case, sources[name], number, *config), ("git", "hermes"))
    assert asdict(found) == asdict(wanted)
    assert wanted.code == case.code, wanted.words
    return wanted


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[each.name for each in ROWS])
def test_fetch_brings_what_gits_own_server_brings(sources: dict[str, Source], number: int) -> None:
    compare(ROWS[number], sources, str(number))


@pytest.mark.parametrize("version", "01")
@pytest.mark.parametrize("name", ["clone", "depth 1", "no blobs", "unshallow", "later, prune", "list HEAD"])
def test_old_protocols_bring_the_same(sources: dict[str, Source], name: str, version: str) -> None:
    case = next(each for each in ROWS if each.name == name)
    compare(case, sources, f"{name}-{version}", f"protocol.version={version}")
