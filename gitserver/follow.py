"""The words and bytes that follow a push: its build, its run, their logs, as they come.

A generator of bytes without framing; it reads rows and log files and holds nothing, so a client that leaves
costs nothing and the work goes on."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gitserver.voice import Voice
from hermes import words
from hermes.instance import gpu_names
from hermes.patience import get_patiently, read_patiently
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.states import LIVE, MAX_ATTEMPTS, TERMINAL, State
from hermes.tables import Build, Event, Rank, Run
from hermes.tasks import end
from hermes.units import show_span
from hermes.waiting import waiting_for

T = TypeVar("T")
R = TypeVar("R", Build, Run, Rank)
_LOOK_S = 1.0  # at the rows when no bell rings
_SAY_AGAIN_S = 30.0
_PATIENCE_S = 0.7  # before waiting is worth a line


class Follower:
    """Follows one build and its run, and says it with a voice."""

    def __init__(self, context: Context, voice: Voice) -> None:
        self._context = context
        self._bell = context.doorbell.bell(CHANGED)
        self._voice = voice
        self.say = voice.say
        self._doing, self._since = "", time.monotonic()

    def close(self) -> None:
        """Nobody listens any more."""
        self._context.doorbell.forget(self._bell)

    def still(self) -> bytes:
        """A line for somebody who has seen nothing for a while."""
        return self.say(f"{self._doing}, {show_span(time.monotonic() - self._since)}")

    def _does(self, what: str) -> None:
        if what != self._doing:
            self._doing, self._since = what, time.monotonic()

    async def build(self, build_id: int) -> AsyncGenerator[bytes]:
        """From queued to its end."""
        build = await self._get(Build, build_id)
        name = f"build {build_id}"
        if build.state is State.BUILT:
            ago = show_span(time.time() - (build.ended_at or 0))
            yield self.say(f"{name}  cached: the same commit was built {ago} ago")
            return
        page = f"{self._context.settings.public_url}/builds/{build_id}"
        yield self.say(f"{name}  {build.state}  {page}")
        attempt = told = 0
        while build.state not in TERMINAL:
            self._does(f"{name}  still {build.state}")
            if build.state is State.BUILDING and build.attempt > attempt:
                attempt = build.attempt
                yield self.say(f"{name}  with {build.plan['image']}{_try(attempt)}")
                async for data in self._log("build", build):
                    yield data
            else:
                await self._bell.wait(_LOOK_S)
            build = await self._get(Build, build_id)
            while told < build.attempt and (reason := await self._why_again(build, told + 1)):
                told += 1  # also of those that were over before we looked
                yield self.say(f"{name}  {reason}; trying again")
        if build.attempt > attempt:  # it was over before we looked
            async for data in self._log("build", build):
                yield data
        yield self.say(f"{name}  {words.build_end(build)}")

    async def run(self, run_id: int) -> AsyncGenerator[bytes]:
        """From queued to its verdict."""
        async with aclosing(self._wait_for_start(run_id)) as waiting:
            async for data in waiting:
                yield data
        ranks = await self._ranks(run_id)
        if len(ranks) == 1:
            async for data in self._follow_rank(ranks[0].id, run_id):
                yield data
        else:
            async for data in self._follow_ranks(run_id, ranks):
                yield data
        run = await self._get(Run, run_id)
        while run.state not in TERMINAL:
            await self._bell.wait(_LOOK_S)
            run = await self._get(Run, run_id)
        yield self.say(f"run {run_id}    {words.run_end(run, await self._ranks(run_id))}")

    async def _wait_for_start(self, run_id: int) -> AsyncGenerator[bytes]:
        began, said_at, said = time.monotonic(), float("-inf"), ""
        while (run := await self._get(Run, run_id)).state in (State.QUEUED, State.STARTING):
            now = time.monotonic()
            if run.state is State.QUEUED and now - began > _PATIENCE_S:
                why = await self._read(partial(waiting_for, run=run))
                self._does(f"run {run_id}    still waiting: {why}")
                if why != said and (now - said_at > _SAY_AGAIN_S or said_at < 0):
                    said, said_at = why, now
                    yield self.say(f"run {run_id}    waiting: {why}")
            await self._bell.wait(_LOOK_S if said else _PATIENCE_S)

    async def _follow_rank(self, rank_id: int, run_id: int) -> AsyncGenerator[bytes]:
        attempt = told = 0
        rank = await self._get(Rank, rank_id)
        while True:
            if rank.started_at and rank.attempt > attempt and rank.state is not State.QUEUED:
                attempt = rank.attempt
                self._does(f"run {run_id}    still running, no output")
                yield self.say(f"run {run_id}    {await self._started(rank)}{_try(attempt)}")
                async for data in self._log("rank", rank):
                    yield data
            elif rank.state in TERMINAL:
                return
            else:
                await self._bell.wait(_LOOK_S)
            rank = await self._get(Rank, rank_id)
            while told < rank.attempt and (reason := await self._why_again(rank, told + 1)):
                told += 1
                yield self.say(f"run {run_id}    {reason}; trying again")

    async def _started(self, rank: Rank) -> str:
        run = await self._get(Run, rank.run_id)
        build = await self._get(Build, run.build_id)
        where = words.placed(rank, await self._read(gpu_names))
        since = max(build.ended_at or 0, run.created_at)
        what = "after the build" if since == build.ended_at else "after the push"
        return f"started {where} {show_span(max((rank.started_at or 0) - since, 0))} {what}"

    async def _follow_ranks(self, run_id: int, ranks: list[Rank]) -> AsyncGenerator[bytes]:
        """All logs at once, whole lines, each with its rank in front; the queue is short, so readers wait."""
        lines: asyncio.Queue[bytes | None] = asyncio.Queue(64)
        self._does(f"run {run_id}    still running, no output")

        async def pump(rank: Rank) -> None:
            tag, rest = f"[{rank.number}] ".encode(), b""
            follower = Follower(self._context, self._voice.plain())
            try:
                async for data in follower._follow_rank(rank.id, run_id):
                    *whole, rest = (rest + data).split(b"\n")
                    for line in whole:
                        await lines.put(tag + line + b"\n")
                if rest:
                    await lines.put(tag + rest + b"\n")
            finally:
                follower.close()
            await lines.put(None)

        pumps = [asyncio.create_task(pump(rank)) for rank in ranks]
        try:
            left = len(pumps)
            while left:
                line = await lines.get()
                left -= line is None
                yield self._voice.pass_on(line or b"")
        finally:
            await end(*pumps)

    async def _log(self, kind: str, row: Build | Rank) -> AsyncGenerator[bytes]:
        """The bytes of one attempt's log, until it ends, or its writer is gone without having ended it."""
        path = self._context.paths.log(kind, row.id, row.attempt)
        over = False
        async with aclosing(self._context.logs.tail(path)) as chunks:
            async for _offset, data in chunks:
                yield self._voice.pass_on(data)
                if not data and over:
                    return
                over = not data and not await self._is_current(row)

    async def _why_again(self, row: Build | Rank, attempt: int) -> str:
        """Why this attempt was given up for another one; '' if it was not (yet). The row may be further."""
        given_up = select(Event.reason).where(
            Event.kind == row.__tablename__,
            Event.subject_id == row.id,
            Event.attempt == attempt,
            Event.from_state.in_(LIVE),
            Event.to_state == State.QUEUED,
        )
        return await self._read(lambda session: session.scalar(given_up)) or ""

    async def _read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        return await read_patiently(self._context.database, work)

    async def _get(self, table: type[R], row_id: int) -> R:
        return await get_patiently(self._context.database, table, row_id)

    async def _is_current(self, row: Build | Rank) -> bool:
        """Whether the attempt that `row` shows is still at work."""
        same = await self._get(Build, row.id) if isinstance(row, Build) else await self._get(Rank, row.id)
        return same.attempt == row.attempt and same.state not in TERMINAL

    async def _ranks(self, run_id: int) -> list[Rank]:
        ranks = select(Rank).where(Rank.run_id == run_id).order_by(Rank.number)

        async def read(session: AsyncSession) -> list[Rank]:
            return list((await session.scalars(ranks)).all())

        return await self._read(read)


def _try(attempt: int) -> str:
    return f", attempt {attempt} of {MAX_ATTEMPTS}" if attempt > 1 else ""
