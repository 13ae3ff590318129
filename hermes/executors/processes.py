"""The processes of a box without an engine: its family, and who bears its mark, whatever they did."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hermes.executors.base import Usage

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CENTURY_US = 1 << 52


@dataclass(frozen=True)
class Member:
    """One process as it is now. CPU seconds include those of its children that have ended."""

    pid: int
    parent: int
    group: int
    session: int
    cpu_s: float
    memory_bytes: int


def family(root: int) -> list[Member]:
    """A process with its descendants, and those of its group or session that have lost their parents."""
    everybody = list(_look())
    found = {root} | {each.pid for each in everybody if root in (each.group, each.session)}
    size = 0
    while size != len(found):
        size = len(found)
        found |= {each.pid for each in everybody if each.parent in found}
    return [each for each in everybody if each.pid in found]


def usage_of(members: list[Member], before: Usage) -> Usage:
    """What these processes use together (shared pages count once for each)."""
    memory_bytes = sum(each.memory_bytes for each in members)
    cpu_s = max(sum(each.cpu_s for each in members), before.cpu_s)
    return Usage(cpu_s, memory_bytes, max(before.peak_memory_bytes, memory_bytes))


def mark(name: str) -> int:
    """The box's name as a limit that nobody reaches: over a hundred years of real-time scheduling, in µs.

    A program may leave its session, its group and its parent, and empty its environment; its limits stay."""
    return _CENTURY_US + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


def kill_all(name: str, folder: Path) -> int:
    """End every process of the box `name`: those that bear its mark, and those that work in its folder, in
    whatever group or session they are. Returns how many there were."""
    count = 0
    for pid in list(_members(name, folder)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


def _members(name: str, folder: Path) -> Iterator[int]:
    sought = f" {mark(name)} ".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                marked = sought in (entry / "limits").read_bytes()
                if (marked or _works_in(entry, folder)) and not _is_dead(entry):
                    yield int(entry.name)


def _works_in(entry: Path, folder: Path) -> bool:
    try:
        return Path(os.readlink(entry / "cwd")).is_relative_to(folder)
    except OSError:  # it is dead, or somebody else's
        return False


def _is_dead(entry: Path) -> bool:
    """Dead, and nobody has asked for its exit code yet."""
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")


def _look() -> Iterator[Member]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{entry.name}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                ticks = sum(int(each) for each in fields[11:15])
                parent, group, session = (int(each) for each in fields[1:4])
                memory_bytes = int(fields[21]) * _PAGE_BYTES
                yield Member(int(entry.name), parent, group, session, ticks / _TICKS, memory_bytes)
