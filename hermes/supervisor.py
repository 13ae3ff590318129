"""Claims work, keeps its leases, and ends it when it is cancelled, fenced or the process stops.

The builder and the runner are this, each with its own way to choose and to do a piece of work."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from hermes.boxes import keep_sweeping, sweep_once
from hermes.errors import Fenced, Unavailable
from hermes.executors.base import Executor
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.leases import fault, give_back, renew
from hermes.process import Context, StopEvent
from hermes.queue import CHANGED
from hermes.reconcile import keep_reconciling
from hermes.room import FULL, is_full
from hermes.signs import Signs
from hermes.tables import Build, Rank
from hermes.tasks import beside

W = TypeVar("W", bound=Build | Rank)
_RETRY_IN_S = 3.0
_RENEW_AGAIN_S = 1.0


class Stop(StrEnum):
    """Why a job is to end before its program does."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    FENCED = "fenced"  # another attempt has it: touch nothing
    SHUTDOWN = "shutdown"  # this process ends: give the work back
    LEAVE = "leave"  # likewise, and the program goes on: the next process adopts it


@dataclass(eq=False)
class Job(Generic[W]):
    """One claimed row at work; `row` is as it was when claimed."""

    row: W
    owner: str
    stop: Stop | None = None
    holds: bool = True  # what it needs of the machine; False: the rest is only to be written down
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def owns(self, row: Build | Rank | None) -> bool:
        """Whether the row, as it is now, is still this attempt's; else nothing may be written to it."""
        return row is not None and row.attempt == self.row.attempt and row.lease_owner == self.owner

    def ask_to_stop(self, why: Stop) -> None:
        """The first reason counts."""
        if self.stop is None:
            self.stop = why
            self.stopped.set()


class Supervisor(Generic[W]):
    """`claim` takes what can begin now, `work` does one job, `cancelled` tells which ids are to end, `adopt`
    finds what a killed process has left and goes on."""

    def __init__(
        self,
        context: Context,
        executor: Executor,
        table: type[W],
        claim: Callable[[Sequence[Job[W]]], Awaitable[list[Job[W]]]],
        work: Callable[[Job[W]], Awaitable[None]],
        cancelled: Callable[[Sequence[int]], Awaitable[set[int]]],
        owner: str,
        adopt: Callable[[], Awaitable[list[Job[W]]]] | None = None,
    ) -> None:
        self.context, self.executor, self.owner = context, executor, owner
        self.table: type[Build] | type[Rank] = Build if issubclass(table, Build) else Rank
        self.topic = self.table.__tablename__  # also the name of its ring (hermes.queue)
        self._claim, self._work, self._cancelled, self._adopt = claim, work, cancelled, adopt
        self._jobs: dict[Job[W], asyncio.Task[None]] = {}
        self._bell = context.doorbell.bell(self.topic)
        self._engine_is_suspect = self._was_short = False
        self.missed_rings = 0  # found by looking, though it waited and nobody had rung

    @property
    def jobs(self) -> list[Job[W]]:
        """What is at work now."""
        return list(self._jobs)

    def _held(self) -> set[tuple[int, int]]:
        return {(job.row.id, job.row.attempt) for job in self.jobs}

    async def run(self, stop: StopEvent) -> None:
        """Work until `stop`; then go on with what is at work to its end, let go of it, or end it and give it
        back (HERMES_STOP)."""
        if self._adopt is not None:
            self._begin(await self._adopt())
        await sweep_once(self.context, self.executor, self.table, self._held)
        side = (
            self._keep_leases(),
            self._signs().keep(),
            keep_reconciling(self.context),
            keep_sweeping(self.context, self.executor, self.table, self._held),
            _ring_when(stop, self._bell.ring),
            _ring_when(stop.again, self._bell.ring),
        )
        async with beside(*side):
            try:
                await self._keep_looking(stop)
                if self.context.settings.stop == "drain":
                    await self._drain(stop.again)
            finally:
                why = self._farewell()
                for job in self.jobs:
                    job.ask_to_stop(why)
                await asyncio.gather(*self._jobs.values())

    async def _keep_looking(self, stop: StopEvent) -> None:
        rang = True
        while not stop.is_set():
            try:
                claimed = await self._look()
                self.missed_rings += 0 if rang else sum(not job.row.not_before for job in claimed)
            except Unavailable as error:
                log.warning("cannot look for work", error=str(error))
            rang = await self._bell.wait(self.context.settings.poll)

    def _farewell(self) -> Stop:
        if self.context.settings.stop != "leave" or self.table is not Rank or not self._jobs:
            return Stop.SHUTDOWN
        if not self.executor.outlives:
            name = self.executor.name
            log.warning("programs are ended, they start anew", why=f"the {name} executor cannot leave them")
            return Stop.SHUTDOWN
        return Stop.LEAVE

    def _signs(self) -> Signs:
        return Signs(self.context, self.executor, self.topic, lambda: self.missed_rings)

    async def _drain(self, stop: asyncio.Event) -> None:
        """Begin nothing, and keep all that is at work, with its lease and its log, to its end or until
        `stop`: what is ended then starts anew with the service."""
        while self._jobs and not stop.is_set():
            log.info("draining", at_work=len(self._jobs), what=self.topic)
            with suppress(Unavailable):
                await self._look_for_cancelled()
            await self._bell.wait(self.context.settings.poll)

    async def _look_for_cancelled(self) -> None:
        if self._jobs:
            asked = await self._cancelled([job.row.id for job in self._jobs])
            for job in self.jobs:
                if job.row.id in asked:
                    job.ask_to_stop(Stop.CANCEL)

    async def _look(self) -> list[Job[W]]:
        """Returns what is begun."""
        await self._look_for_cancelled()
        if self._engine_is_suspect:  # an engine that is away must not use up everybody's attempts
            await self.executor.check()
            self._engine_is_suspect = False
            await sweep_once(self.context, self.executor, self.table, self._held)
        claimed = [] if self._is_short() else await self._claim(self.jobs)
        if claimed:
            faultpoint(f"{self.topic}.claimed")
        self._begin(claimed)
        if claimed:
            await self.context.doorbell.ring(CHANGED)
        return claimed

    def _is_short(self) -> bool:
        """Whether the disk is full: then nothing begins. It is said once."""
        trouble = self.context.room.trouble()
        if trouble and not self._was_short:
            log.error("nothing begins", topic=self.topic, why=trouble)
        elif self._was_short and not trouble:
            log.info("work begins again", topic=self.topic)
        self._was_short = bool(trouble)
        return self._was_short

    def _begin(self, jobs: Sequence[Job[W]]) -> None:
        for job in jobs:
            self._jobs[job] = asyncio.create_task(self._guard(job), name=f"{self.topic} {job.row.id}")

    async def _guard(self, job: Job[W]) -> None:
        """Whatever goes wrong with one job is said, and ends or requeues that job alone."""
        try:
            await self._work(job)
        except Fenced:
            log.warning(f"{self.topic} fenced", id=job.row.id, attempt=job.row.attempt)
        except Exception as error:
            self._engine_is_suspect = True
            if not isinstance(error, Unavailable):
                log.exception(f"{self.topic} broke", id=job.row.id)
            await self._fault(job, _in_words(error))
        finally:
            self._jobs.pop(job, None)
            self._bell.ring()  # a place became free
            await self.context.doorbell.ring(CHANGED)

    async def _fault(self, job: Job[W], reason: str) -> None:
        while True:
            try:
                return await self._write_fault(job, reason)
            except Unavailable as error:
                if not self.context.room.trouble() or job.stop in (Stop.SHUTDOWN, Stop.LEAVE):
                    log.error("a fault could not be written", id=job.row.id, error=str(error))
                    return  # its lease ends, and with it this attempt
            await asyncio.sleep(self.context.settings.poll)

    async def _write_fault(self, job: Job[W], reason: str) -> None:
        async with self.context.database.write() as session:
            row: Build | Rank | None = await session.get(self.table, job.row.id)
            if row is None or not job.owns(row):
                return
            if job.stop is Stop.SHUTDOWN:
                await give_back(session, row)
            else:
                await fault(session, row, reason, retry_in_s=_RETRY_IN_S * (row.faults + 1))

    async def _keep_leases(self) -> None:
        lease_s = self.context.settings.lease
        wait_s = lease_s / 4
        while True:
            await asyncio.sleep(wait_s)
            wait_s, jobs = lease_s / 4, self.jobs
            if not jobs:
                continue
            try:
                async with self.context.database.write() as session:
                    ids = [job.row.id for job in jobs]
                    mine = await renew(session, self.table, self.owner, ids, lease_s)
            except Unavailable as error:
                log.warning("leases could not be renewed", error=str(error))
                wait_s = _RENEW_AGAIN_S
                continue
            for job in jobs:
                if mine.get(job.row.id) != job.row.attempt:
                    job.ask_to_stop(Stop.FENCED)


def _in_words(error: Exception) -> str:
    """For everybody: what the system says of a full disk names paths of ours."""
    return FULL if is_full(error) else str(error) or type(error).__name__


async def _ring_when(event: asyncio.Event, ring: Callable[[], None]) -> None:
    await event.wait()
    ring()
