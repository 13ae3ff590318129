"""The hold of a backup: while one is taken, no file that a row names is removed, no repository packed anew.

A lock of the kernel on a file: it ends with its process, however that ends."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hermes.paths import Paths


@contextmanager
def may_remove(paths: Paths) -> Iterator[bool]:
    """For a round of who removes or packs. False: a backup is being taken, leave it for the next round."""
    with _opened(paths) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def keep_all(paths: Paths, say_wait: Callable[[], None]) -> Iterator[None]:
    """For a backup: from here on nothing goes. `say_wait` is called where a round has to end first."""
    with _opened(paths) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(paths: Paths) -> Iterator[int]:
    """For reading only: a backup that root has taken must not leave a file that the service cannot lock."""
    file = os.open(paths.hold, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield file
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # a child of ours that has not been executed yet has the file, too
        os.close(file)
