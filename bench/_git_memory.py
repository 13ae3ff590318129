"""The memory that a server takes for a piece of work: its process and all git programs below it.

Counted is what only these processes hold: anonymous and shared pages (RssAnon + RssShmem). Files that git
maps, its packs, are left out: they lie in the page cache whoever reads them, and the kernel takes them back.
PSS would count them, but reading it costs 1.5 to 3 ms a process, as much as a small push has processes."""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_EVERY_S = 0.02


class Memory:
    """Samples while the block lasts; `peak_mib` is then the most, beyond what was held at its start."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._idle_kib = self._most_kib = 0

    def __enter__(self) -> "Memory":
        self._idle_kib = self._most_kib = _kib(self._pid)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def peak_mib(self) -> float:
        """The most that was taken."""
        return (self._most_kib - self._idle_kib) / 1024

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._most_kib = max(self._most_kib, _kib(self._pid))


def _kib(root: int) -> int:
    """Of `root` and everything below it."""
    name, total = _status(root)
    below = _children(root)
    while below:
        pid = below.pop()
        with suppress(OSError):
            child, size = _status(pid)
            total += 0 if child == name else size  # else a fork that shares all with us until it is git
            below += _children(pid)
    return total


def _status(pid: int) -> tuple[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return fields["Name"], sum(int(fields.get(each, "0").split()[0]) for each in ("RssAnon", "RssShmem"))


def _children(pid: int) -> list[int]:
    """Any thread may have started one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found
