"""Which cores a box without an engine has: as many as it asked for, those that other boxes use least."""

import math
import os
import random
import threading


class Cores:
    """The cores of this process, and how much of each is promised."""

    def __init__(self) -> None:
        self._load = dict.fromkeys(sorted(os.sched_getaffinity(0)), 0.0)
        self._held: dict[str, tuple[set[int], float]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, cpus: float) -> set[int]:
        """Cores for the box `name`; all of them if it wants more than there are. Another process of ours
        chooses by itself: equals are drawn by lot, so that both do not begin with the first."""
        with self._lock:
            self._give_back(name)
            count = max(1, min(math.ceil(cpus), len(self._load)))
            least = sorted(self._load, key=lambda core: (self._load[core], random.random()))
            chosen, share = set(least[:count]), cpus / count
            for core in chosen:
                self._load[core] += share
            self._held[name] = chosen, share
            return chosen

    def give_back(self, name: str) -> None:
        """The box is gone; one that had none is no error."""
        with self._lock:
            self._give_back(name)

    def _give_back(self, name: str) -> None:
        chosen, share = self._held.pop(name, (set(), 0.0))
        for core in chosen:
            self._load[core] -= share
