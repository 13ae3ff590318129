"""A person with a home of their own who uses the command `hermes`: piped, or at a terminal of their own."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.service import PATIENCE_S, Service

Done = subprocess.CompletedProcess[bytes]


def _heeds_ctrl_c() -> None:
    """As what a shell starts in the foreground, whoever started these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Person:
    """Their home is empty at first; `HERMES_…` of ours is not theirs."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    here: Path | None = None

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)

    @property
    def command(self) -> list[str]:
        """The program."""
        return [sys.executable, "-m", "hermes"]

    def environment(self) -> dict[str, str]:
        """Of everything that they start."""
        ours = ("HERMES_", "XDG_", "GIT_", "LANG", "LC_", "PYTHON")
        own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        root = str(Path(__file__).parent.parent)
        fixed = {"HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", "PYTHONPATH": root, "TERM": "xterm"}
        return own | fixed | {"LANG": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"} | self.env

    def hermes(self, *args: str, stdin: bytes | None = None, timeout_s: float = PATIENCE_S) -> Done:
        """To its end; without `stdin` it has none (/dev/null)."""
        return subprocess.run(
            [*self.command, *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=self.environment(),
            cwd=self.here or self.home,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    def ok(self, *args: str, stdin: bytes | None = None) -> str:
        """What it prints when all is well."""
        done = self.hermes(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def begin(self, *args: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Started, piped, in a process group of its own."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*self.command, *args],
            stdin=stdin,
            bufsize=0,
            stdout=pipe,
            stderr=pipe,
            env=self.environment(),
            cwd=self.here or self.home,
            start_new_session=True,
            preexec_fn=_heeds_ctrl_c,
        )

    @contextmanager
    def terminal(
        self, *args: str, columns: int = 100, program: list[str] | None = None
    ) -> Iterator["Terminal"]:
        """Started at a terminal."""
        pid, screen = pty.fork()
        if pid == 0:
            _heeds_ctrl_c()
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))  # before it looks
            os.chdir(self.here or self.home)
            words = program or [*self.command, *args]
            os.execvpe(words[0], words, self.environment())
        one = Terminal(pid, screen)
        try:
            yield one
        finally:
            one.close()


@dataclass
class Terminal:
    """What is on it, and a keyboard."""

    pid: int
    screen: int
    shown: bytes = b""
    code: int | None = None

    def until(self, words: str, timeout_s: float = PATIENCE_S) -> str:
        """All that was shown, when these words are among it."""
        deadline = time.monotonic() + timeout_s
        while words.encode() not in self.shown:
            assert time.monotonic() < deadline and self._read(), f"no {words!r} in {self.shown!r}"
        return self.shown.decode(errors="replace")  # it may end in the middle of a character

    def _read(self) -> bool:
        ready, _, _ = select.select([self.screen], [], [], 1.0)
        if not ready:
            return True
        try:
            data = os.read(self.screen, 65536)
        except OSError:  # everybody at the other end has gone
            return False
        self.shown += data
        return bool(data)

    def type(self, keys: str) -> None:
        """As on a keyboard: `\\x03` is Ctrl-C."""
        os.write(self.screen, keys.encode())

    def end(self, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Its exit code and all that was shown."""
        deadline = time.monotonic() + timeout_s
        while self._read():
            assert time.monotonic() < deadline, self.shown
        self._wait()
        assert self.code is not None
        return self.code, self.shown.decode(errors="replace")

    def _wait(self) -> None:
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """Nothing of it stays."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._wait()
        os.close(self.screen)


def signed_in(service: Service, home: Path) -> Person:
    """Somebody who has the service's token in their environment, as a script has."""
    return Person(home, {"HERMES_SERVER": service.url, "HERMES_TOKEN": service.token})
