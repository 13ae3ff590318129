"""What an idle instance costs: CPU and memory of all processes that `hermes up` starts.

One fresh instance (`hermes up`, git server and pages, builder, runner, Redis) with one user and
no work, after a warm-up. CPU is the user and system time that the kernel counted, as a share of one core;
memory is the sum of PSS (shared pages are split among those who share them) and, beside it, of RSS (shared
pages count for each). The Docker engine is not ours and not counted. Against: the budget, 2 % and 400 MiB.

    make bench NAME=idle [ARGS="--seconds 60 --executor docker"]
"""

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from bench import _tools
from bench._tools import Figures, descendants, instance, say

_MOST_CPU_PERCENT, _MOST_MEMORY_MIB = 2.0, 400.0
_WARM_UP_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What a process has used since its start (CPU), and uses now (memory)."""

    cpu_s: float
    pss_mib: float
    rss_mib: float


def cost(pid: int) -> Cost:
    """What the kernel counts for one process; its ended children belong to it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return Cost(sum(map(int, fields[11:15])) / _TICKS, kib["Pss"] / 1024, kib["Rss"] / 1024)


def _label(pid: int) -> str:
    """What a process is: as it calls itself, `hermes NAME …`, or its program."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ").split()
    return words[1] if words[0] == "hermes" else Path(words[0]).name


def _measure(root: int, seconds: float) -> Figures:
    before = {pid: cost(pid) for pid in descendants(root)}
    began = time.monotonic()
    time.sleep(seconds)
    elapsed_s = time.monotonic() - began
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for pid in descendants(root):
        now = cost(pid)
        cpu_s = now.cpu_s - (before[pid].cpu_s if pid in before else 0.0)
        figures = (100 * cpu_s / elapsed_s, now.pss_mib, now.rss_mib, 1.0)
        for label in (_label(pid), "all"):
            total[label] = [a + b for a, b in zip(total[label], figures, strict=True)]
    return _figures(dict(total))


def _figures(total: dict[str, list[float]]) -> Figures:
    figures = Figures()
    whole = total.pop("all")
    for label, (cpu, pss, rss, _count) in sorted(total.items()):
        figures.add(f"{label}_cpu", cpu, "%")
        figures.add(f"{label}_pss", pss, "MiB")
        figures.add(f"{label}_rss", rss, "MiB")
    figures.add("idle_processes", whole[3], "processes")
    figures.add("idle_rss", whole[2], "MiB")
    figures.add("idle_cpu", whole[0], "%", _MOST_CPU_PERCENT)
    figures.add("idle_pss", whole[1], "MiB", _MOST_MEMORY_MIB)
    return figures


def measure() -> Figures:
    """The whole measurement, as the command line asks for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long CPU time is counted")
    parser.add_argument("--executor", choices=("docker", "local"), default="docker")
    args = parser.parse_args()
    with instance(args.executor) as service:
        assert service.process is not None
        say(f"warm-up of {_WARM_UP_S:.0f} s, then {args.seconds:.0f} s")
        time.sleep(_WARM_UP_S)
        return _measure(service.process.pid, args.seconds)


if __name__ == "__main__":
    _tools.main(measure)
