"""Which rank will most probably come next; its box is made while its slot is still held, and waits there."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hermes.errors import Unavailable
from hermes.executors.base import Task
from hermes.journal import log
from hermes.states import State
from hermes.supervisor import Job
from hermes.tables import Rank
from runner.claims import Claims, as_row, slot_of
from runner.orders import look_up, make_task
from runner.slots import Slot
from runner.work import RankWork

_PAUSE_S = 0.2  # between two looks
_KEEP_S = 600.0  # then a box that still waits is made anew
_TRIES = 4  # of those that hold something, for one whose slot somebody waits for


@dataclass
class Foresight:
    """Of one runner: one box at most, for one slot, and for a rank that has not been tried yet (the last
    attempt of any other may still have its checkpoint)."""

    work: RankWork
    claims: Claims
    jobs: Callable[[], Sequence[Job[Rank]]]
    _order: list[Job[Rank]] = field(default_factory=list)  # in which they will end
    _guess: tuple[int, Any] | None = None  # whose box was made: (rank, slot)
    _made_at: float = 0.0
    _is_claiming: bool = False

    async def claim(self, jobs: Sequence[Job[Rank]]) -> list[Job[Rank]]:
        """As `Claims.claim`. Until that which was taken has begun, nothing is made or undone."""
        self._is_claiming = True
        claimed = await self.claims.claim(jobs)
        if not claimed:
            self.work.begun.set()
        return claimed

    async def keep(self) -> None:
        """Look whenever a program has begun, and whenever there was nothing to claim."""
        while True:
            await self.work.begun.wait()
            if not self._expected():  # somebody has just ended: what was made is about to be taken
                await asyncio.sleep(_PAUSE_S)
            self.work.begun.clear()
            self._is_claiming = False
            try:
                await self._look()
            except Unavailable as error:  # the engine still removes an old one of that name, for example
                self._guess = None  # tried again at the next look
                log.warning("no box was made ahead", error=str(error))
            await asyncio.sleep(_PAUSE_S)

    async def _look(self) -> None:
        rank = await self._next()
        guess = None if rank is None else (rank.id, rank.slot)
        was_long_ago = time.monotonic() > self._made_at + _KEEP_S
        is_old = guess is not None and was_long_ago
        if guess == self._guess and not is_old:
            return
        if self._guess and not was_long_ago and not self._expected() and await self._waits(self._guess[0]):
            return  # its turn has come: it is about to be taken, however long that takes
        tasks = [] if rank is None else [await self._task(rank)]
        if tasks and not tasks[0].tree.exists():  # it is built again first
            tasks = []
        if self._is_claiming:
            return
        self._guess, self._made_at = guess, time.monotonic()
        if is_old:
            await self.work.executor.prepare(())
        await self.work.executor.prepare(tasks)

    async def _task(self, rank: Rank) -> Task:
        return await make_task(self.work.context, rank, await look_up(self.work.context, rank))

    async def _waits(self, rank_id: int) -> bool:
        async with self.work.context.database.read() as session:
            rank = await session.get_one(Rank, rank_id)
            return rank.state is State.QUEUED and not rank.attempt

    async def _next(self) -> Rank | None:
        """As its row will be when it has been claimed; nobody's while the disk is full."""
        if self.work.context.room.trouble():
            return None
        holding = self._expected()
        for leaving in holding[:_TRIES]:
            held = [slot_of(job.row) for job in holding if job is not leaving]
            starts = await self.claims.decide(held, [slot_of(leaving.row)])
            for rank_id, slot in starts.items():
                return await self._claimed(rank_id, slot)
        return None

    def _expected(self) -> list[Job[Rank]]:
        """Who holds something, in the order in which they will end: that in which they began. Whoever was
        expected to end, and was outlived by another, is expected last."""
        holding = [job for job in self.jobs() if job.holds]
        if self._order and self._order[0] in holding and not set(self._order) <= set(holding):
            self._order.append(self._order.pop(0))
        self._order = [job for job in self._order if job in holding]
        self._order += [job for job in holding if job not in self._order]
        return list(self._order)

    async def _claimed(self, rank_id: int, slot: Slot) -> Rank | None:
        async with self.work.context.database.read() as session:
            rank = await session.get_one(Rank, rank_id)
            session.expunge(rank)  # nothing of this is written
        if rank.attempt:
            return None
        rank.attempt, rank.slot = 1, as_row(slot)
        return rank
