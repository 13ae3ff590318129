"""One process of an instance that is started again whenever it ends, until it is told to end for good.

It is forked from this one, which has imported all that it needs: to start, and to start again, costs
milliseconds instead of the second that Python imports for, and all processes share that memory."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import TextIOWrapper
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

_AGAIN_AFTER_S = 1.0  # for one that has died soon after its start; others start again at once
_SOON_S = 5.0
_READ_BYTES = _MOST_LINE_BYTES = 65536
_PR_SET_PDEATHSIG = 1  # prctl(2)
#: What the process that keeps others hears; its children hear them as any program does.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_LIBC = ctypes.CDLL(None)
_FORK = multiprocessing.get_context("fork")


class Say(Protocol):
    """To who reads what `hermes up` says."""

    def __call__(self, name: str, line: bytes) -> None:
        """One line of a process."""


class Kept:
    """A process in a session of its own, whose life is `live`; `hear` reads what it says, `look` sees that it
    has died."""

    def __init__(
        self, name: str, live: Callable[[], None], env: Mapping[str, str], folder: Path, say: Say
    ) -> None:
        self.name = name
        self._live, self._env, self._folder, self._say = live, env, folder, say
        self._child: BaseProcess | None = None
        self.output: int | None = None  # the descriptor of what it says, while it runs
        self._rest = b""
        self.start_at: float | None = time.monotonic()  # None: it runs, or is over
        self._started_at = 0.0
        self.ends = False

    @property
    def is_over(self) -> bool:
        """Whether it was told to end, and has."""
        return self.ends and self._child is None

    def start(self) -> None:
        """Its turn has come."""
        self.start_at, self._started_at = None, time.monotonic()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # our handlers are not for it
        try:
            self.output, writes = os.pipe()
            try:
                child = _FORK.Process(target=self._become, args=(os.getpid(), writes))
                child.start()
            finally:
                os.close(writes)
        except OSError as error:  # too many processes, too little memory
            self._close()
            self._say("system", f"{self.name} could not be started: {error}".encode())
            self.start_at = time.monotonic() + _AGAIN_AFTER_S
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.set_blocking(self.output, False)
        self._child = child
        self._say("system", f"{self.name} started (pid={child.pid})".encode())

    def _become(self, parent: int, output: int) -> None:
        """In the child: as if it had been executed, with nothing of its parent but what that has imported."""
        os.setsid()
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # an orphan would hold the port for ever
        if os.getppid() != parent:
            os._exit(1)
        for stream, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
            os.dup2(source, stream)
        for each in map(int, os.listdir("/proc/self/fd")):  # the number of those that may be has no bound
            if each > 2:
                with suppress(OSError):  # of the list itself
                    os.close(each)
        assert isinstance(sys.stdout, TextIOWrapper)  # as Python makes it of a descriptor
        sys.stdout.reconfigure(line_buffering=True)  # ours may be a file's, and keep lines back
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        os.chdir(self._folder)
        os.environ.clear()
        os.environ.update(self._env)
        self._live()

    def _close(self) -> None:
        if self.output is not None:
            os.close(self.output)
            self.output = None

    def hear(self) -> bool:
        """Say some of what it has said; False: nothing will come any more. Raises BlockingIOError."""
        assert self.output is not None
        data = os.read(self.output, _READ_BYTES)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._say(self.name, line)
        return bool(data)

    def look(self) -> bool:
        """Whether it has just died; then it starts again, if it was not told to end."""
        if self._child is None or (code := self._child.exitcode) is None:
            return False
        with suppress(BlockingIOError):  # somebody whom it has left has its output still
            while self.hear():
                pass
        if self._rest:
            self._say(self.name, self._rest)
        self._close()
        self._child.close()
        self._child, self._rest = None, b""
        if self.ends:
            self._say("system", f"{self.name} stopped (rc={code})".encode())
        else:
            self._say(self.name, f"{self.name} ended with {code}; starting it again".encode())
            now = time.monotonic()
            self.start_at = now + (_AGAIN_AFTER_S if now - self._started_at < _SOON_S else 0.0)
        return True

    def end(self, number: signal.Signals) -> None:
        """For good. What it has started it ends itself, in its own order, or leaves to the next start; at
        SIGKILL that ends with it."""
        self.ends, self.start_at = True, None
        if self._child is not None and self._child.pid is not None:
            self._say("system", f"sending {number.name} to {self.name} (pid {self._child.pid})".encode())
            os.kill(self._child.pid, number)
            if number == signal.SIGKILL:
                with suppress(ProcessLookupError):
                    os.killpg(self._child.pid, number)
