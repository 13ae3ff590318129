"""Pushes and clones with the real git: Hermes against git's own `http-backend` behind the same HTTP stack.

Both servers run on this machine and take turns; a client's git talks to each over loopback HTTP. The manifest
says `on.push = []`, so a push is received, looked at, recorded and answered, and starts nothing. Clones are
without a checkout, since that is the client's own work. The memory of a case is the most that the server's
process and all git programs below it took beyond what it held before (bench/_git_memory.py).

tiny: a commit of five small files on a branch · files: 20,000 small files, a first push · big: one file of
200 MB · history: 20,000 commits, 120,000 objects, 60 MB (made once, then kept in ~/.cache/hermes/bench) ·
parallel: 50 tiny pushes at once to 50 repositories · healthz: what others wait for meanwhile.

    make bench NAME=git [ARGS="--only tiny,clone-tiny --runs 5"]
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import _git_loads as loads
from bench import _tools
from bench._git_clients import Crowd, clone, healthz, push, traced_push
from bench._git_memory import Memory
from bench._git_sides import Side, gits_own, ours
from bench._git_stages import programs
from bench._tools import Figures, percentile, say, scratch

#: What there is, in order, and how often.
_CASES = {
    "tiny": 15, "clone-tiny": 3, "parallel": 3, "healthz": 1, "files": 3, "clone-files": 3,
    "big": 3, "clone-big": 3, "history": 2, "clone-history": 2,
}  # fmt: skip
_WARM_UP = 2
_CLIENTS = 50
_MOST_RATIO_TINY, _MOST_OVER_TINY_S, _MOST_RATIO = 1.2, 0.030, 1.5
_MEMORY_RATIO, _MOST_OVER_MIB = 1.2, 100.0
_LOADS = {"files": loads.files, "big": loads.big}


@dataclass
class Duel:
    """The same work at both servers, in turns: which is first changes each time."""

    name: str
    sides: tuple[Side, Side]
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory_mib: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    number: int = 0

    def round(self, work: Callable[[Side], float], *, counts: bool = True) -> None:
        """`work` says how many seconds it took."""
        self.number += 1
        for side in self.sides if self.number % 2 else self.sides[::-1]:
            with Memory(side.pid) as memory:
                took = work(side)
            if counts:
                self.seconds[side.name].append(took)
                self.memory_mib[side.name] = max(self.memory_mib[side.name], memory.peak_mib)
        if counts:
            last = "  ".join(f"{side.name} {self.seconds[side.name][-1]:.3f} s" for side in self.sides)
            say(f"{self.name:14} {len(self.seconds[self.sides[0].name]):2}  {last}")

    def judge(self, figures: Figures, most_ratio: float, most_over_s: float | None = None) -> None:
        """Medians, and what the targets are about."""
        ours, theirs = (median(self.seconds[side.name]) for side in self.sides)
        name = self.name.replace("-", "_")
        for side in self.sides:
            figures.median(f"{name}_{side.name}", self.seconds[side.name])
            figures.add(f"{name}_memory_{side.name}", self.memory_mib[side.name], "MiB")
        figures.add(f"{name}_over", ours - theirs, "s", most_over_s)
        figures.add(f"{name}_ratio", ours / theirs, "x", most_ratio)
        most = _MEMORY_RATIO * self.memory_mib[self.sides[1].name]
        over = self.memory_mib[self.sides[0].name] - most
        figures.add(f"{name}_memory_beyond", over, "MiB", _MOST_OVER_MIB)


@dataclass(frozen=True)
class Bench:
    """Two servers, a place for clients, what is asked for."""

    hermes: Side
    git: Side
    folder: Path
    wanted: dict[str, int]
    figures: Figures = field(default_factory=Figures)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Ours first."""
        return self.hermes, self.git

    def run(self) -> Figures:
        """Everything that is asked for."""
        if {"tiny", "clone-tiny"} & set(self.wanted):
            self._tiny()
        if {"parallel", "healthz"} & set(self.wanted):
            self._parallel()
        for name in ("files", "big", "history"):
            if {name, f"clone-{name}"} & set(self.wanted):
                self._first_pushes(name)
        return self.figures

    def _tiny(self) -> None:
        folder, duel, number = loads.tiny(self.folder / "tiny"), Duel("tiny", self.sides), 0
        for side in self.sides:
            side.fresh("tiny")
            push(side, "tiny", folder)
        for number in range(1, self.wanted.get("tiny", 0) + _WARM_UP + 1):
            loads.change(folder, number)
            duel.round(lambda side: push(side, "tiny", folder), counts=number > _WARM_UP)
        if "tiny" in self.wanted:
            duel.judge(self.figures, _MOST_RATIO_TINY, _MOST_OVER_TINY_S)
            self._explain(folder, number)
        self._clones("tiny", "tiny")

    def _explain(self, folder: Path, number: int) -> None:
        """Where the time of a tiny push goes, in pushes of their own: being watched costs time."""
        stages: dict[str, list[float]] = defaultdict(list)
        for more in range(1, self.wanted["tiny"] + 1):
            loads.change(folder, number + more)
            for side in self.sides if more % 2 else self.sides[::-1]:
                for name, seconds in traced_push(side, "tiny", folder).stages():
                    stages[f"tiny_{name}_{side.name}"].append(seconds)
        for name in sorted(stages):
            self.figures.median(name, stages[name])
        for side in self.sides:
            loads.change(folder, number + 1000 + len(side.name))
            with programs(side, self.folder) as started:
                push(side, "tiny", folder)
            if started:
                say(f"programs of a tiny push, {side.name}: {len(started)}: {', '.join(started)}")

    def _parallel(self) -> None:
        say(f"{_CLIENTS} clients, each with a repository of its own")
        crowd = Crowd(loads.tiny(self.folder / "crowd"), _CLIENTS)
        for side in self.sides:
            crowd.settle(side)
        duel, slowest = Duel("parallel", self.sides), defaultdict[str, list[float]](list)

        def all_push(side: Side) -> float:
            whole, longest = crowd.push(side)
            slowest[side.name].append(longest)
            return whole

        for _ in range(self.wanted.get("parallel", 0)):
            crowd.change()
            duel.round(all_push)
        if "parallel" in self.wanted:
            for side in self.sides:
                self.figures.median(f"parallel_slowest_push_{side.name}", slowest[side.name])
            duel.judge(self.figures, _MOST_RATIO)
        if "healthz" in self.wanted:
            self._healthz(crowd)

    def _healthz(self, crowd: Crowd) -> None:
        """What a visitor waits for while 50 clients push, and while nobody does."""
        with healthz(self.hermes) as idle:
            time.sleep(2.0)
        busy: list[float] = []
        for _ in range(self.wanted["healthz"]):
            crowd.change()
            with healthz(self.hermes) as taken:
                crowd.push(self.hermes)
            busy += taken
        for name, values in (("idle", idle), ("parallel", busy)):
            self.figures.median(f"healthz_{name}_median", values)
            self.figures.add(f"healthz_{name}_p99", percentile(values, 99), "s")

    def _first_pushes(self, name: str) -> None:
        folder = _LOADS[name](self.folder / name) if name in _LOADS else loads.history()
        duel = Duel(name, self.sides)

        def first_push(side: Side) -> float:
            repo = f"{name}-{duel.number}"
            side.fresh(repo)
            return push(side, repo, folder)

        for _ in range(self.wanted.get(name, 0)):
            duel.round(first_push)
        if name in self.wanted:
            duel.judge(self.figures, _MOST_RATIO)
        else:
            duel.round(first_push, counts=False)
        self._clones(name, f"{name}-{duel.number}")

    def _clones(self, name: str, repo: str) -> None:
        duel = Duel(f"clone-{name}", self.sides)
        for _ in range(self.wanted.get(duel.name, 0)):
            duel.round(lambda side: clone(side, repo, self.folder / "clone"))
        if duel.name in self.wanted:
            duel.judge(self.figures, _MOST_RATIO_TINY if name == "tiny" else _MOST_RATIO)


def measure() -> Figures:
    """The whole measurement."""
    wanted = _tools.wanted(__doc__, _CASES)
    with scratch() as folder, ours(folder) as hermes, gits_own(folder) as git:
        return Bench(hermes, git, folder, wanted).run()


if __name__ == "__main__":
    _tools.main(measure)
