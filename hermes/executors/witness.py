"""Whether the kernel has ended a process of a container because it had no memory left, seen by ourselves.

The engine's word for it (`OOMKilled`) is lost now and then: it hears of the end before it hears of the why,
or the control group is gone by then (17 of 240 containers on a busy machine, Docker 20.10 with containerd
1.6). So we hear of it from the kernel, which speaks before it kills.

Sources: Documentation/admin-guide/cgroup-v1/memory.rst ("OOM Control", and `cgroup_event_control`: "eventfd
will be woken up … when the cgroup is removed"), and cgroup-v2.rst (`memory.events`) of the Linux kernel."""

import os
import select
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from hermes.executors.cgroups import flat_keyed, memory_kills

_REMOVED_S = 2.0  # how long the kernel may need to say that a group is gone; measured: 0.05


class Witness(Protocol):
    """Of one container, from its start on."""

    def is_killed_for_memory(self) -> bool:
        """Asked when it has ended."""

    def close(self) -> None:
        """Nobody will ask."""


def witness_of(groups: Mapping[str, Path]) -> Witness | None:
    """`groups`: as hermes.executors.cgroups finds them. None: we may not hear of it, or it is gone."""
    with suppress(OSError):
        if "memory" in groups:
            return Subscribed(groups["memory"])
        if "unified" in groups:
            return Watching(groups["unified"] / "memory.events", "oom_kill")
    return None


class Subscribed:
    """Version 1: the kernel counts for us, also the removal of the group, which it tells every subscriber.
    A second subscription, to what never happens, hears of nothing but that. Raises OSError."""

    def __init__(self, group: Path) -> None:
        self._group = group
        self._counts: list[int] = []
        self._told, self._was_killed = 0, False
        try:  # the last one is told of the removal first
            self._removal = self._subscribe("memory.usage_in_bytes", "-1")
            self._kill = self._subscribe("memory.oom_control")
            self._read()
        except OSError:
            self.close()
            raise

    def is_killed_for_memory(self) -> bool:
        """Whether it was told of more than the removal."""
        if self._counts and not self._was_killed:
            self._hear()
        return self._was_killed or self._told > 1

    def close(self) -> None:
        while self._counts:
            os.close(self._counts.pop())

    def _hear(self) -> None:
        self._told += _taken_from(self._kill)
        if self._told == 1:  # of which of the two?
            removal = select.poll()
            removal.register(self._removal, select.POLLIN)
            removal.poll(_REMOVED_S * 1000)
            self._told += _taken_from(self._kill)
            with suppress(OSError):  # it is there yet
                self._read()

    def _read(self) -> None:
        self._was_killed = memory_kills({"memory": self._group}) > 0

    def _subscribe(self, file: str, *more: str) -> int:
        count = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._counts.append(count)
        with (self._group / file).open("rb") as source:
            words = " ".join((str(count), str(source.fileno()), *more))
            (self._group / "cgroup.event_control").write_text(words)
        return count


class Watching:
    """Version 2: a thread that reads a file of `name number` lines whenever the kernel says that it has
    changed, as there is nothing to read once the group is gone. Raises OSError."""

    def __init__(self, file: Path, name: str) -> None:
        self._name = name
        self._file = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._opened = [self._file, self._end]
        self.has_seen = False  # more than 0
        self._thread = threading.Thread(target=self._watch, daemon=True, name="witness")
        self._thread.start()

    def is_killed_for_memory(self) -> bool:
        """Whether the number was more than 0 when it was last read."""
        self._stop()
        return self.has_seen

    def close(self) -> None:
        self._stop()
        while self._opened:
            os.close(self._opened.pop())

    def _stop(self) -> None:
        if self._opened:
            os.eventfd_write(self._end, 1)
            self._thread.join()

    def _watch(self) -> None:
        changes = select.poll()
        changes.register(self._file, select.POLLPRI)
        changes.register(self._end, select.POLLIN)
        is_asked = False
        with suppress(OSError):  # ENODEV: it is gone
            while not (self._look() or is_asked):  # once more when it is asked
                is_asked = self._end in dict(changes.poll())

    def _look(self) -> bool:
        self.has_seen = flat_keyed(os.pread(self._file, 4096, 0).decode()).get(self._name, 0) > 0
        return self.has_seen


def _taken_from(count: int) -> int:
    with suppress(BlockingIOError):
        return os.eventfd_read(count)
    return 0
