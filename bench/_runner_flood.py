"""How fast a program may print: into our log, against `docker logs -f` of the same program.

Both see one CPU. The engine's own log is unbounded here, as it is by default; ours keeps all of it too
(HERMES_LOG_SIZE). Seconds are from the first byte to the last: of ours by the marks in the log's index (the
last one is at most 50 ms before the end), of the other as its reader gets them."""

import subprocess
import time
from dataclasses import dataclass
from typing import NamedTuple

from bench._runner_bare import docker_run_detached
from bench._runner_runs import Runs
from bench._runner_trace import marks
from bench._tools import Figures, say
from hermes.logs import size_bytes
from hermes.paths import Paths

_LINE = 100  # bytes, with its end
_MOST_S = 300.0


@dataclass(frozen=True)
class Load:
    """A program that prints so many lines."""

    name: str
    lines: int
    program: str

    @property
    def printed_bytes(self) -> int:
        """All of it."""
        return self.lines * _LINE


_X = "x" * (_LINE - 1)
_LOADS = (
    Load("blocks", 1_000_000, f"yes {_X} | head -n 1000000"),
    Load("lines", 300_000, f"perl -e '$| = 1; print \"{_X}\\n\" for 1 .. 300000'"),
)


class Flow(NamedTuple):
    """What arrived, and in how long."""

    arrived_bytes: int
    seconds: float


def measure_floods(runs: Runs, times: int, figures: Figures) -> None:
    """In turns."""
    for load in _LOADS:
        run_id, ours, theirs = 0, [], []
        for number in range(times):
            run_id = runs.again(run_id) if run_id else runs.push(load.program, 1)
            ours.append(_ours(runs, run_id))
            theirs.append(_docker_logs(load))
            say(f"{load.name} {number + 1}/{times}  hermes {ours[-1]}  docker logs -f {theirs[-1]}")
        _add(figures, load, ours, theirs)


def _ours(runs: Runs, run_id: int) -> Flow:
    runs.finish(run_id, _MOST_S)
    log = Paths(runs.service.data).log("rank", runs.rank_id(run_id), 1)
    found = marks(log)
    return Flow(size_bytes(log), found[-1].at - found[0].at)


def _docker_logs(load: Load) -> Flow:
    start = docker_run_detached("sh", "-c", load.program)
    container = subprocess.run(start, check=True, capture_output=True, text=True).stdout.strip()
    try:
        with subprocess.Popen(
            ["docker", "logs", "-f", container], stdout=subprocess.PIPE, bufsize=0
        ) as reader:
            assert reader.stdout is not None
            arrived = len(reader.stdout.read(1))
            began = ended = time.monotonic()
            while data := reader.stdout.read(1 << 20):
                arrived, ended = arrived + len(data), time.monotonic()
        return Flow(arrived, ended - began)
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)


def _add(figures: Figures, load: Load, ours: list[Flow], theirs: list[Flow]) -> None:
    for name, flows in (("hermes", ours), ("docker_logs", theirs)):
        rates = [flow.arrived_bytes / flow.seconds for flow in flows]
        figures.median(f"flood_{load.name}_{name}", [rate / 1e6 for rate in rates], "MB/s")
        figures.median(f"flood_{load.name}_{name}_lines", [rate / _LINE for rate in rates], "lines/s")
        lost = [100 * (1 - flow.arrived_bytes / load.printed_bytes) for flow in flows]
        figures.add(f"flood_{load.name}_{name}_lost", max(lost), "%")
    pairs = zip(ours, theirs, strict=True)
    ratios = [(a.arrived_bytes / a.seconds) / (b.arrived_bytes / b.seconds) for a, b in pairs]
    figures.median(f"flood_{load.name}_ratio_to_docker_logs", ratios, "x")
