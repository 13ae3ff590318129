"""All of a box but its life: its container, its folders and disks are made, found by its name, and removed.

A box that waited for a task keeps the name that it was made by. A link from the task's name to that one makes
it the task's, in one step; who looks for the one name finds the other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes.errors import Unavailable
from hermes.executors import disks, volumes
from hermes.executors.base import Task
from hermes.executors.container import CALL, FOLDERS, GIVEN, START, Ground, create
from hermes.executors.engine import CALL_S, box_names, has_file, remove_container
from hermes.executors.gate import Begun, Gate, build_gate, leave_open, may_wait_at_gate, start_at_gate
from hermes.executors.workplace import Places, bring_all, clear, hand_over, lay_out, lay_out_open, take_back
from hermes.tree import OWNER_ID


@dataclass
class Maker:
    """Of one executor; `client` connects to its engine."""

    base: Path
    labels: dict[str, str]
    ground: Ground
    client: Callable[[], Any]
    has_disks: bool | None = None
    with_volumes: set[str] = field(default_factory=set)  # also of a time when no disks could be mounted
    gates: dict[str, Gate] = field(default_factory=dict)  # by name, of what waits and is started

    def find_disks(self) -> bool:
        """Whether bounded disks can be mounted here: done once."""
        if self.has_disks is None:
            self.has_disks = disks.can_mount(self.base)
        return self.has_disks

    def make(self, task: Task) -> str:
        """All but the start; returns the container."""
        may_have_lived = not self.find_disks() or self._exists(task.name)
        if may_have_lived:  # with the same name
            self.remove(task.name)
        binds, api = self._binds(task), self.client()
        container: str = create(api, task, binds, self.labels, self.ground)
        if not self.has_disks:
            volumes.fill(api, task, container, binds, self.labels)
        return container

    def make_open(self, task: Task) -> str:
        """The same for a task without a command, which comes later; only where there are bounded disks. It is
        started, too, where its shell may wait at a gate."""
        places = lay_out_open(self.base / task.name, task, FOLDERS, OWNER_ID)
        start = places[CALL] / Path(START).name
        container = create(self.client(), task, _binds(places), self.labels, self.ground)
        if may_wait_at_gate(task, self.ground):
            build_gate(start, OWNER_ID)
            self.gates[task.name] = start_at_gate(self.client(), container, start)
        elif has_file(self.client(), container, "/bin/sh"):
            leave_open(start)
        else:
            raise Unavailable("its image has no shell that could take a command")
        return container

    def hand_over(self, task: Task, name: str) -> None:
        """What was made by another name is this task's box now. Raises Unavailable and OSError."""
        if (gate := self.gates.get(name)) is not None and not gate.is_waited_at:
            raise Unavailable("nobody waits in it any more")
        (self.base / task.name).symlink_to(name)
        hand_over(self.base / name, task, OWNER_ID)

    def take_back(self, task: Task, name: str) -> None:
        """That failed, and nothing has begun: it is nobody's, and goes."""
        take_back(self.base / name, task)
        self.remove(name)

    def begin(self, name: str, container: str) -> Begun | None:
        """Start it, or what is to run in one that is started already. Raises OSError when that has ended."""
        gate = self.gates.pop(name, None)
        if gate is not None:
            return gate.let_in(self.base / name)
        self.client().start(container)
        return None

    def remove(self, name: str) -> None:
        """With all that is there of it; nothing is no error."""
        real = self.real_name(name)
        if gate := self.gates.pop(real, None):
            gate.close()
        try:
            remove_container(self.client(), real, CALL_S)
            if not self.has_disks or real in self.with_volumes:
                volumes.remove(self.client(), real)
        finally:  # with the engine away too: the sweep finds the container by its name later
            clear(self.base / real)
        if real != name:  # not before: until now it led to what was left
            (self.base / name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Of all that is there of ours, alive or dead."""
        found, self.with_volumes = box_names(self.client(), self.labels, self.base)
        return found - {self.real_name(name) for name in found if self.real_name(name) != name}

    def real_name(self, name: str) -> str:
        """By which it was made."""
        try:
            return (self.base / name).readlink().name
        except OSError:  # no link
            return name

    def disk(self, name: str) -> Path:
        """Where what it writes lies, if disks are mounted."""
        return self.base / name / "disk"

    def _exists(self, name: str) -> bool:
        return (self.base / name).is_symlink() or (self.base / name).exists()

    def _binds(self, task: Task) -> list[str]:
        """Folders of bounded disks as root, volumes of the engine (without a bound) otherwise."""
        own = self.base / task.name
        given = _binds(bring_all(own, task))
        if not self.find_disks():
            return volumes.make(self.client(), task.name, self.labels) + given
        return _binds(lay_out(own, task, FOLDERS, OWNER_ID)) + given


def _binds(places: Places) -> list[str]:
    return [f"{path}:{place}:{'ro' if place in GIVEN else 'rw'}" for place, path in places.items()]
