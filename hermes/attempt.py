"""One command in one box from start to end, whatever ends it: itself, its time, a person, a fault of ours."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hermes.errors import Fenced, Left, Unavailable
from hermes.executors.base import KILL_WAIT_S, Box, Executor, Exit, Sink, Task
from hermes.journal import log
from hermes.supervisor import Job, Stop
from hermes.tasks import end

_AFTER_KILL_S = 15.0
_WRITE_AGAIN_S = 1.0
_NO_GRACE_S = 2.0  # fenced, or the service stops: the attempt counts for nothing


@dataclass(frozen=True)
class Ending:
    """How a command ended. `stop` is our own intent, if there was one: it goes before what the box says."""

    exit: Exit
    stop: Stop | None


@asynccontextmanager
async def open_box(executor: Executor, task: Task) -> AsyncIterator[Box]:
    """A started box that is gone when the block ends."""
    box = await executor.start(task)
    try:
        yield box
    finally:
        await asyncio.shield(executor.remove(task.name))


async def before_stop(job: Job[Any], work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before the job was asked to stop; its errors are raised. Raises Fenced and
    Unavailable when this process is not to go on with the job."""
    doing, asked = asyncio.create_task(work), asyncio.create_task(job.stopped.wait())
    try:
        await asyncio.wait((doing, asked), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
            return True
        if job.stop is Stop.FENCED:
            raise Fenced
        if job.stop in (Stop.SHUTDOWN, Stop.LEAVE):
            job.stop = Stop.SHUTDOWN  # nothing runs that could be left
            raise Unavailable("the service was stopped")
        return False
    finally:
        await end(doing, asked)


async def written(job: Job[Any], write: Callable[[], Awaitable[None]]) -> None:
    """Write, however long the database is away or its disk full: nothing is done again only because of that.
    Raises Fenced when somebody else has taken the work meanwhile, Unavailable when this process ends."""
    while True:
        try:
            return await write()
        except Unavailable as error:
            if job.stop in (Stop.SHUTDOWN, Stop.LEAVE, Stop.FENCED):
                raise
            log.warning("not written yet", id=job.row.id, attempt=job.row.attempt, error=str(error))
            await asyncio.sleep(_WRITE_AGAIN_S)


async def follow_to_end(executor: Executor, box: Box, sink: Sink, job: Job[Any], limit_s: float) -> Ending:
    """Drain the box until it ends, its time is over or the job is asked to stop.

    Raises Fenced when another attempt took over, Left when it is to go on without us, Unavailable when the
    engine fails."""
    follow = asyncio.create_task(executor.follow(box, sink))
    asked = asyncio.create_task(job.stopped.wait())
    try:
        await asyncio.wait((follow, asked), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not follow.done():
            job.ask_to_stop(Stop.TIMEOUT)
            if job.stop is Stop.LEAVE:
                raise Left
            grace_s = KILL_WAIT_S if job.stop in (Stop.TIMEOUT, Stop.CANCEL) else _NO_GRACE_S
            await executor.stop(box, grace_s)
            await asyncio.wait((follow,), timeout=_AFTER_KILL_S)
            if not follow.done() and job.stop in (Stop.TIMEOUT, Stop.CANCEL):
                log.error("a program cannot be killed", id=job.row.id, box=box.task.name)
                return Ending(Exit(128 + signal.SIGKILL, limit_s), job.stop)  # trying again helps nobody
            if not follow.done():
                raise Unavailable("the box could not be ended")
        if job.stop is Stop.FENCED:
            raise Fenced
        return Ending(follow.result(), None if job.stop is Stop.LEAVE else job.stop)
    finally:
        await end(asked, follow)
