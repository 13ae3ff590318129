"""Many ranks: one after the other through one slot, against a loop of `docker run`; and many side by side."""

import time
from contextlib import closing

from bench._runner_bare import loop
from bench._runner_runs import Runs
from bench._tools import Figures, read_only, say
from bench.idle import Cost, cost
from tests.leftovers import the_process
from tests.service import wait_for

_BATCHES = 10
_SETTLE_S = 15.0
_EACH_S = 5.0  # the most that we wait for each of them
_TIMES = "SELECT min(claimed_at), max(ended_at), count(*) FROM rank WHERE run_id = ?"
_MIB = 1024.0


def measure_ranks(runs: Runs, ranks: int, figures: Figures) -> None:
    """Ranks that do nothing, through one slot: ten runs, and a piece of the loop before each."""
    each = max(ranks // _BATCHES, 1)
    pid, ours, bare = the_process(runs.service, "hermes runner"), [], []
    before, run_id = cost(pid), 0
    for number in range(_BATCHES):
        bare.append(loop(max(each // 5, 1)))
        run_id = runs.again(run_id) if run_id else runs.push("true", each)
        runs.finish(run_id, each * _EACH_S)
        ours.append(_pace(runs, run_id))
        say(f"ranks {(number + 1) * each}  hermes {ours[-1]:.3f} s each  docker run {bare[-1]:.3f} s")
    figures.add("ranks", _BATCHES * each, "ranks")
    figures.median("ranks_each_hermes", ours)
    figures.median("ranks_each_docker_run", bare)
    figures.add("ranks_each_runner_cpu", (cost(pid).cpu_s - before.cpu_s) / (_BATCHES * each), "s")
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    figures.median("ranks_ratio_to_docker_run", ratios, "x")


def _pace(runs: Runs, run_id: int) -> float:
    """Seconds a rank, from the first claim to the last verdict."""
    with closing(read_only(runs.service.data)) as rows:
        began, ended, ranks = rows.execute(_TIMES, (run_id,)).fetchone()
    return float(ended - began) / int(ranks)


def measure_crowd(runs: Runs, ranks: int, figures: Figures) -> None:
    """Ranks that sleep, all at once."""
    pid = the_process(runs.service, "hermes runner")
    runs.finish(runs.push("true", 1), 60)  # everything that is loaded late is loaded
    keeper = the_process(runs.service, "-m hermes.keeper")  # of what they print; outlives the runner
    idle = cost(pid)
    began = time.monotonic()
    run_id = runs.push("exec sleep 3600", ranks, '[run]\ncpus = 1\nmemory = "64M"\n')
    try:
        wait_for(lambda: _all_run(runs, run_id, ranks), ranks * _EACH_S)
        started_s = time.monotonic() - began
        time.sleep(_SETTLE_S)
        now = cost(pid)
        time.sleep(_SETTLE_S)
        later = cost(pid)
        faults = runs.faults(run_id)
        keeper_mib = cost(keeper).rss_mib
    finally:
        began = time.monotonic()
        runs.cancel(run_id)
        wait_for(lambda: runs.progress(run_id).ended == ranks, ranks * _EACH_S)
    _add_crowd(figures, ranks, (idle, now, later))
    figures.add("crowd_keeper_rss", keeper_mib, "MiB")
    figures.add("crowd_faults", len(faults), "attempts")
    for reason in sorted(set(faults)):
        say(f"{faults.count(reason)} attempts failed: {reason}")
    figures.add("crowd_start", started_s, "s")
    figures.add("crowd_cancel", time.monotonic() - began, "s")


def _all_run(runs: Runs, run_id: int, ranks: int) -> bool:
    lost = runs.in_state(run_id, "lost")
    assert not lost, f"{lost} ranks of run {run_id} are lost:\n{runs.service.log[-2000:]}"
    running = runs.in_state(run_id, "running")
    say(f"crowd {running}/{ranks}")
    time.sleep(1)
    return running == ranks


def _add_crowd(figures: Figures, ranks: int, costs: tuple[Cost, Cost, Cost]) -> None:
    idle, now, later = costs
    figures.add("crowd", ranks, "ranks")
    figures.add("crowd_runner_rss", later.rss_mib, "MiB")
    figures.add("crowd_runner_rss_idle", idle.rss_mib, "MiB")
    figures.add("crowd_runner_rss_each", (later.rss_mib - idle.rss_mib) * _MIB / ranks, "KiB")
    figures.add("crowd_runner_cpu", 100 * (later.cpu_s - now.cpu_s) / _SETTLE_S, "%")
