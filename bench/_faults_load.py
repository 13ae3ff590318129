"""bench.faults: very many pushes, at work and in races; none may be lost, nothing may grow."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from bench._tools import Figures, instance, read_only, say, scratch
from tests.leftovers import the_process
from tests.programs import shell
from tests.race_tools import CROWDED, ZEROS, applied, body, children, history, post_at_once
from tests.service import Service, WorkTree, wait_for

_AT_ONCE = 4
_RACERS = 8
_REPOS = 5
_PATIENCE_S = 1800.0
_PAGE_KIB = 4


def _memory_mib(service: Service) -> dict[str, float]:
    """{process: resident MiB} of those of the Procfile."""
    pids = {name: the_process(service, f"hermes {name}") for name in ("web", "builder", "runner")}
    pages = {name: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for name, pid in pids.items()}
    return {name: count * _PAGE_KIB / 1024 for name, count in pages.items()}


def _push_all(service: Service, pushes: int, name: str) -> int:
    """How many were not taken, to repositories of this name."""

    def one(repo: int) -> int:
        refused = 0
        tree = service.worktree(shell("echo 0"), f"{name}-{repo}")
        for number in range(pushes // _REPOS):
            tree.write(shell(f"echo {number}"))
            tree.commit(f"{number}")
            refused += service.push(tree, "detach", repo=f"{name}-{repo}").code != 0
        return refused

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return sum(threads.map(one, range(_REPOS)))


def measure_load(pushes: int, figures: Figures) -> None:
    """Each with a build and a run, by the local executor."""
    with instance("local", {"HERMES_TRUST": "all", "HERMES_PUSH_RATE": "100000"}) as service:
        service.settled(service.push(shell("echo first"), "detach"))
        _push_all(service, _REPOS * 4, "warm-up")  # what every process loads with its first work is no growth
        before, began = _memory_mib(service), time.monotonic()
        refused = _push_all(service, pushes, "load")
        taken_s = time.monotonic() - began
        done = "SELECT count(*) FROM run WHERE ended_at IS NULL"
        with closing(read_only(service.data)) as rows:
            wait_for(lambda: rows.execute(done).fetchone()[0] == 0, _PATIENCE_S)
            bad = rows.execute("SELECT count(*) FROM run WHERE state != 'succeeded'").fetchone()[0]
        figures.add("load_pushes_refused", refused, "", most=0)
        figures.add("load_runs_not_succeeded", bad, "", most=0)
        figures.add("load_push_taken_each", taken_s / pushes, "s")
        figures.add("load_until_all_had_ended", time.monotonic() - began, "s")
        for name, mib in _memory_mib(service).items():
            figures.add(f"load_{name}_memory_grew", mib - before[name], "MiB", most=32)


def measure_race(pushes: int, figures: Figures) -> None:
    """Eight at a time claim the same old commit."""
    with scratch() as folder, instance("local", CROWDED) as service:
        tree = history(folder / "tree")
        old, winners, asked, unclear = tree.git("rev-parse", "HEAD"), [], 0, 0
        first = post_at_once(service, "race", [body(tree, ZEROS, old)])
        assert b"ok refs/heads/main" in first[0].content, first[0].text
        began = time.monotonic()
        while asked < pushes:
            shas = children(tree, _RACERS, old)
            answers = post_at_once(service, "race", _bodies(tree, old, shas))
            asked += len(answers)
            said = [b"ok refs/heads/main" in answer.content for answer in answers]
            unclear += sum(not ok and b"ng " not in a.content for ok, a in zip(said, answers, strict=True))
            assert said.count(True) == 1, f"{said.count(True)} of {_RACERS} were told ok"
            old = shas[said.index(True)]
            winners.append(old)
            if asked % 1000 < _RACERS:
                say(f"race: {asked} pushes, {len(winners)} won")
        missing = set(winners) - applied(service, "race")
        bare = next((service.data / "repos").glob("*.git"))
        chain = subprocess.run(
            ["git", "rev-list", "main"], cwd=bare, capture_output=True, text=True, check=True
        ).stdout.split()
        figures.add("race_pushes", asked, "")
        figures.add("race_each", (time.monotonic() - began) / asked, "s")
        figures.add("race_answers_without_a_clear_word", unclear, "", most=0)
        figures.add("race_acknowledged_and_lost", len(missing | (set(winners) - set(chain))), "", most=0)


def _bodies(tree: WorkTree, old: str, shas: list[str]) -> list[bytes]:
    return [body(tree, old, sha) for sha in shas]
