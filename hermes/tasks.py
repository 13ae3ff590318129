"""Tasks beside the main work: none outlives its reason, and what breaks in one is said."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from hermes.journal import log


async def end(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel them, and wait until they have let go of what they use: a database that is closed under a
    transaction can only break it off."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """These go on as long as the block."""
    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(_say_why)
    try:
        yield
    finally:
        await end(*tasks)


def _say_why(task: "asyncio.Task[None]") -> None:
    """It has ended by itself: a mistake of ours, if it broke."""
    if not task.cancelled() and (error := task.exception()):
        log.error("a task broke", task=str(task.get_coro()), error=repr(error))
