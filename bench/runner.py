"""What the runner adds to the container engine: to the start of a program, between two, to what they print.

start: from a free slot to the first byte of a program, and from one program to the next in its slot, against
a bare `docker run` and the engine's own calls, in turns, and where the time goes · ranks: 1,000 ranks that do
nothing through one slot, against a loop of `docker run` · flood: MB/s and lines/s of a program that prints as
fast as it may, against `docker logs -f` · crowd: memory and CPU of the runner while 200 ranks run at once ·
queue: how long it takes to decide who starts while 10,000 ranks wait (no engine; bench/_runner_queue.py).

The slot of start, ranks and flood is the machine's CPUs (HERMES_CPUS=1), not a GPU: the engine hands out GPUs
only with NVIDIA's toolkit. The GPUs of queue are the tests' driver library.

    make bench NAME=runner [ARGS="--only start,queue --runs 3"]
"""

from pathlib import Path

from bench import _tools
from bench._runner_flood import measure_floods
from bench._runner_many import measure_crowd, measure_ranks
from bench._runner_queue import measure_queue
from bench._runner_runs import Runs
from bench._runner_start import measure_start
from bench._tools import Figures, instance, say, scratch

#: What there is, in order, and how often: rounds, ranks, rounds, ranks, decisions of each kind.
_CASES = {"start": 10, "ranks": 1000, "flood": 5, "crowd": 200, "queue": 20}
_ONE_SLOT = {"HERMES_CPUS": "1", "HERMES_LOG_SIZE": "2G", "HERMES_GPUS": "none"}


def _one_slot(wanted: dict[str, int], folder: Path, figures: Figures) -> None:
    say("one slot: HERMES_CPUS=1 (no GPU is given to containers here)")
    with instance("docker", _ONE_SLOT) as service:
        runs = Runs(service)
        if "start" in wanted:
            measure_start(runs, folder, wanted["start"], figures)
        if "flood" in wanted:
            measure_floods(runs, wanted["flood"], figures)
        if "ranks" in wanted:
            measure_ranks(runs, wanted["ranks"], figures)


def _crowd(ranks: int, figures: Figures) -> None:
    room = {"HERMES_CPUS": str(ranks), "HERMES_MEMORY": f"{64 * ranks}M", "HERMES_GPUS": "none"}
    with instance("docker", room) as service:
        measure_crowd(Runs(service), ranks, figures)


def measure() -> Figures:
    """The whole measurement."""
    wanted, figures = _tools.wanted(__doc__, _CASES), Figures()
    with scratch() as folder:
        if "queue" in wanted:
            measure_queue(folder / "queue", wanted["queue"], figures)
        if {"start", "ranks", "flood"} & set(wanted):
            _one_slot(wanted, folder, figures)
        if "crowd" in wanted:
            _crowd(wanted["crowd"], figures)
    return figures


if __name__ == "__main__":
    _tools.main(measure)
