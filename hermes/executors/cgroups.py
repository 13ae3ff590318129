"""What a control group uses, read from its files (0.1 ms; the engine's own API takes a second)."""

from collections.abc import Mapping
from pathlib import Path

from hermes.executors.base import Usage

_ROOT = Path("/sys/fs/cgroup")


def group_paths(pid: int, container: str) -> dict[str, Path]:
    """Where the memory and cpu accounts of a container's process lie, version 1 or 2; empty if it is gone."""
    paths: dict[str, Path] = {}
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if container not in path:  # a process that has just ended is in the root group
            continue
        for name in controllers.split(","):
            if name in ("memory", "cpuacct"):
                paths[name] = _ROOT / name / path.lstrip("/")
        if not controllers:
            paths["unified"] = _ROOT / path.lstrip("/")
    return paths


def read_usage(paths: dict[str, Path]) -> Usage | None:
    """None when the group is gone or cannot be read."""
    try:
        if "memory" in paths:
            return Usage(
                cpu_s=_number(paths["cpuacct"] / "cpuacct.usage") / 1e9,
                memory_bytes=_number(paths["memory"] / "memory.usage_in_bytes"),
                peak_memory_bytes=_number(paths["memory"] / "memory.max_usage_in_bytes"),
            )
        unified = paths["unified"]
        current = _number(unified / "memory.current")
        peak = unified / "memory.peak"  # Linux 5.19 and newer
        cpu = flat_keyed((unified / "cpu.stat").read_text())
        return Usage(cpu["usage_usec"] / 1e6, current, _number(peak) if peak.exists() else current)
    except (OSError, KeyError, ValueError):
        return None


def read_processes(paths: dict[str, Path]) -> frozenset[int]:
    """The process ids in the group; empty when it is gone."""
    group = paths.get("memory") or paths.get("unified")
    try:
        return frozenset(map(int, (group / "cgroup.procs").read_text().split())) if group else frozenset()
    except (OSError, ValueError):
        return frozenset()


def memory_kills(paths: Mapping[str, Path]) -> int:
    """How many processes of the group the kernel has ended because it had no memory left. Raises OSError."""
    memory = paths.get("memory")
    file = memory / "memory.oom_control" if memory else paths["unified"] / "memory.events"
    return flat_keyed(file.read_text()).get("oom_kill", 0)


def flat_keyed(text: str) -> dict[str, int]:
    """A file of `NAME NUMBER` lines ("flat keyed" in cgroup-v2.rst of the Linux kernel)."""
    return {name: int(number) for name, number in map(str.split, text.splitlines())}


def _number(file: Path) -> int:
    return int(file.read_text())
