"""The loop of whoever sends what is in the outbox: one for each kind of message, of one process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hermes import outbox
from hermes.errors import HermesError
from hermes.journal import log
from hermes.process import Context
from hermes.queue import Bell

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
