"""One command without an engine: begun with its bounds, watched, ended with all that it has started."""

import json
import math
import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hermes.errors import Unavailable
from hermes.executors.base import Exit, Limits, Sink, Usage
from hermes.executors.groups import Group
from hermes.executors.pipes import close, drain, open_pipes
from hermes.executors.processes import family, kill_all, mark, usage_of
from hermes.executors.workplace import size_bytes
from hermes.units import show_size

_WATCH_S = 0.05
_DISK_WATCH_S = 1.0
_DRAIN_S = 2.0  # after the end, output comes only from somebody beyond our reach
_DYING_S = 5.0
STUCK_S = 10.0  # who is not dead by then waits in the kernel, most often for a driver
_JOIN = """
ulimit -c 0; ulimit -n 4096; ulimit -f "$1"; shift
while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit 125; shift; done
shift; exec "$@"
"""


@dataclass(frozen=True)
class Start:
    """What is started, by itself or by bubblewrap, which then tells at `info` whom it has started."""

    name: str
    command: list[str]
    env: dict[str, str]
    own: Path  # all that is the box's lies below
    folder: Path
    limits: Limits
    cores: set[int]
    group: Group | None
    watched: tuple[Path, ...]  # folders whose size no disk bounds
    info: tuple[int, int] | None = None  # a pipe
    stdin: Path | None = None
    apart: bool = False  # stdout and stderr in pipes of their own


@dataclass
class Life:
    """One command. `begin` it, `follow` it to its end, `end` it before."""

    start: Start
    usage: Usage = field(default_factory=lambda: Usage(0.0, 0, 0))
    out_of_memory: bool = False
    overrun: str = ""
    followed: bool = False
    _process: "subprocess.Popen[bytes] | None" = None
    _first: int | None = None  # a descriptor of the first process inside; nobody of the box outlives it
    _first_id: int = 0
    _error: BaseException | None = None
    _began: float = 0.0
    _wall_s: float = 0.0
    _drained_at: float = math.inf
    _begun: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start it. Raises OSError. The thread that starts it is there as long as it is: bubblewrap ends when
        that thread does, not with our process."""
        self._thread = threading.Thread(target=self._live, daemon=True, name="life")
        self._thread.start()
        self._begun.wait()
        if self._error is not None:
            raise self._error

    def follow(self, sink: Sink) -> Exit:
        """Every byte to `sink`, until it has ended and all that it started with it."""
        process = self._need()
        self.followed = True
        assert self._thread is not None
        drain(open_pipes(process), sink, lambda: self._drained_at)
        self._thread.join()
        code = process.returncode
        return Exit(code if code >= 0 else 128 - code, self._wall_s, self.out_of_memory, self.overrun)

    def ask(self) -> None:
        """SIGTERM to the program itself, as the init of a container does it."""
        if self.start.info is None:
            self._need().terminate()
        elif program := self._program():
            with suppress(ProcessLookupError):
                os.kill(program, signal.SIGTERM)
        else:  # it has not begun
            self.kill()

    def wait(self, limit_s: float) -> None:
        """Until it has ended, or the time is over."""
        assert self._thread is not None
        self._thread.join(limit_s)

    def kill(self) -> None:
        """SIGKILL to everybody of the box, at once."""
        start, process = self.start, self._need()
        if self._first is not None:  # its whole namespace goes with it
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        if start.group is not None:
            start.group.kill()
        elif self._first is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            kill_all(start.name, start.own)

    def end(self) -> None:
        """Nobody of it is left then, and nothing is open. Raises Unavailable if that cannot be."""
        deadline = time.monotonic() + STUCK_S
        while self._thread is not None and self._thread.is_alive():
            if time.monotonic() > deadline:
                raise Unavailable(f"a program cannot be killed ({self.start.name})")
            self.kill()
            self._thread.join(_WATCH_S)
        if not self.followed and self._process is not None:
            close(open_pipes(self._process))
        if self._first is not None:
            os.close(self._first)
            self._first = None

    def _need(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def _live(self) -> None:
        try:
            self._process = self._popen()
        except BaseException as error:
            self._error = error
            self._close_info(0)
            return
        finally:
            self._close_info(1)
            self._begun.set()
        try:
            self._meet_first()
            self._watch(self._process.pid)
        finally:
            self._bury(self._process)

    def _popen(self) -> "subprocess.Popen[bytes]":
        start = self.start
        groups = start.group.folders.values() if start.group is not None else ()
        bounds = [str(start.limits.disk_bytes // 512), *map(str, groups), "--"]
        is_held = start.group is not None or start.info is not None  # else only the mark holds them together
        marked = [] if is_held else ["prlimit", f"--rttime={mark(start.name)}", "--"]
        os.sched_setaffinity(0, start.cores)  # this thread; who it starts inherits it
        self._began = time.monotonic()
        with open(start.stdin or os.devnull, "rb") as stdin:
            return subprocess.Popen(
                [*marked, "/bin/sh", "-c", _JOIN, "hermes", *bounds, *start.command],
                cwd=start.folder,
                env=start.env,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if start.apart else subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if start.info is None else start.info[1:],
            )

    def processes(self) -> frozenset[int]:
        """The ids of those that are there now."""
        root = self._first_id or (self._process.pid if self._process is not None else 0)
        return frozenset(each.pid for each in family(root)) if root else frozenset()

    def _close_info(self, end: int) -> None:
        if self.start.info is not None:
            os.close(self.start.info[end])

    def _meet_first(self) -> None:
        """Reads whom bubblewrap started; it says so before the program begins."""
        if self.start.info is None:
            return
        with open(self.start.info[0], "rb", buffering=0) as told:
            words = b""
            while b"}" not in words and (chunk := told.read(4096)):
                words += chunk
        with suppress(ValueError, KeyError, OSError):  # it failed before; its own words are in the output
            self._first_id = json.loads(words)["child-pid"]
            self._first = os.pidfd_open(self._first_id)

    def _program(self) -> int:
        """The process that the first one inside has started; those that it has adopted have other numbers."""
        for each in family(self._first_id) if self._first_id else ():
            with suppress(OSError):
                status = Path(f"/proc/{each.pid}/status").read_text(errors="replace")
                if any(line.split()[-1] == "2" for line in status.splitlines() if line.startswith("NSpid:")):
                    return each.pid
        return 0

    def _watch(self, root: int) -> None:
        """Until it ends by itself or has outgrown a bound that the kernel does not hold for us."""
        look_at = time.monotonic() + _DISK_WATCH_S
        process = os.pidfd_open(root)
        try:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            while not poll.poll(1000 * _WATCH_S):
                self._look(root)
                if self.start.watched and time.monotonic() > look_at:
                    look_at = time.monotonic() + self._look_at_disk()
                if self.out_of_memory or self.overrun:
                    self.kill()
        finally:
            os.close(process)

    def _look(self, root: int) -> None:
        if self.start.group is not None:
            self.usage = self.start.group.usage() or self.usage
            return
        members, limits = family(root), self.start.limits
        self.usage = usage_of(members, self.usage)
        if self.usage.memory_bytes > limits.memory_bytes:
            self.out_of_memory = True
        elif len(members) > limits.pids:
            self.overrun = f"started more than {limits.pids} processes"

    def _look_at_disk(self) -> float:
        """Measures what no disk bounds; returns when to do so again, later where it takes long."""
        began, limit_bytes = time.monotonic(), self.start.limits.disk_bytes
        if any(size_bytes([folder]) > limit_bytes for folder in self.start.watched):
            self.overrun = f"wrote more than its disk holds ({show_size(limit_bytes)})"
        return max(_DISK_WATCH_S, 10 * (time.monotonic() - began))

    def _bury(self, process: "subprocess.Popen[bytes]") -> None:
        """It has ended: so does what it left behind, which would hold its output open."""
        exited = time.monotonic()
        if self.start.group is not None:
            self._look(process.pid)
        self.kill()
        if self._first is not None:
            poll = select.poll()
            poll.register(self._first, select.POLLIN)
            poll.poll(1000 * _DYING_S)
        code = process.wait()
        if self.start.group is not None and code != 0:
            self.out_of_memory = self.start.group.is_killed_for_memory()
        self._wall_s, self._drained_at = exited - self._began, time.monotonic() + _DRAIN_S
