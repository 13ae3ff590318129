"""The loop of whoever sends what is in the outbox: one for each kind of message, of one process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

from hermes import outbox
from hermes.database import Database
from hermes.errors import HermesError
from hermes.journal import log
from hermes.process import Context
from hermes.queue import Bell
from hermes.tables import Outbox
from hermes.tasks import end

_PAUSE_S = 0.2  # between two looks, however often something changes
_LEAST_AGAIN_S = 1.0  # after one that failed


async def keep_sending(
    context: Context,
    topics: Sequence[str],
    bell: Bell,
    look: Callable[[], Awaitable[float]],
    pause_s: float = _PAUSE_S,
) -> None:
    """For ever: `look` begins what is due, and says after how many seconds to look again if nothing rings."""
    is_resumed, wait_s = False, 0.0
    while True:
        await bell.wait(wait_s)
        await asyncio.sleep(pause_s)
        try:
            if not is_resumed:
                for topic in topics:
                    await outbox.resume(context.database, topic)
                is_resumed = True
            wait_s = await look()
        except HermesError as error:
            log.warning("outbox not read", error=str(error))
            wait_s = max(wait_s, _LEAST_AGAIN_S)


class Lanes:
    """Messages of a topic on their way: of each lane one at a time, `most` of them together. `bell` is rung
    when there is room again."""

    def __init__(
        self,
        database: Database,
        topic: str,
        most: int,
        attempt: Callable[[Outbox], Coroutine[Any, Any, None]],
        bell: Bell,
    ) -> None:
        self._database, self._topic, self._most = database, topic, most
        self._attempt, self._bell = attempt, bell
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def begin(self, resting: Collection[str] = ()) -> None:
        """Attempt what is due, but for the lanes that rest. Raises HermesError."""
        room = self._most - len(self._busy)
        for row in await outbox.due_by_lane(self._database, self._topic, {*self._busy, *resting}, room):
            self._busy[row.lane] = task = asyncio.create_task(self._attempt(row))
            task.add_done_callback(partial(self._done, row))

    async def end(self) -> None:
        """Nothing is on its way any more."""
        await end(*self._busy.values())

    def _done(self, row: Outbox, task: "asyncio.Task[None]") -> None:
        del self._busy[row.lane]
        if not task.cancelled() and (error := task.exception()):  # a mistake of ours: its lease ends
            log.error("a message broke", key=row.key, error=repr(error))
        self._bell.ring()
