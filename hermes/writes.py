"""Hears from the kernel (inotify) that files are written. Who must not miss one looks as well.

It hears nothing of files on another machine, of a file that is not there yet, and of those beyond the
kernel's bounds (fs.inotify in sysctl)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from inotify_simple import INotify, flags

_MASK = flags.MODIFY | flags.CLOSE_WRITE


class Writes:
    """Of one event loop; to be closed."""

    def __init__(self, tell: Callable[[Path], None]) -> None:
        self.gather_s = 0.01  # a program that prints without a pause wakes us so often, not with every write
        self._tell = tell
        self._paths: dict[int, Path] = {}
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._inotify: INotify | None = None
        with suppress(OSError):  # this user has as many as may be
            self._inotify = INotify(nonblocking=True)
            self._listen()

    def watch(self, path: Path) -> bool:
        """Whether `tell` is called with it from now on, soon after each write."""
        try:
            if self._inotify is not None:
                self._paths[self._inotify.add_watch(path, _MASK)] = path
                return True
        except OSError:
            pass
        return False

    def forget(self, path: Path) -> None:
        """Nobody wants to know any more."""
        for number in [number for number, each in self._paths.items() if each == path]:
            del self._paths[number]
            with suppress(OSError):  # the file is gone
                if self._inotify is not None:
                    self._inotify.rm_watch(number)

    def close(self) -> None:
        """Hear nothing any more."""
        if self._pause is not None:
            self._pause.cancel()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    def _listen(self) -> None:
        if self._inotify is not None:
            self._loop.add_reader(self._inotify.fileno(), self._hear, self._inotify)

    def _hear(self, inotify: INotify) -> None:
        events = list(inotify.read(timeout=0))
        heard = {self._paths[event.wd] for event in events if event.wd in self._paths}
        if any(event.mask & flags.Q_OVERFLOW for event in events):
            heard.update(self._paths.values())
        for path in heard:
            self._tell(path)
        self._loop.remove_reader(inotify.fileno())
        self._pause = self._loop.call_later(self.gather_s, self._listen)
