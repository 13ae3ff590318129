"""The processes of a box without an engine: found by a mark that they inherit, whatever they did."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_CENTURY_US = 1 << 52


def mark(name: str) -> int:
    """The box's name as a limit that nobody reaches: over a hundred years of real-time scheduling, in µs.

    A program may leave its session, its group and its parent, and empty its environment; its limits stay."""
    return _CENTURY_US + int.from_bytes(hashlib.sha256(name.encode()).digest()[:6])


def members(name: str) -> Iterator[int]:
    """The process ids of the box `name`; none that is dead already."""
    sought = f" {mark(name)} ".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError, IndexError):
                if sought in (entry / "limits").read_bytes() and not _is_dead(entry):
                    yield int(entry.name)


def _is_dead(entry: Path) -> bool:
    """Dead, and nobody has asked for its exit code yet."""
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")


def group_members(group: int) -> list[int]:
    """The process ids of one process group; cheaper than `members`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                    found.append(int(entry.name))
    return found


def kill_all(name: str, number: int = signal.SIGKILL) -> int:
    """Signal every process of the box; returns how many there were."""
    count = 0
    for pid in list(members(name)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            count += 1
    return count


def cpu_and_memory(pids: list[int]) -> tuple[float, int]:
    """CPU seconds and resident bytes of these processes together (shared pages count once for each)."""
    cpu_s, memory_bytes = 0.0, 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            cpu_s += (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / _TICKS
            memory_bytes += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return cpu_s, memory_bytes
