"""Several commands in the foreground, as a Procfile names them: what they say stands on stdout behind their
name, who dies is started again, and a signal ends them in order.

The format and the look are foreman's. honcho, its port to Python, ends everything when one process ends: a
killed runner must not take the pages with it. It also has a helper process for each, of 17 MiB, which wakes
ten times a second."""

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from hermes.kept import HANDLED, Kept

_KILL_AFTER_S = 17.0  # longer than a runner needs to end its boxes, shorter than what is promised (20 s)
_COLOURS = (36, 33, 32, 35, 34)


class Printed:
    """Stdout. Where that is a file on a full disk what all say is lost, no more."""

    def __init__(self, names: Sequence[str]) -> None:
        self._width = max(len(name) for name in ("system", *names))
        has_colours = sys.stdout.isatty()
        self._colours = dict(zip(names, _COLOURS * len(names), strict=False)) if has_colours else {}

    def __call__(self, name: str, line: bytes) -> None:
        """One line, with the time and whose it is."""
        head = f"{time.strftime('%H:%M:%S')} {name.ljust(self._width)} | "
        if colour := self._colours.get(name):
            head = f"\033[0m\033[{colour}m{head}\033[0m"
        left = head.encode() + line.decode(errors="replace").encode() + b"\n"
        with suppress(OSError):
            while left:
                left = left[os.write(sys.stdout.fileno(), left) :]


class Foreground:
    """Until a signal. `first`: who is told to end before the others, and may take the time that it needs; a
    second signal ends all at once."""

    def __init__(self, processes: Sequence[Kept], say: Printed, first: Sequence[str]) -> None:
        self._all, self._say = processes, say
        self._first = [each for each in processes if each.name in first]
        self._ends_first = False
        self._kill_at: float | None = None
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Returns when all have ended."""
        woken, wakes = socket.socketpair()
        with woken, wakes, self._selector:
            woken.setblocking(False)
            wakes.setblocking(False)
            signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
            for each in HANDLED:
                signal.signal(each, lambda _number, _frame: None)
            self._selector.register(woken, selectors.EVENT_READ)
            while not all(each.is_over for each in self._all):
                self._start_all()
                for key, _ in self._selector.select(self._wait_s()):
                    if isinstance(key.data, Kept):
                        self._hear(key.data)
                    else:
                        self._heed(woken.recv(4096))
                self._bury()
            signal.set_wakeup_fd(-1)

    def _start_all(self) -> None:
        for each in self._all:
            if each.start_at is not None and each.start_at <= time.monotonic():
                each.start()
                if (output := each.output) is not None:
                    self._selector.register(output, selectors.EVENT_READ, each)

    def _wait_s(self) -> float | None:
        times = [each.start_at for each in self._all if each.start_at is not None]
        times += [] if self._kill_at is None else [self._kill_at]
        return max(min(times) - time.monotonic(), 0.0) if times else None

    def _hear(self, one: Kept) -> None:
        """Once: whoever talks without end keeps nobody waiting. A closed output is not asked again."""
        output = one.output
        with suppress(BlockingIOError):
            if output is not None and not one.hear():
                self._selector.unregister(output)

    def _bury(self) -> None:
        for each in self._all:
            output = each.output
            if each.look() and output is not None and output in self._selector.get_map():
                self._selector.unregister(output)
        if self._ends_first and self._kill_at is None and all(each.is_over for each in self._first):
            self._end_all()
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at += 1.0
            for each in self._all:
                if not each.is_over:
                    each.end(signal.SIGKILL)

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                continue
            self._say("system", f"{signal.Signals(number).name} received".encode())
            if self._first and not self._ends_first:
                self._ends_first = True
                for each in self._first:
                    each.end(signal.SIGTERM)
            elif self._kill_at is None:
                self._end_all()

    def _end_all(self) -> None:
        self._kill_at = time.monotonic() + _KILL_AFTER_S
        for each in self._all:
            each.end(signal.SIGTERM)
