"""The gate of a box that was started before anybody called: a FIFO, from which its shell reads what to do.

The engine's start is over by then. What is bound by it stays: image, user, limits and network are of the kind
(hermes.executors.warm); files come into folders that are there, and so is the disk of a checkpoint, which
gets its name when it is somebody's. Until the word comes, nothing runs but that shell, and it has nothing of
a user: no variable, no argument; nor is it in /app, where a loader might look for libraries. When this
process ends, however it does, the shell reads the end of the FIFO, and its container ends with it."""

import errno
import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from hermes.errors import Unavailable
from hermes.executors.base import Task, Usage
from hermes.executors.cgroups import group_paths, read_usage
from hermes.executors.container import TASK, Ground

_MEET_S, _LOOK_S = 5.0, 0.01
_WORD = f". {TASK}\n"  # short enough to be written whole or not at all
_BEGUN = "begun"


def may_wait_at_gate(task: Task, ground: Ground) -> bool:
    """Else it waits without being started. The shell of a repository's own image may do what it likes; a GPU
    would be open to a container while others have it; not every runtime hands on FIFOs of this machine."""
    return task.recipe is None and not task.gpus and not ground.runtime


def build_gate(place: Path, owner: int) -> None:
    """Where the shell of a box finds its script, closed; `owner`: as whom it runs."""
    os.mkfifo(place, 0o400)
    os.chown(place, owner, owner)


def leave_open(place: Path) -> None:
    """The same for a box that is started when its task is there."""
    place.write_text(_WORD)


@dataclass(frozen=True)
class Begun:
    """When a program began in a box that ran before, and what that had used by then."""

    at: float
    cpu_s: float

    def note(self, own: Path) -> None:
        """For whoever adopts the box; its program cannot read it. Raises OSError."""
        (own / _BEGUN).write_text(f"{self.at!r} {self.cpu_s!r}")

    @classmethod
    def noted(cls, own: Path) -> Self | None:
        """None: it began with its container."""
        try:
            at, cpu_s = (own / _BEGUN).read_text().split()
            return cls(float(at), float(cpu_s))
        except (OSError, ValueError):
            return None

    def without_wait(self, usage: Usage) -> Usage:
        """What it used itself. (Of memory, the wait takes no more than every start does.)"""
        return replace(usage, cpu_s=max(usage.cpu_s - self.cpu_s, 0.0))


class Gate:
    """Of a container whose shell waits there. `groups`: its control groups."""

    def __init__(self, door: int, groups: dict[str, Path]) -> None:
        self._door, self.groups = door, groups

    @property
    def is_waited_at(self) -> bool:
        """Whether the shell is still there."""
        poll = select.poll()
        poll.register(self._door, 0)
        return not poll.poll(0)

    def let_in(self, own: Path) -> Begun:
        """The program begins, or OSError: nobody was there, and nothing has begun."""
        try:
            usage = read_usage(self.groups)
            begun = Begun(time.time(), usage.cpu_s if usage else 0.0)
            begun.note(own)
            os.write(self._door, _WORD.encode())
        finally:
            self.close()
        return begun

    def close(self) -> None:
        """Nobody comes in any more: the shell ends."""
        if self._door >= 0:
            os.close(self._door)
            self._door = -1


def start_at_gate(api: Any, container: str, place: Path) -> Gate:
    """Start it, and return when its shell waits. Raises Unavailable when none comes."""
    api.start(container)

    def process() -> int:  # 0: it has ended
        return int(api.inspect_container(container)["State"]["Pid"])

    groups = group_paths(process(), container)
    return Gate(_meet(place, process), groups)


def _meet(place: Path, process: Callable[[], int]) -> int:
    until = time.monotonic() + _MEET_S
    while time.monotonic() < until:
        try:
            return os.open(place, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # the shell has not opened it
                raise
        if not process():
            break
        time.sleep(_LOOK_S)
    raise Unavailable("the shell of its image takes no command")
