"""From a free slot to the first byte of a program, and from the end of a program to the next in its slot.

One slot, a run of a few ranks, so that the first finds the slot free and each other one waits for it. After
it as many bare `docker run` and as many starts by the engine's own calls, in turns."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from bench._runner_bare import Engine, until_first_byte
from bench._runner_runs import Runs
from bench._runner_trace import Moments, engine_events, next_stages, read_moments
from bench._tools import Figures, read_only, say

_RANKS = 6
_PROGRAM = "echo first"
_MOST_OVER_S = 0.050
_MOST_S = 120.0
_QUEUED = "SELECT created_at FROM run WHERE id = ?"

Samples = dict[str, list[float]]


def measure_start(runs: Runs, folder: Path, rounds: int, figures: Figures) -> None:
    """All of it; the first round warms up."""
    samples: Samples = defaultdict(list)
    engine = Engine()
    try:
        with engine_events(folder) as events:
            run_id = runs.push(_PROGRAM, _RANKS)
            runs.finish(run_id, _MOST_S)
            for number in range(rounds):
                run_id = runs.again(run_id)
                runs.finish(run_id, _MOST_S)
                _bare(engine, samples)
                for name, seconds in _ours(runs.service.data, events, run_id):
                    samples[name].append(seconds)
                last = f"free slot {samples['free'][-1]:.3f} s  next {samples['next'][-1]:.3f} s"
                say(f"start {number + 1}/{rounds}  {last}  docker run {samples['docker_run'][-1]:.3f} s")
    finally:
        engine.close()
    _add(figures, samples)


def _bare(engine: Engine, samples: Samples) -> None:
    for _ in range(_RANKS - 1):
        samples["docker_run"].append(until_first_byte(_PROGRAM))
        samples["engine"].append(engine.until_first_byte(_PROGRAM))


def _ours(data: Path, events: Path, run_id: int) -> Iterator[tuple[str, float]]:
    """Every figure of one run's ranks."""
    with closing(read_only(data)) as rows:
        queued_at = rows.execute(_QUEUED, (run_id,)).fetchone()[0]
    ranks = read_moments(data, events, run_id)
    yield "free", ranks[0].first_byte - queued_at
    for name, seconds in _free_stages(queued_at, ranks[0]):
        yield f"free_stage_{name}", seconds
    for before, after in itertools.pairwise(ranks):
        yield "next", after.first_byte - before.settled
        yield "idle_gap", after.started - before.died
        for name, seconds in next_stages(before, after):
            yield f"next_stage_{name}", seconds


def _free_stages(queued_at: float, rank: Moments) -> Iterator[tuple[str, float]]:
    yield "claim", rank.claimed - queued_at
    yield "prepare", rank.created - rank.claimed
    yield "engine_start", rank.started - rank.created
    yield "first_byte", rank.first_byte - rank.started


def _add(figures: Figures, samples: Samples) -> None:
    names = {
        "free": "free_to_first_byte",
        "next": "next_to_first_byte",
        "docker_run": "docker_run_first_byte",
    }
    names |= {"engine": "engine_first_byte"}
    for name in samples:
        figures.median(names.get(name, name), samples[name])
    docker_run, engine = median(samples["docker_run"]), median(samples["engine"])
    for name in ("free", "next"):
        over = median(samples[name]) - docker_run
        figures.add(f"{name}_over_docker_run", over, "s", _MOST_OVER_S)
        figures.add(f"{name}_over_engine", median(samples[name]) - engine, "s")
    figures.add("idle_gap_in_starts", median(samples["idle_gap"]) / docker_run, "x", 1.0)
