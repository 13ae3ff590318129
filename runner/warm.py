"""What was called lately may be called again: a box waits for each of the last calls (HERMES_WARM)."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from hermes.errors import Unavailable
from hermes.executors.base import Executor, Task
from hermes.executors.warm import kind_of
from hermes.journal import log

_RETRY_S = 30.0
_SOON_S = 1.0


class _Call(NamedTuple):
    name: str  # of its box
    kind: Task
    at: float


@dataclass
class Warm:
    """Of one runner: `most` boxes, each for `keep_s` after its call. What is called again and again has more
    than one."""

    executor: Executor
    most: int
    keep_s: float
    trouble: Callable[[], str]  # with the disk: then nothing waits
    _calls: list[_Call] = field(default_factory=list)  # the last ones
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def begun(self, task: Task) -> None:
        """The program of a call runs. If that takes long, others may call meanwhile."""
        if self.most:
            self._note(task)
            asyncio.get_running_loop().call_later(_SOON_S, self._changed.set)

    def ended(self, task: Task) -> None:
        """All that has to be done for it was done: nobody waits for what costs time now."""
        if self.most:
            self._note(task)
            self._changed.set()

    def _note(self, task: Task) -> None:
        others = [call for call in self._calls if call.name != task.name]
        self._calls = [*others, _Call(task.name, kind_of(task), time.monotonic())][-self.most :]

    async def keep(self) -> None:
        """Make boxes after calls, remove those whose time is over."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next_end()):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._look()
            except Unavailable as error:
                log.warning("no box waits for the next call", error=str(error))
                await asyncio.sleep(_RETRY_S)
                self._changed.set()

    def _until_next_end(self) -> float:
        return min((call.at for call in self._calls), default=math.inf) + self.keep_s - time.monotonic()

    async def _look(self) -> None:
        began = time.monotonic() - self.keep_s
        self._calls = [call for call in self._calls if call.at > began]
        kinds = [] if self.trouble() else [call.kind for call in self._calls if _can_wait(call.kind)]
        await self.executor.keep_warm(kinds)


def _can_wait(kind: Task) -> bool:
    """An image of a repository's own may have no shell that takes a command later; a tree may be away."""
    return kind.recipe is None and kind.tree.exists()
