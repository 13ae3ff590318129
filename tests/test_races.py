"""Many pushes at the same moment: who was told yes finds the commit there, whoever was faster or killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from hermes.hold import keep_all
from hermes.paths import Paths
from tests.leftovers import the_process
from tests.oracle import Side, ours, run
from tests.programs import command_lines
from tests.race_tools import (
    ZEROS,
    Racer,
    Upkeep,
    applied,
    begin,
    body,
    children,
    crowded,
    history,
    let_a_minute_pass,
    make_old,
    post_at_once,
    race,
    reaches,
    table,
)
from tests.service import Service, WorkTree, wait_for

MAIN = "refs/heads/main"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An instance where everybody may push at once."""
    with crowded(tmp_path_factory.mktemp("crowd") / "var") as one:
        yield one


@pytest.fixture
def tree(tmp_path: Path) -> WorkTree:
    """A user's repository with one commit."""
    return history(tmp_path / "tree")


# ---- one ref


@pytest.mark.fault(2)
def test_of_50_clients_that_create_a_branch_one_wins_and_49_are_told(
    crowd: Service, tree: WorkTree, tmp_path: Path
) -> None:
    racers = race(crowd, tree, "one-ref", children(tree, 50), tmp_path / "gate")
    won = [racer for racer in racers if racer.won]
    assert [racer.output for racer in racers if not racer.won and not racer.lost_cleanly] == []
    assert len(won) == 1
    side = ours(crowd)
    assert side.refs("one-ref") == {MAIN: won[0].sha}
    assert applied(crowd, "one-ref") == {won[0].sha}
    assert {state for _, _, state in table(crowd, "one-ref")} <= {"applied", "abandoned"}
    assert side.faults("one-ref") == []


@pytest.mark.fault(2)
def test_every_client_that_was_told_yes_finds_its_commit_on_the_branch(
    crowd: Service, tree: WorkTree, tmp_path: Path
) -> None:
    side, won = ours(crowd), list[str]()
    for number in range(3):
        base = side.refs("rounds")[MAIN] if won else "HEAD"
        racers = race(crowd, tree, "rounds", children(tree, 10, base), tmp_path / f"gate-{number}")
        assert [racer.output for racer in racers if not racer.won and not racer.lost_cleanly] == []
        assert any(racer.won for racer in racers)
        won += [racer.sha for racer in racers if racer.won]
    assert [sha for sha in won if not reaches(side, "rounds", MAIN, sha)] == []
    assert applied(crowd, "rounds") == set(won)
    assert side.faults("rounds") == []


@pytest.mark.fault(2)
def test_of_20_requests_that_claim_the_same_old_commit_one_is_answered_ok(
    crowd: Service, tree: WorkTree
) -> None:
    begin(crowd, tree, "stale", f"HEAD:{MAIN}").end()
    old, winners = tree.git("rev-parse", "HEAD"), []
    for _ in range(2):
        new = children(tree, 20, old)
        answers = post_at_once(crowd, "stale", [body(tree, old, sha) for sha in new])
        assert {answer.status_code for answer in answers} == {200}
        said = [b"ok refs/heads/main" in answer.content for answer in answers]
        assert [
            a.content for a, ok in zip(answers, said, strict=True) if not ok and b"ng " not in a.content
        ] == []
        assert said.count(True) == 1
        old = new[said.index(True)]
        winners.append(old)
    side = ours(crowd)
    assert side.refs("stale") == {MAIN: old}
    assert applied(crowd, "stale") == {tree.git("rev-parse", "HEAD"), *winners}
    assert side.faults("stale") == []


@pytest.mark.fault(2)
def test_of_20_requests_that_move_or_delete_a_branch_one_is_answered_ok(
    crowd: Service, tree: WorkTree
) -> None:
    begin(crowd, tree, "torn", f"HEAD:{MAIN}").end()
    old = tree.git("rev-parse", "HEAD")
    moves = [body(tree, old, sha) for sha in children(tree, 10)]
    answers = post_at_once(crowd, "torn", [*moves, *[body(tree, old, ZEROS)] * 10])
    assert sum(b"ok refs/heads/main" in answer.content for answer in answers) == 1
    assert sum(b"ng refs/heads/main" in answer.content for answer in answers) == 19
    assert {state for _, _, state in table(crowd, "torn")} <= {"applied", "abandoned"}
    assert ours(crowd).faults("torn") == []


# ---- many repositories


def test_50_new_repositories_of_three_users_at_once(crowd: Service, tree: WorkTree) -> None:
    tokens = {name: crowd.add_user(name) for name in ("carol", "dave")} | {crowd.user: crowd.token}
    owners = [sorted(tokens)[number % 3] for number in range(50)]
    racers = [
        begin(crowd, tree, f"{owner}/many-{number}:{tokens[owner]}", f"{sha}:{MAIN}")
        for number, (owner, sha) in enumerate(zip(owners, children(tree, 50), strict=True))
    ]
    assert [racer.output for racer in racers if not racer.end().won] == []
    side = ours(crowd)
    for number, racer in enumerate(racers):
        assert side.refs(f"many-{number}") == {MAIN: racer.sha}
        assert applied(crowd, f"many-{number}") == {racer.sha}
        assert side.faults(f"many-{number}") == []


def test_first_pushes_that_race_to_make_a_repository_are_all_in_it(crowd: Service, tree: WorkTree) -> None:
    racers = {
        f"twice-{number}": [
            begin(crowd, tree, f"twice-{number}", f"{sha}:refs/heads/b{at}")
            for at, sha in enumerate(children(tree, 4))
        ]
        for number in range(3)
    }
    for repo, each in racers.items():
        assert [racer.output for racer in each if not racer.end().won] == []
        assert ours(crowd).refs(repo) == {racer.ref: racer.sha for racer in each}
        assert ours(crowd).faults(repo) == []
    assert not [path for path in (crowd.data / "repos").iterdir() if path.suffix != ".git"]


# ---- maintenance meanwhile


def at_once(service: Service, tree: WorkTree, repo: str, specs: list[str]) -> None:
    """All of them succeed."""
    racers = [begin(service, tree, repo, spec) for spec in specs]
    assert [racer.output for racer in racers if not racer.end().won] == []


def test_pushes_and_clones_during_maintenance_lose_nothing(
    crowd: Service, tree: WorkTree, tmp_path: Path
) -> None:
    at_once(crowd, tree, "swing", [f"HEAD:{MAIN}"])
    side, made = ours(crowd), children(tree, 30, size=20_000)
    forced, more = children(tree, 10, size=20_000), list[str]()
    with keep_all(Paths(crowd.data), lambda: None), Upkeep(side.bare("swing")) as upkeep:  # not two at a time
        for at in range(0, 30, 10):
            wave = [f"{sha}:refs/heads/topic/{at + n}" for n, sha in enumerate(made[at : at + 10])]
            at_once(crowd, tree, "swing", wave)
        clones = [tmp_path / f"clone-{number}" for number in range(3)]
        cloning = [threading.Thread(target=clone, args=(side, "swing", folder)) for folder in clones]
        for thread in cloning:
            thread.start()
        at_once(crowd, tree, "swing", [f"+{sha}:refs/heads/topic/{n}" for n, sha in enumerate(forced)])
        at_once(crowd, tree, "swing", [f":refs/heads/topic/{n}" for n in range(5, 15)])
        for thread in cloning:
            thread.join()
        while len(upkeep.ok) < 4:  # both kinds of upkeep, twice, and at no moment of them without a push
            more += children(tree, 1, size=20_000)
            at_once(crowd, tree, "swing", [f"+{more[-1]}:refs/heads/more"])
    assert all(upkeep.ok)
    for path in (side.bare("swing") / "objects" / "pack").iterdir():
        make_old(path)
    assert upkeep.once(full=True)  # now whatever nothing refers to is old enough to be thrown away
    assert [sha for sha in made + forced + more if not side.has("swing", sha)] == []
    topics = {n: sha for n, sha in enumerate(forced[:5] + made[5:]) if not 5 <= n < 15}
    wanted = {f"refs/heads/topic/{n}": sha for n, sha in topics.items()}
    wanted |= {"refs/heads/more": more[-1]} if more else {}
    assert side.refs("swing") == wanted | {MAIN: tree.git("rev-parse", "HEAD")}
    assert side.faults("swing") == []
    for folder in clones:
        assert run("git", "fsck", "--strict", "--full", cwd=folder).returncode == 0


def test_push_does_not_wait_for_maintenance(crowd: Service, tree: WorkTree) -> None:
    for n, sha in enumerate(children(tree, 5, size=200_000)):
        at_once(crowd, tree, "busy", [f"{sha}:refs/heads/b{n}"])
    bare = ours(crowd).bare("busy")
    with keep_all(Paths(crowd.data), lambda: None), Upkeep(bare) as upkeep:
        held = wait_for(lambda: hold_repack(bare))
        try:
            for sha in children(tree, 5, size=1000):
                at_once(crowd, tree, "busy", [f"+{sha}:{MAIN}"])
        finally:
            os.kill(held, signal.SIGCONT)
    assert all(upkeep.ok)


def hold_repack(bare: Path) -> int:
    """Stop the git that joins the packs of a repository, if there is one just now."""
    for number, line in command_lines().items():
        if line.startswith(f"git --git-dir={bare} ") and " repack " in line:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGSTOP)
            while (state := state_of(number)) not in "TZX":
                time.sleep(0.01)
            if state == "T":
                return number
    return 0


def state_of(number: int) -> str:
    """Of a process: T when it is stopped, X when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def clone(side: Side, repo: str, into: Path) -> None:
    run("git", "clone", "-q", "--bare", side.url(repo), str(into), cwd=into.parent, env=side.env)


# ---- whoever is killed


def settled(service: Service, repo: str) -> set[tuple[str, str]]:
    """What was applied when nobody is in doubt any more: refs and commits."""
    let_a_minute_pass(service)
    wait_for(lambda: all(state != "received" for _, _, state in table(service, repo)))
    return {(ref, sha) for ref, sha, state in table(service, repo) if state == "applied"}


def is_clean(side: Side, repo: str) -> None:
    """Nothing is broken, and what the dead have left is gone after a day."""
    bare = side.bare(repo)
    for folder, _, names in os.walk(bare):  # which bears that git children of the dead may still be at work
        for name in (".", *names):
            with suppress(FileNotFoundError):
                make_old(Path(folder, name))
    wait_for(lambda: Upkeep(bare).once(full=True))  # they may still pack
    wait_for(lambda: not side.faults(repo))  # the service's own upkeep holds a lock for a moment


@pytest.mark.fault(3)
def test_clients_that_are_killed_leave_rows_and_refs_that_agree(crowd: Service, tree: WorkTree) -> None:
    at_once(crowd, tree, "killed", [f"HEAD:{MAIN}"])
    moments = sorted(Random(3).random() / 2 for _ in range(5))
    racers = [
        begin(crowd, tree, "killed", f"{sha}:refs/heads/{sha[:8]}")
        for sha in children(tree, 10, size=500_000)
    ]
    began = time.monotonic()
    for moment, racer in zip(moments, racers[::2], strict=True):
        time.sleep(max(began + moment - time.monotonic(), 0))
        racer.kill()
    for racer in racers:
        racer.end()
    assert [racer.output for racer in racers[1::2] if not racer.won] == []
    rows = settled(crowd, "killed")
    side = ours(crowd)
    assert set(side.refs("killed").items()) == rows
    assert [racer.ref for racer in racers if racer.won and (racer.ref, racer.sha) not in rows] == []
    is_clean(side, "killed")


def push_on(service: Service, tree: WorkTree, ref: str, stop: threading.Event, racers: list[Racer]) -> None:
    """One commit after the other, each on the newest that was acknowledged, whatever else is there."""
    parent = "HEAD"
    while not stop.is_set():
        racer = begin(service, tree, "mortal", f"+{children(tree, 1, parent)[0]}:{ref}").end()
        racers.append(racer)
        if racer.won:
            parent = racer.sha
        else:
            stop.wait(0.5)


def kill_amid_pushes(mortal: Service, tree: WorkTree, chance: Random) -> list[Racer]:
    """Five times, each after somebody was told yes; all pushes, those that failed as well."""
    stop, racers = threading.Event(), list[Racer]()
    with ThreadPoolExecutor() as threads:
        refs = [f"refs/heads/b{n}" for n in range(2)]
        people = [threads.submit(push_on, mortal, tree, ref, stop, racers) for ref in refs]
        try:
            for _ in range(5):
                before = won(racers)
                wait_for(lambda before=before: won(racers) > before)  # type: ignore[misc]
                time.sleep(chance.random())
                os.kill(the_process(mortal, "hermes web"), signal.SIGKILL)
                wait_for(mortal.answers)
            time.sleep(chance.random())
        finally:
            stop.set()
        for each in people:
            each.result()
    return racers


def won(racers: list[Racer]) -> int:
    return sum(racer.won for racer in racers)


def kill_and_compare(data: Path, tree: WorkTree, chance: Random) -> None:
    with crowded(data, HERMES_MAINTENANCE="1s") as mortal:
        racers = kill_amid_pushes(mortal, tree, chance)
        rows, kept = settled(mortal, "mortal"), [(racer.ref, racer.sha) for racer in racers if racer.won]
        side = ours(mortal)
        assert len(kept) >= 5
        assert [each for each in kept if each not in rows] == []
        assert [each for each in kept if not reaches(side, "mortal", *each)] == []
        assert set(side.refs("mortal").items()) <= rows
        is_clean(side, "mortal")


@pytest.mark.fault(1)
def test_services_that_are_killed_ten_times_amid_pushes_lose_none(tmp_path: Path, tree: WorkTree) -> None:
    with ThreadPoolExecutor() as threads:  # two instances, since most of the time is waiting for their start
        both = [threads.submit(kill_and_compare, tmp_path / f"var-{n}", tree, Random(n)) for n in range(2)]
        for each in both:
            each.result()
