"""What each folder of the data directory takes: looked at now and then, in a thread, while nobody waits."""

import asyncio
import os
import time
from pathlib import Path

from hermes.threads import in_thread

_EVERY_S = 300.0
_PAUSE_EVERY, _PAUSE_S = 200, 0.002  # files; the service has better things to do
FOLDERS = ("artifacts", "ccache", "checkpoints", "images", "inputs", "logs", "repos", "results", "spool")


class DiskUse:
    """`bytes_of` is what the last look has found, and nothing before the first has ended."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._looked_at = 0.0
        self._ended_at = 0.0
        self._look: asyncio.Task[tuple[float, dict[str, int]]] | None = None
        self.bytes_of: dict[str, int] = {}

    @property
    def age_s(self) -> float | None:
        """How long ago that was."""
        return time.monotonic() - self._ended_at if self.bytes_of else None

    def ask(self) -> None:
        """Somebody wants to know: the next look begins, if the last is long ago."""
        done = self._look
        if done is not None and done.done():
            self._look = None
            if not done.cancelled() and done.exception() is None:
                self._ended_at, self.bytes_of = done.result()
        if self._look is None and (not self._looked_at or time.monotonic() - self._looked_at > _EVERY_S):
            self._looked_at = time.monotonic()
            self._look = asyncio.create_task(in_thread(_walk, self._data))


def _walk(data: Path) -> tuple[float, dict[str, int]]:
    found = {name: _size_bytes(data / name) for name in FOLDERS}
    return time.monotonic(), found


def _size_bytes(folder: Path) -> int:
    """On the disk; a file with several names counts as often. What vanishes meanwhile is not counted."""
    total = count = 0
    for path, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count % _PAUSE_EVERY == 0:
                time.sleep(_PAUSE_S)
            try:
                total += os.stat(os.path.join(path, name), follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
    return total
