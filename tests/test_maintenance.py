"""Repositories are kept quick behind everybody's back, and nothing that somebody has pushed goes away."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserver.maintenance import State, clear, look, maintain
from hermes.git import GitLimits, init_bare
from hermes.hold import keep_all
from hermes.paths import Paths
from tests.leftovers import the_process
from tests.oracle import ours, run
from tests.race_tools import Racer, Upkeep, begin, children, crowded, history, make_old
from tests.service import Service, WorkTree, wait_for

MAIN = "refs/heads/main"
LIMITS = GitLimits()
NOW = 1_000_000_000.0


@pytest.fixture(scope="module")
def tidy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance that cleans up as soon as nobody pushes for a second."""
    with crowded(tmp_path_factory.mktemp("tidy") / "var", HERMES_MAINTENANCE="1s") as one:
        yield one


@pytest.fixture
def tree(tmp_path: Path) -> WorkTree:
    """A user's repository with one commit."""
    return history(tmp_path / "tree")


@pytest.fixture
def bare(tmp_path: Path, tree: WorkTree) -> Path:
    """A repository as the service has it, with one push."""
    folder = tmp_path / "repos" / "1.git"
    init_bare(folder)
    receive = "git -c receive.unpackLimit=1 receive-pack"  # as a pack, as the service does
    tree.git("push", "-q", f"--receive-pack={receive}", str(folder), f"HEAD:{MAIN}")
    return folder


def push(service: Service, tree: WorkTree, repo: str, spec: str) -> Racer:
    """One that succeeds."""
    racer = begin(service, tree, repo, spec).end()
    assert racer.won, racer.output
    return racer


def is_left_alone(bare: Path) -> bool:
    """Whether nothing goes on in it, and nothing will before the next push."""
    return (found := look(bare)).maintained_at > found.changed_at


def has(bare: Path, sha: str) -> bool:
    return run("git", "cat-file", "-e", sha, cwd=bare).returncode == 0


def stray(bare: Path, tree: WorkTree, sha: str) -> Path:
    """A pack that nothing refers to, as a push leaves it that dies before its ref moves."""
    pack = subprocess.run(
        ["git", "pack-objects", "-q", "--revs", str(bare / "objects/pack/pack")],
        cwd=tree.folder, input=f"{sha}\n^HEAD\n".encode(), capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    return bare / f"objects/pack/pack-{pack}.pack"


# ---- the schedule


DUE = [
    ("never maintained, quiet", State(1, NOW - 700, 0, 0), True),
    ("pushed to a moment ago", State(1, NOW - 1, 0, 0), False),
    ("pushed to a moment ago, many packs", State(50, NOW - 1, 0, 0), True),
    ("not pushed to since", State(3, NOW - 9000, NOW - 8000, NOW - 8000), False),
    ("not pushed to since, many packs", State(99, NOW - 9000, NOW - 8000, NOW - 8000), False),
    ("pushed to since, quiet", State(3, NOW - 700, NOW - 8000, NOW - 8000), True),
]


@pytest.mark.parametrize(("name", "state", "due"), DUE, ids=[name for name, _, _ in DUE])
def test_repository_is_due_when_something_is_gained_and_nobody_pushes(
    name: str, state: State, due: bool
) -> None:
    assert state.is_due(NOW, 600.0) is due


def test_many_pushes_become_few_packs_and_then_it_is_left_alone(
    tidy: Service, tree: WorkTree, tmp_path: Path
) -> None:
    made = children(tree, 12, size=9000)
    racers = [begin(tidy, tree, "many", f"{sha}:refs/heads/b{n}") for n, sha in enumerate(made)]
    assert [racer.output for racer in racers if not racer.end().won] == []
    side, many = ours(tidy), ours(tidy).bare("many")
    wait_for(lambda: look(many).packs <= 3 and list((many / "objects/info").glob("commit-graph*/*")))
    wait_for(lambda: is_left_alone(many))
    then = look(many)
    assert side.refs("many") == {racer.ref: racer.sha for racer in racers}
    done = run("git", "clone", "-q", "--bare", side.url("many"), "clone", cwd=tmp_path, env=side.env)
    assert done.returncode == 0, done.stderr
    assert run("git", "fsck", "--strict", "--full", cwd=tmp_path / "clone").returncode == 0
    for other in ("other", "another"):  # two more rounds of it, for others
        push(tidy, tree, other, f"HEAD:{MAIN}")
        wait_for((side.bare(other) / "hermes-maintained").exists)
    assert look(many) == then
    assert side.faults("many") == []


def test_repository_that_is_broken_is_told_of_and_does_not_stop_the_others(
    tidy: Service, tree: WorkTree
) -> None:
    with keep_all(Paths(tidy.data), lambda: None):  # meanwhile nothing is joined
        for n, sha in enumerate(children(tree, 2, size=9000)):
            push(tidy, tree, "broken", f"{sha}:refs/heads/b{n}")
        bare = ours(tidy).bare("broken")
        packs = bare / "objects" / "pack"
        pack = next(packs.glob("*.pack"))
        pack.chmod(0o644)
        os.truncate(pack, 100)
        os.utime(packs)
    (tidy.data / "repos" / "word.git").write_text("not a repository")
    (tidy.data / "repos" / "88.git").mkdir()
    told = re.compile(rf"maintenance failed .*\b{re.escape(bare.name)}")
    wait_for(lambda: told.search(tidy.log))
    push(tidy, tree, "sound", f"HEAD:{MAIN}")
    wait_for((ours(tidy).bare("sound") / "hermes-maintained").exists)


# ---- what goes

LEFT = [
    ("objects/tmp_objdir-incoming-x1y2z3", "pack/tmp_pack_a", b"half a pack"),
    ("objects/pack/tmp_pack_b", "", b"half a pack"),
    ("objects/pack/tmp_idx_c", "", b"half an index"),
    ("objects/pack/pack-1.keep", "", b"receive-pack 4711 on host\n"),
]


@pytest.mark.parametrize(("left", "inside", "content"), LEFT, ids=[left for left, _, _ in LEFT])
def test_what_dead_pushes_have_left_goes_after_a_day(
    bare: Path, left: str, inside: str, content: bytes
) -> None:
    file = bare / left / inside
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    make_old(bare / left, 0.9)
    assert maintain(bare, LIMITS) and file.exists()
    make_old(bare / left, 0.2)
    assert maintain(bare, LIMITS) and not (bare / left).exists()


def test_objects_that_nothing_refers_to_go_after_a_day(bare: Path, tree: WorkTree) -> None:
    young, old = children(tree, 2, size=5000)
    stray(bare, tree, young)
    pack = stray(bare, tree, old)
    for file in (pack, pack.with_suffix(".idx")):
        make_old(file)
    assert Upkeep(bare).once(full=True)
    assert [has(bare, sha) for sha in (young, old)] == [True, False]
    assert run("git", "fsck", "--full", "--strict", cwd=bare).returncode == 0


def test_what_an_operator_keeps_stays(bare: Path) -> None:
    mark = next((bare / "objects/pack").glob("*.pack")).with_suffix(".keep")
    mark.write_text("for the audit\n")
    make_old(mark)
    assert maintain(bare, LIMITS) and mark.exists()


LOCKS = ["refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "objects/pack/multi-pack-index.lock"]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_of_a_program_that_is_gone_does_not_stay_for_ever(bare: Path, lock: str) -> None:
    (bare / lock).touch()
    made = (bare / lock).stat().st_mtime
    clear(bare.parent, made - 5)
    assert (bare / lock).exists()  # made after the service began: somebody's
    clear(bare.parent, made + 5)
    assert not (bare / lock).exists()
    (bare / lock).touch()
    make_old(bare / lock, 0.1)
    maintain(bare, LIMITS)
    assert not (bare / lock).exists()


def test_branch_that_a_power_cut_has_left_locked_takes_pushes_after_the_next_start(
    tidy: Service, tree: WorkTree
) -> None:
    push(tidy, tree, "locked", f"HEAD:{MAIN}")
    lock, half = ours(tidy).bare("locked") / f"{MAIN}.lock", tidy.data / "repos" / "77.0a1b2c3d"
    lock.touch()
    half.mkdir()
    refused = begin(tidy, tree, "locked", f"{children(tree, 1)[0]}:{MAIN}").end()
    assert refused.lost_cleanly, refused.output
    os.kill(the_process(tidy, "hermes web"), signal.SIGKILL)  # it is started again
    wait_for(lambda: not lock.exists() and not half.exists())
    wait_for(tidy.answers)
    push(tidy, tree, "locked", f"{children(tree, 1)[0]}:{MAIN}")


# ---- what stays


def test_what_branches_have_left_behind_is_kept_whatever_its_age(tidy: Service, tree: WorkTree) -> None:
    old, deleted, tagged, new = children(tree, 4, size=5000)
    for spec in (f"{old}:{MAIN}", f"{deleted}:refs/heads/gone", f"{tagged}:refs/tags/v1", f"+{new}:{MAIN}"):
        push(tidy, tree, "left", spec)
    push(tidy, tree, "left", ":refs/heads/gone")
    push(tidy, tree, "left", f"+{new}:refs/tags/v1")
    side = ours(tidy)
    wait_for(lambda: is_left_alone(side.bare("left")))
    for file in (side.bare("left") / "objects/pack").iterdir():
        make_old(file)
    assert Upkeep(side.bare("left")).once(full=True)
    assert [side.has("left", sha) for sha in (old, deleted, tagged, new)] == [True] * 4
    assert side.refs("left") == {MAIN: new, "refs/tags/v1": new}
    assert side.faults("left") == []


def test_refs_that_keep_are_not_shown_pushed_to_deleted_or_fetched(
    tidy: Service, tree: WorkTree, tmp_path: Path
) -> None:
    kept = children(tree, 1)[0]
    push(tidy, tree, "hidden", f"{kept}:{MAIN}")
    push(tidy, tree, "hidden", f"+HEAD:{MAIN}")
    side, name = ours(tidy), f"refs/hermes/keep/{kept}"
    assert name in run("git", "for-each-ref", cwd=side.bare("hidden")).stdout
    for version in (0, 1, 2):
        ask = ("git", "-c", f"protocol.version={version}")
        listed = run(*ask, "ls-remote", side.url("hidden"), cwd=tmp_path, env=side.env)
        assert listed.returncode == 0 and "refs/hermes" not in listed.stdout
        fetched = run(*ask, "fetch", side.url("hidden"), f"{name}:x", cwd=tree.folder, env=side.env)
        assert "couldn't find remote ref" in fetched.stderr
        mirror = tmp_path / f"mirror-{version}"
        run(*ask, "clone", "--mirror", side.url("hidden"), str(mirror), cwd=tmp_path, env=side.env)
        assert run("git", "for-each-ref", "--format=%(refname)", cwd=mirror).stdout == f"{MAIN}\n"
    for spec in (f":{name}", f"+HEAD:{name}", "HEAD:refs/hermes/keep/mine"):
        assert begin(tidy, tree, "hidden", spec).end().process.returncode == 1
    assert name in run("git", "for-each-ref", cwd=side.bare("hidden")).stdout


def test_push_whose_past_cannot_be_kept_is_refused(tidy: Service, tree: WorkTree) -> None:
    old = children(tree, 1)[0]
    push(tidy, tree, "full", f"{old}:{MAIN}")
    lock = ours(tidy).bare("full") / f"refs/hermes/keep/{old}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()  # as good as a full disk
    refused = begin(tidy, tree, "full", f"+HEAD:{MAIN}").end()
    assert refused.lost_cleanly, refused.output
    assert ours(tidy).refs("full") == {MAIN: old}
    lock.unlink()
    push(tidy, tree, "full", f"+HEAD:{MAIN}")
