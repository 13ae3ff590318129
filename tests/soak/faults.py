"""What strikes in a soak: each fault is done, and undone if it does not pass by itself."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field

from docker.errors import DockerException

from hermes.executors.engine import connect
from hermes.faultpoint import POINTS
from tests.leftovers import containers, processes
from tests.redis_faults import empty_redis
from tests.service import Service

_LOCK_S = 3.0
_SLEEP_S = 10.0  # longer than the lease of a soak


@dataclass
class Faults:
    """Strikes one instance until it is told to end; `counts` says what and how often."""

    service: Service
    ended: threading.Event
    dice: random.Random
    lease_s: float
    counts: dict[str, int] = field(default_factory=dict)

    def strike(self) -> None:
        """Until the end, one after the other with a pause in which something can begin."""
        deeds: list[Callable[[], None]] = [
            self.kill_web,
            self.kill_builder,
            self.kill_runner,
            self.kill_redis,
            self.empty_redis,
            self.hit_point,
            self.hit_point,
            self.hit_point,
            self.sleep_runner,
            self.lock_database,
            self.remove_container,
            self.restart,
        ]
        while not self.ended.wait(self.dice.uniform(1.0, 5.0)):
            deed = self.dice.choice(deeds)
            name = deed.__name__.replace("_", " ")
            self.counts[name] = self.counts.get(name, 0) + 1
            with suppress(ProcessLookupError):
                deed()

    def kill_web(self) -> None:
        """The server."""
        self._signal("hermes web", signal.SIGKILL)

    def kill_builder(self) -> None:
        """Its box stays behind."""
        self._signal("hermes builder", signal.SIGKILL)

    def kill_runner(self) -> None:
        """The programs go on, and the next one adopts them."""
        self._signal("hermes runner", signal.SIGKILL)

    def kill_redis(self) -> None:
        """All rings are lost."""
        self._signal("redis-server", signal.SIGKILL)

    def empty_redis(self) -> None:
        """Likewise."""
        empty_redis(self.service.data)

    def hit_point(self) -> None:
        """Who comes by the point first is killed; the file stays until somebody does."""
        folder = self.service.data / "faultpoints"
        folder.mkdir(exist_ok=True)
        point = self.dice.choice(list(POINTS))
        (folder / point).unlink(missing_ok=True)
        (folder / "now").write_text(point)

    def sleep_runner(self) -> None:
        """Longer than its lease: others take its work, and it wakes as a zombie."""
        pids = processes(self.service, "hermes runner")
        self._signal("hermes runner", signal.SIGSTOP)
        self.ended.wait(max(_SLEEP_S, self.lease_s + 2))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def lock_database(self) -> None:
        """By another program, as a backup or somebody's shell does it."""
        with (
            suppress(sqlite3.OperationalError),
            closing(
                sqlite3.connect(self.service.data / "hermes.db", timeout=1, isolation_level=None)
            ) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            time.sleep(_LOCK_S)
            other.execute("ROLLBACK")

    def remove_container(self) -> None:
        """One of this instance, by somebody who tidies up."""
        with suppress(DockerException, OSError), closing(connect(10)) as api:
            if found := containers(self.service):
                api.remove_container(self.dice.choice(found), force=True)

    def restart(self) -> None:
        """As for an upgrade: SIGTERM, and a new start."""
        assert self.service.process is not None
        self.service.process.send_signal(signal.SIGTERM)
        code = self.service.process.wait(90)
        assert code == 0, f"SIGTERM ended with {code}"
        self.service.start()

    def _signal(self, word: str, number: signal.Signals) -> None:
        for pid in processes(self.service, word):
            os.kill(pid, number)
