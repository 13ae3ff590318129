"""Boxes made before their turn: all is there but the start. Who starts the very same task takes one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hermes.executors.base import Task


@dataclass(frozen=True)
class _Made:
    task: Task
    making: "asyncio.Task[str]"  # it ends with the handle of the box
    owns_checkpoint: bool  # it was not there before


class Ahead:
    """Of one executor: `make` does all but the start, `remove` undoes it by the name of the box."""

    def __init__(
        self, make: Callable[[Task], Awaitable[str]], remove: Callable[[str], Awaitable[None]]
    ) -> None:
        self._make, self._remove = make, remove
        self._made: dict[str, _Made] = {}
        self._one_at_a_time = asyncio.Lock()  # what is removed bears the name of what is to be started

    @property
    def names(self) -> frozenset[str]:
        """Of what is made and not started. No attempt has them yet; whoever sweeps leaves them alone."""
        return frozenset(self._made)

    async def have(self, tasks: Sequence[Task]) -> None:
        """Exactly these. Raises what `make` and `remove` raise, and then has less."""
        for made in list(self._made.values()):
            if made.task not in tasks:
                await self._drop(made)
        for task in tasks:
            if task.name not in self._made:
                await self._begin(task)

    async def _begin(self, task: Task) -> None:
        async def make() -> str:
            return await self._make(task)

        is_new = task.checkpoint is not None and not task.checkpoint.exists()
        made = self._made[task.name] = _Made(task, asyncio.create_task(make()), is_new)
        await asyncio.wait((made.making,))  # it is not cancelled with us: half a box is hard to remove
        if (error := made.making.exception()) is not None:
            await self._drop(made)
            raise error

    async def take(self, task: Task) -> str | None:
        """The handle of its box, which is the caller's from now on; None: there is none that is good."""
        async with self._one_at_a_time:
            made = self._made.get(task.name)
            if made is not None and made.task == task:
                del self._made[task.name]
                await asyncio.wait((made.making,))
                return None if made.making.exception() else made.making.result()
        if made is not None:
            await self._drop(made)
        return None

    async def _drop(self, made: _Made) -> None:
        name = made.task.name
        async with self._one_at_a_time:
            if self._made.get(name) is not made:  # taken, or dropped, meanwhile
                return
            await asyncio.wait((made.making,))
            del self._made[name]
            await self._remove(name)
            if made.owns_checkpoint and made.task.checkpoint is not None:
                made.task.checkpoint.unlink(missing_ok=True)
