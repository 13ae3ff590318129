"""Room on the disk of HERMES_DATA. While there is none, or nothing can be written, no new work is taken: no
push, no invocation, and nothing begins. What is there can be read, and what runs goes on."""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hermes.checks import LEAST_FREE_BYTES
from hermes.errors import DiskFull
from hermes.units import show_size

LEAST_FREE_FILES = 1_000  # inodes
FULL = "the disk of this service was full"
NOTHING_FITS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_LOOK_EVERY_S = 1.0
FULL_WORDS = tuple(os.strerror(each) for each in NOTHING_FITS)


class Room:
    """One for a process; looked at no more than once a second."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._looked_at = float("-inf")
        self._trouble = ""
        self._ended_at = float("-inf")

    def trouble(self) -> str:
        """Why no work is taken now, in words for everybody; "" mostly."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._trouble, self._looked_at = look(self._data), now
        if self._trouble:
            self._ended_at = now
        return self._trouble

    def was_short(self, within_s: float) -> bool:
        """Whether there is trouble, or was a moment ago: others may not have been able to write since."""
        return bool(self.trouble()) or time.monotonic() - self._ended_at < within_s

    def require(self) -> None:
        """Before work is taken. Raises DiskFull."""
        if why := self.trouble():
            raise DiskFull(f"{why}: it takes no work until that is over")


def look(data: Path) -> str:
    """A disk that the kernel has made read-only after a fault does not say so anywhere: it is tried out."""
    try:
        disk = os.statvfs(data)
        free_bytes = disk.f_bavail * disk.f_frsize
        if free_bytes < LEAST_FREE_BYTES:
            return f"the disk of this service is full ({show_size(free_bytes)} left)"
        if disk.f_files and disk.f_favail < LEAST_FREE_FILES:
            return f"the disk of this service is full ({disk.f_favail} inodes left)"
        with tempfile.TemporaryFile(dir=data) as probe:
            probe.write(b"hermes")
    except OSError as error:
        return f"the disk of this service cannot be written ({error.strerror})"
    return ""


def is_full(error: BaseException) -> bool:
    """Whether this is the disk's fault, also in the words of a program that we have called."""
    return any(
        getattr(each, "errno", None) in NOTHING_FITS or any(words in str(each) for words in FULL_WORDS)
        for each in _chain(error)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
