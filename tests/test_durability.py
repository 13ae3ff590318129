"""What a client was told is on the disk: the order of writes, and what a power cut at that moment leaves."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes import pushes
from hermes.accounts import add_user
from hermes.at_once import ask_in
from hermes.cause import Sender
from hermes.disk import sync
from hermes.git import init_bare
from hermes.process import Context, open_context
from hermes.pushes import RefUpdate
from hermes.reconcile import resolve_push
from hermes.repos import get_or_make_writable
from hermes.settings import Settings
from hermes.tables import Push
from tests.leftovers import the_process
from tests.oracle import Side, run
from tests.power import Disk, device_of
from tests.race_tools import ZEROS, begin, children, crowded, history, table
from tests.service import Service
from tests.strace import straced
from tests.test_faults import rows

CALLS = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,write,sendto,sendmsg,unlink,unlinkat"
WAL = r"^f(data)?sync\(\d+<.*/hermes\.db-wal>"


@dataclass(frozen=True)
class Step:
    """Something that must happen, when all of `after` have ended."""

    name: str
    pattern: str
    after: tuple[str, ...] = ()


#: For one ref; `{ref}` is its name, `{folder}` where its file lies.
STEPS = (
    Step("pack synced", r"^fsync\(.*/tmp_objdir-incoming-\w+/pack/tmp_pack_\w+>"),
    Step("index synced", r"^fsync\(.*/tmp_objdir-incoming-\w+/pack/tmp_idx_\w+>"),
    Step("row begun", r"^write\(2<.*push received ", ("pack synced", "index synced")),
    Step("row received", WAL, ("row begun",)),
    Step("pack in place", r'^(link|rename)\(.*, ".*/objects/pack/pack-\w+\.pack"', ("row received",)),
    Step("index in place", r'^(link|rename)\(.*, ".*/objects/pack/pack-\w+\.idx"', ("row received",)),
    Step("ref written", r"^fsync\(.*/{ref}\.lock>", ("pack in place", "index in place")),
    Step("ref moved", r'^rename\(".*/{ref}\.lock", ".*/{ref}"', ("ref written",)),
    Step("pack's name synced", r"^fsync\(\d+<.*\.git/objects/pack>", ("ref moved",)),
    Step("ref's name synced", r"^fsync\(\d+<.*\.git/{folder}>", ("ref moved",)),
    Step("row settled", r"^write\(2<.*push applied ", ("pack's name synced", "ref's name synced")),
    Step("row applied", WAL, ("row settled",)),
    Step("answer", r"^send(to|msg)\(\d+<TCP.*unpack ok.*ok {ref}", ("row applied",)),
)
ONCE = ("ref moved", "answer", "pack in place", "row begun", "row settled")


@dataclass(frozen=True)
class Call:
    """A system call: where in the trace it began and ended."""

    began: int
    ended: int
    words: str


def read_trace(text: str) -> list[Call]:
    """Calls in the order of their beginning; those that others interrupted are put together."""
    calls, open_calls = [], dict[str, tuple[int, str]]()
    for at, line in enumerate(text.splitlines()):
        pid, _, words = re.sub(r"^(\d+) +\S+ ", r"\1 ", line).partition(" ")
        if words.endswith(" <unfinished ...>"):
            open_calls[pid] = at, words.removesuffix(" <unfinished ...>")
        elif found := re.match(r"<\.\.\. \w+ resumed>", words):
            began, start = open_calls.pop(pid, (at, ""))
            calls.append(Call(began, at, start + words[found.end() :]))
        else:
            calls.append(Call(at, at, words))
    return sorted(calls, key=lambda call: call.began)


def misplaced(calls: list[Call], ref: str) -> list[str]:
    """The steps that are not where they must be."""
    found: dict[str, Call] = {}
    wrong = []
    for step in STEPS:
        pattern = step.pattern.format(ref=ref, folder=ref.rpartition("/")[0])
        hits = [call for call in calls if re.search(pattern, call.words)]
        earliest = max((found[name].ended for name in step.after if name in found), default=-1)
        later = [call for call in hits if call.began > earliest]
        if not later or (step.name in ONCE and len(hits) != 1):
            wrong.append(f"{step.name}: {len(hits)} of {pattern}, {len(later)} in time")
            continue
        found[step.name] = later[0]
    return wrong


@contextmanager
def traced(service: Service, into: Path) -> Iterator[None]:
    """What the service and its children do on files and sockets goes into a file."""
    flags = ("-f", "-tt", "-yy", "-s", "300", "-o", into, "-e", f"trace={CALLS}")
    with straced(the_process(service, "hermes web"), *flags):
        yield


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with crowded(tmp_path_factory.mktemp("watched") / "var") as one:
        yield one


@pytest.mark.fault(25)
@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/feature/deep"])
def test_nothing_is_answered_before_it_is_on_the_disk(watched: Service, tmp_path: Path, ref: str) -> None:
    tree = history(tmp_path / "tree")
    sha = children(tree, 1)[0]
    with traced(watched, tmp_path / "trace"):
        assert begin(watched, tree, "traced", f"{sha}:{ref}").end().won
    assert misplaced(read_trace((tmp_path / "trace").read_text(errors="replace")), ref) == []


@pytest.mark.fault(25)
def test_new_repository_is_synced_before_it_has_its_name(watched: Service, tmp_path: Path) -> None:
    tree = history(tmp_path / "tree")
    with traced(watched, tmp_path / "trace"):
        assert begin(watched, tree, "fresh", "HEAD:refs/heads/main").end().won
    calls = read_trace((tmp_path / "trace").read_text(errors="replace"))
    at = next(n for n, call in enumerate(calls) if re.match(r'rename\(".*/\d+\.[0-9a-f]{8}", ', call.words))
    before = "\n".join(call.words for call in calls[:at])
    for name in ("HEAD", "config", "refs/heads", "objects/pack"):
        assert re.search(rf"^fsync\(\d+<.*/\d+\.[0-9a-f]{{8}}/{name}>", before, re.MULTILINE), name
    assert any(re.match(r"fsync\(\d+<.*/repos>", call.words) for call in calls[at:])


# ---- the power is cut


def test_what_is_cut_off_is_of_this_moment_and_only_what_was_synced(tmp_path: Path) -> None:
    """Also where somebody holds the devices of earlier cuts, as each `mount` of this machine does shortly."""
    with ExitStack() as held:
        disk = Disk(tmp_path)
        with disk as mounted:
            for words in ("one", "two", "three"):
                (mounted / "file").write_text(words)
                sync([mounted / "file", mounted])
                (mounted / f"not synced {words}").touch()
                with disk.cut() as found:
                    assert (found / "file").read_text() == words
                    assert not (found / f"not synced {words}").exists()
                    held.enter_context(device_of(found).open("rb"))


@pytest.mark.fault(25)
def test_power_cut_right_after_the_answer_takes_nothing_back(tmp_path: Path) -> None:
    tree, disk, main, deep = history(tmp_path / "tree"), Disk(tmp_path), "refs/heads/main", "refs/heads/a/b"
    first, second, other = children(tree, 3)
    later = children(tree, 1, first)[0]
    operations: list[tuple[str, dict[str, str]]] = [
        (f"{first}:{main}", {main: first}),
        (f"{second}:{deep}", {main: first, deep: second}),
        (f"{later}:{main}", {main: later, deep: second}),
        (f"+{other}:{deep}", {main: later, deep: other}),
        (f":{deep}", {main: later}),
    ]
    with disk as mounted, crowded(mounted / "var") as service:
        for number, (spec, wanted) in enumerate(operations, 1):
            with closing(sqlite3.connect(service.data / "hermes.db")) as database:
                database.execute("PRAGMA wal_checkpoint(RESTART)")  # a log that does not grow syncs no names
            assert begin(service, tree, "cut", spec).end().won
            with disk.cut() as found:
                copy = Service(found / "var", {})
                side = Side("cut", "", copy.data, copy)
                assert (spec, side.refs("cut")) == (spec, wanted)
                assert side.faults("cut") == []
                assert [state for _, _, state in table(copy, "cut")] == ["applied"] * number
                kept = run("git", "for-each-ref", "refs/hermes/keep", cwd=side.bare("cut")).stdout
                assert [sha in kept for sha in (second, other)] == [number > 3, number > 4]


# ---- a push whose end nobody saw

A, B = "a" * 40, "b" * 40
FATES = [
    ("deleted", (A, ZEROS), "", "applied"),
    ("not deleted", (A, ZEROS), A, "abandoned"),
    ("set back", (B, A), A, "applied"),
    ("not set back", (B, A), B, "abandoned"),
    ("made", (ZEROS, A), A, "applied"),
    ("made and moved on", (ZEROS, A), B, "applied"),
    ("not made", (ZEROS, A), "", "abandoned"),
    ("somebody else was faster", (ZEROS, B), A, "abandoned"),
]


@pytest.mark.parametrize(("name", "update", "now", "state"), FATES, ids=[fate[0] for fate in FATES])
async def test_half_done_push_is_judged_by_its_ref(
    tmp_path: Path, name: str, update: tuple[str, str], now: str, state: str
) -> None:
    """A is the parent of B."""
    tree = history(tmp_path / "tree")
    real = {A: tree.git("rev-parse", "HEAD"), B: children(tree, 1)[0], ZEROS: ZEROS}
    async with open_context(Settings(data=tmp_path / "var", redis_url="none")) as context:
        push = await received(context, RefUpdate("refs/heads/main", real[update[0]], real[update[1]]))
        bare = context.paths.repo(push.repo_id)
        tree.git("push", "-q", str(bare), f"{real[B]}:refs/heads/objects")
        if now:
            tree.git("push", "-q", str(bare), f"{real[now]}:refs/heads/main")
        await resolve_push(context, push)
    assert rows(tmp_path / "var", "SELECT state FROM push") == [(state,)]


async def received(context: Context, update: RefUpdate) -> Push:
    """As a crash leaves it, in a repository that is there."""
    async with context.database.write() as session:
        user = await add_user(session, "ada")
        repo = await get_or_make_writable(session, user, "ada", "half")
        push = await session.run_sync(
            lambda plain: pushes.receive(ask_in(plain), repo.id, Sender(user.id), update, None, "subject")
        )
    init_bare(context.paths.repo(repo.id))
    return push


async def test_who_saw_the_ref_move_is_believed_after_somebody_who_looked_too_early(tmp_path: Path) -> None:
    """The service slept for a minute between its row and git's move, and another process gave the push up."""
    tree = history(tmp_path / "tree")
    sha = tree.git("rev-parse", "HEAD")
    async with open_context(Settings(data=tmp_path / "var", redis_url="none")) as context:
        push = await received(context, RefUpdate("refs/heads/main", ZEROS, sha))
        await resolve_push(context, push)
        assert rows(tmp_path / "var", "SELECT state FROM push") == [("abandoned",)]
        tree.git("push", "-q", str(context.paths.repo(push.repo_id)), "HEAD:refs/heads/main")
        async with context.database.write() as session:
            await pushes.apply(session, push)
        await resolve_push(context, push)
    assert rows(tmp_path / "var", "SELECT state FROM push") == [("applied",)]
