"""One command that is run again whenever it ends, until it is told to end for good."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_AGAIN_AFTER_S = 1.0  # for one that has died soon after its start; others start again at once
_SOON_S = 5.0
_READ_BYTES = _MOST_LINE_BYTES = 65536
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)


class Say(Protocol):
    """To who reads what `hermes up` says."""

    def __call__(self, name: str, line: bytes) -> None:
        """One line of a process."""


class Kept:
    """A process in a session of its own; `hear` reads what it says, `look` sees that it has died."""

    def __init__(self, name: str, command: str, env: Mapping[str, str], folder: Path, say: Say) -> None:
        self.name = name
        self._command, self._env, self._folder, self._say = command, env, folder, say
        self._child: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self.start_at: float | None = time.monotonic()  # None: it runs, or is over
        self._started_at = 0.0
        self.ends = False

    @property
    def is_over(self) -> bool:
        """Whether it was told to end, and has."""
        return self.ends and self._child is None

    @property
    def output(self) -> int | None:
        """The descriptor of what it says, while it runs."""
        return None if self._child is None or self._child.stdout is None else self._child.stdout.fileno()

    def start(self) -> None:
        """Its turn has come."""
        self.start_at, self._started_at, parent = None, time.monotonic(), os.getpid()

        def follow_parent() -> None:
            """A killed `hermes up` takes it along: an orphan would hold the port for ever."""
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        try:
            self._child = subprocess.Popen(
                self._command,
                shell=True,
                env=self._env,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=follow_parent,  # there is one thread in this process
            )
        except OSError as error:  # too many processes, too little memory
            self._say("system", f"{self.name} could not be started: {error}".encode())
            self.start_at = time.monotonic() + _AGAIN_AFTER_S
            return
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)
        self._say("system", f"{self.name} started (pid={self._child.pid})".encode())

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
        if self._child is None or self._child.poll() is None:
            return False
        with suppress(BlockingIOError):  # somebody whom it has left has its output still
            while self.hear():
                pass
        if self._rest:
            self._say(self.name, self._rest)
        assert self._child.stdout is not None
        self._child.stdout.close()
        code, self._child, self._rest = self._child.returncode, None, b""
        if self.ends:
            self._say("system", f"{self.name} stopped (rc={code})".encode())
        else:
            self._say(self.name, f"{self.name} ended with {code}; starting it again".encode())
            now = time.monotonic()
            self.start_at = now + (_AGAIN_AFTER_S if now - self._started_at < _SOON_S else 0.0)
        return True

    def end(self, number: signal.Signals) -> None:
        """For good: it, and whom it has started and not left to themselves."""
        self.ends, self.start_at = True, None
        if self._child is not None:
            self._say("system", f"sending {number.name} to {self.name} (pid {self._child.pid})".encode())
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
