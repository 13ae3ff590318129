"""A control group for each box without an engine: exact bounds, exact figures, an end that nothing escapes.

Made beside the engine's own groups, which needs root; where none can be made, processes are watched."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes.executors.base import Limits, Usage
from hermes.executors.cgroups import memory_kills, read_processes, read_usage

_ROOT = Path("/sys/fs/cgroup")
_VERSION_1 = ("memory", "pids", "cpuacct")
_END_S = 5.0  # a process that the kernel cannot end by then is stuck in a driver

Parents = dict[str, Path]


@dataclass(frozen=True)
class Group:
    """The group of one box: its folders by controller, as `read_usage` wants them; version 2 has only one."""

    folders: dict[str, Path]

    def bound(self, limits: Limits) -> None:
        """Make it and set its limits. Raises OSError."""
        for folder in self.folders.values():
            folder.mkdir(exist_ok=True)
        memory = self.folders.get("memory")
        if memory is None:
            one = self.folders["unified"]
            (one / "memory.max").write_text(str(limits.memory_bytes))
            (one / "pids.max").write_text(str(limits.pids))
            swap, most_swap = one / "memory.swap.max", 0
        else:
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
            (self.folders["pids"] / "pids.max").write_text(str(limits.pids))
            swap, most_swap = memory / "memory.memsw.limit_in_bytes", limits.memory_bytes
        if swap.exists():  # not where the kernel does not account for swap
            swap.write_text(str(most_swap))

    def usage(self) -> Usage | None:
        """What its processes use; None when it is gone."""
        return read_usage(self.folders)

    def is_killed_for_memory(self) -> bool:
        """Whether the kernel has ended a process of it because there was no memory left."""
        with suppress(OSError):
            return memory_kills(self.folders) > 0
        return False

    def kill(self) -> None:
        """End every process of it; those that are born meanwhile too."""
        deadline = time.monotonic() + _END_S
        while (pids := read_processes(self.folders)) and time.monotonic() < deadline:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def remove(self) -> None:
        """End what is in it and delete it; one that is not there is no error."""
        self.kill()
        deadline = time.monotonic() + _END_S
        for folder in self.folders.values():
            while folder.exists() and time.monotonic() < deadline:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:  # busy: what has just ended still counts
                    time.sleep(0.002)


def group_of(parents: Parents, name: str) -> Group:
    """The group of the box `name`, made or not."""
    return Group({controller: parent / name for controller, parent in parents.items()})


def find_parents() -> Parents:
    """Where groups of boxes can be made on this machine, found by making one; empty: nowhere."""
    parents = _version_1() or _version_2()
    if not parents:
        return {}
    probe = group_of(parents, f"hermes-probe-{os.getpid()}")
    try:
        probe.bound(Limits(cpus=1, memory_bytes=64 << 20, disk_bytes=0))
    except OSError:
        return {}
    finally:
        probe.remove()
    return parents


def _version_1() -> Parents:
    """Below our own groups, so that bounds which the operator has set for the service hold for its boxes."""
    if not all((_ROOT / name / "cgroup.procs").exists() for name in _VERSION_1):
        return {}
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    parents = {name: _ROOT / name / own.get(name, "") for name in _VERSION_1}
    return {name: path if path.is_dir() else _ROOT / name for name, path in parents.items()}


def _version_2() -> Parents:
    """Below the root, as the engine does it: a group with processes cannot bound groups below it."""
    control = _ROOT / "cgroup.subtree_control"
    with suppress(OSError):
        if not {"memory", "pids"} <= set(control.read_text().split()):
            control.write_text("+memory +pids")
        return {"unified": _ROOT}
    return {}
