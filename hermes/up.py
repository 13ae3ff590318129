"""`hermes up`: the Procfile's processes in the foreground, through honcho, each started again when it dies.

honcho alone ends everything when one process ends; a killed runner must not take the pages with it."""

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from honcho import manager as honcho_manager
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Process

from hermes.checks import check_data_directory, check_git, check_ports
from hermes.redis_server import find_server, socket_path
from hermes.settings import Settings

ROOT = Path(__file__).parent.parent
_AGAIN_AFTER_S = 1.0
_ORPHAN_LOOK_S = 2.0
_LOOK_S = 0.1
_WORKERS = ("builder", "runner")
_KILL_WAIT_S = 17  # longer than a runner needs to end its boxes, shorter than what is promised (20 s)


class _Flag:
    """Raised once, seen by all processes. Python's own event waits in `set` until all who wait have woken,
    for ever if one of them has ended meanwhile, and its lock is not to be taken twice by a signal."""

    def __init__(self) -> None:
        self._value = multiprocessing.RawValue("b", 0)

    def set(self) -> None:
        """From now on."""
        self._value.value = 1

    def is_set(self) -> bool:
        """Whether it was."""
        return bool(self._value.value)

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Whether it is raised within the time."""
        until = time.monotonic() + timeout_s
        while not self.is_set() and time.monotonic() < until:
            time.sleep(_LOOK_S)
        return self.is_set()


@dataclass(frozen=True)
class _End:
    """What all are told: `draining`, workers end when their work has; `stopping`, everybody ends."""

    draining: _Flag = field(default_factory=_Flag)
    stopping: _Flag = field(default_factory=_Flag)
    drained: dict[str, _Flag] = field(default_factory=lambda: {name: _Flag() for name in _WORKERS})

    def at_once(self) -> None:
        """No work is waited for."""
        self.stopping.set()
        self.draining.set()

    def has_drained(self, worker: str) -> None:
        """The last one ends the rest."""
        self.drained[worker].set()
        if all(each.is_set() for each in self.drained.values()):
            self.stopping.set()


class _KeptProcess(Process):  # type: ignore[misc]  # honcho has no types
    """Runs its command again and again until it is to end; honcho sees one process that goes on."""

    def __init__(self, *args: Any, end: _End, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._end = end
        self._mine = end.draining if self.name in _WORKERS else end.stopping

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        threading.Thread(target=self._end_child, daemon=True).start()
        while not self._mine.is_set():
            super().run(events, ignore_signals)
            if not self._mine.wait(_AGAIN_AFTER_S):
                self._send_message(
                    f"{self.name} ended with {self._child.returncode}; starting it again\n".encode()
                )
        if not self._end.stopping.is_set():
            self._end.has_drained(self.name)
            self._end.stopping.wait()
        super()._send_message({"returncode": 0}, type="stop")

    def _send_message(self, data: Any, type: str = "line") -> None:
        if type != "stop":  # sent once, at the real end
            super()._send_message(data, type)

    def _end_child(self) -> None:
        """honcho knows only the first child's id; the current one is ours to end, also when our parent was
        killed: orphans would hold the port for ever."""
        parent = os.getppid()
        while not self._mine.wait(_ORPHAN_LOOK_S) and os.getppid() == parent:
            pass
        if os.getppid() != parent:
            self._end.at_once()
        was_first = not self._end.stopping.is_set()
        self._ask_child_to_end()
        if was_first:
            self._end.stopping.wait()
            self._ask_child_to_end()

    def _ask_child_to_end(self) -> None:
        with suppress(ProcessLookupError, AttributeError):
            os.killpg(self._child.pid, signal.SIGTERM)


class _Words:
    """What all processes say goes to stdout. Where that is a file on a full disk they are lost, no more."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            os.write(sys.stdout.fileno(), text.encode(errors="replace"))

    def flush(self) -> None:
        """Nothing is held."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


class _KeepingManager(Manager):  # type: ignore[misc]
    """honcho's manager with kept processes."""

    def __init__(self, *, drains: bool) -> None:
        super().__init__(Printer(_Words(), colour=sys.stdout.isatty()))
        self._end = _End()
        self._drains = drains
        self._process_ctor = self._keep

    def _keep(self, *args: Any, **kwargs: Any) -> _KeptProcess:
        return _KeptProcess(*args, end=self._end, **kwargs)

    def terminate(self) -> None:
        if self._drains:  # the next signal does not wait any more
            self._drains = False
            self._end.draining.set()
            return
        self._end.at_once()
        super().terminate()


def up(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises SettingsError when it cannot begin."""
    check_git()
    check_data_directory(settings.data)
    check_ports(settings)
    env = os.environ | {
        "HERMES_DATA": str(settings.data.absolute()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
    processes: dict[str, str] = dict(parse_procfile((ROOT / "Procfile").read_text()).processes)
    if settings.redis_url or find_server() is None:
        processes.pop("redis", None)
        env["HERMES_REDIS_URL"] = settings.redis_url or "none"
    else:
        env["HERMES_REDIS_URL"] = f"unix://{socket_path(settings.data)}"
    honcho_manager.KILL_WAIT = _KILL_WAIT_S
    manager = _KeepingManager(drains=settings.stop == "drain")
    for name, command in processes.items():
        manager.add_process(name, command, env=env, cwd=str(ROOT))
    manager.loop()
