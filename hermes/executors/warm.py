"""Boxes that wait for a task of their kind: what all calls of a function share is there, no program runs."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from hermes.errors import Unavailable
from hermes.executors.base import Task

WARM = "warm"  # in the names of these boxes


def kind_of(task: Task) -> Task:
    """Without what a box can be given after it was made: its name, what is started, what that reads."""
    given = replace(task, stdin=None, inputs=(), input_file="")
    return replace(given, name="", command=(), env={}, secrets={}, checkpoint=None, apart=False)


@dataclass(frozen=True, eq=False)
class _Waiting:
    name: str
    kind: Task
    making: "asyncio.Task[str]"  # it ends with the handle of the box

    @property
    def has_failed(self) -> bool:
        return self.making.done() and self.making.exception() is not None


@dataclass(frozen=True)
class Ready:
    """A box that is the caller's from now on: by which name it was made, and its handle."""

    name: str
    handle: str


class Warm:
    """Of one executor: `make` makes a box for a task without a command, `remove` undoes it by its name, which
    begins with `prefix`."""

    def __init__(
        self, prefix: str, make: Callable[[Task], Awaitable[str]], remove: Callable[[str], Awaitable[None]]
    ) -> None:
        self._prefix, self._make, self._remove = f"{prefix}{WARM}", make, remove
        self._waiting: list[_Waiting] = []
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """Of what waits, or was taken a moment ago; whoever sweeps leaves them alone."""
        return frozenset(self._names)

    async def have(self, tasks: Sequence[Task]) -> None:
        """One for each of these, of its kind, and no others. Raises what `make` and `remove` raise, and then
        has less."""
        missing = [kind_of(task) for task in tasks]
        for waiting in list(self._waiting):
            if waiting.kind in missing and not waiting.has_failed:
                missing.remove(waiting.kind)
            elif waiting in self._waiting:  # else somebody has taken it meanwhile
                await self._drop(waiting)
        failed: list[Unavailable] = []
        for kind in missing:  # what cannot be had of one kind can of another
            try:
                await self._begin(kind)
            except Unavailable as error:
                failed.append(error)
        if failed:
            raise failed[0]

    async def _begin(self, kind: Task) -> None:
        task = replace(kind, name=f"{self._prefix}-{secrets.token_hex(6)}")

        async def make() -> str:
            return await self._make(task)

        waiting = _Waiting(task.name, kind, asyncio.create_task(make()))
        self._names.add(task.name)
        self._waiting.append(waiting)
        await asyncio.wait((waiting.making,))  # it is not cancelled with us: half a box is hard to remove
        if waiting in self._waiting and waiting.has_failed:
            await self._drop(waiting)
            waiting.making.result()

    async def take(self, task: Task) -> Ready | None:
        """The oldest that is good for this task, from now on the caller's, who lets go of it in the end."""
        if task.checkpoint is not None and task.checkpoint.exists():
            return None  # what waits has a new one
        kind = kind_of(task)
        for waiting in list(self._waiting):
            if waiting.kind == kind and waiting in self._waiting:
                await asyncio.wait((waiting.making,))
                if waiting in self._waiting and not waiting.has_failed:
                    self._waiting.remove(waiting)
                    return Ready(waiting.name, waiting.making.result())
        return None

    def let_go(self, ready: Ready | None) -> None:
        """It is found by the name of its task, or there is nothing of it but what has to be swept."""
        if ready is not None:
            self._names.discard(ready.name)

    async def _drop(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        try:
            await asyncio.wait((waiting.making,))
            await self._remove(waiting.name)
        finally:
            self._names.discard(waiting.name)
