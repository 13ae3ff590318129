"""One attempt of one rank: slot held, box started, followed, judged, its files kept, all of it written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial

from hermes.attempt import Ending, follow_to_end, written
from hermes.boxes import forget_checkpoint
from hermes.errors import Fenced, Left, Unavailable
from hermes.executors.base import Box, Executor
from hermes.faultpoint import faultpoint
from hermes.instance import UNFENCED
from hermes.logs import LogWriter
from hermes.plan import Plan
from hermes.process import Context
from hermes.queue import CHANGED, RANKS
from hermes.secret_runs import mark_used
from hermes.states import Event, State
from hermes.supervisor import Job, Stop
from hermes.tables import Rank, Run
from hermes.threads import in_thread
from hermes.transitions import move
from hermes.trust import NEXT_STEP, distrust
from runner.collect import collect
from runner.gpus import Gpus
from runner.hygiene import PROGRAMS_OWN_XIDS, Hygiene
from runner.leaving import leave_rank, left_s
from runner.metrics import forget_metrics
from runner.orders import Order, log_of, look_up, make_task
from runner.progress import ProgressScanner
from runner.rebuilt import build_again
from runner.result import Result
from runner.settle import Outcome, finish_log, settle
from runner.telemetry import Telemetry
from runner.verdict import Verdict, judge
from runner.warm import Warm


@dataclass(frozen=True)
class RankWork:
    """Does ranks with one executor and this machine's GPUs."""

    context: Context
    executor: Executor
    gpus: Gpus
    hygiene: Hygiene
    warm: Warm
    adopted: dict[int, Box] = field(default_factory=dict)  # by rank: it runs already (runner.adoption)
    begun: asyncio.Event = field(default_factory=asyncio.Event)  # set by each program (runner.foresight)

    async def do(self, job: Job[Rank]) -> None:
        """From claimed to terminal. Raises Unavailable for faults of ours, Fenced when another has it."""
        try:
            await self.hygiene.begin(_gpus(job.row))
            await self._do(job)
        except Left:
            await leave_rank(self.context, job)
        finally:
            await self._free(job)

    async def _free(self, job: Job[Rank]) -> None:
        """Its program has ended: when its GPUs are fit, the next one may begin. What is left is to keep its
        files and to write down its end, which hinders nobody."""
        if job.holds and job.stop not in (Stop.SHUTDOWN, Stop.LEAVE):  # then who starts next looks first
            await self.hygiene.end(_gpus(job.row))
            job.holds = False
            await self.context.doorbell.ring(RANKS)

    async def _do(self, job: Job[Rank]) -> None:
        rank = job.row
        order = await look_up(self.context, rank)
        run, plan = order.run, Plan.model_validate(order.run.plan)
        if rank.id not in self.adopted and not self.context.paths.image(order.build.id).exists():
            return await build_again(self.context, job, order.build)
        writer = LogWriter(log_of(self.context, rank), self.context.settings.log_size)
        try:
            if why := await self._distrust(run):
                writer.write(f"hermes: {why}; {NEXT_STEP}\n".encode())
                await self._refuse(job, why)
                return
            async with self._box(rank, order, writer) as box:
                watch, ending = await self._run(job, plan, box, writer)
                faultpoint("rank.ended")
                by = await self._cancelled_by(run) if ending.stop is Stop.CANCEL else ""
                verdict = judge(ending, plan, by)
                await self._check_gpus(rank, verdict, writer)
                await self._free(job)
                is_over = verdict.event not in (Event.FAIL, Event.TIME_OUT) or rank.failures >= plan.retries
                if is_over:
                    collected = await collect(self.context, self.executor, box, plan.artifacts, writer)
                    outcome = Outcome(verdict, collected, watch, ending)
                    faultpoint("rank.collected")
                    if is_whole := writer.catch_up():
                        writer.close()
                        await settle(self.context, job, outcome)
                        faultpoint("rank.settled")
                if plan.keeps_result:
                    self.warm.ended(box.task)
            if not is_over:  # its box is gone, and with it the hold on its checkpoint
                return await self._try_again(job, verdict, plan, writer)
            if not is_whole:  # the disk is full, but for what its box took
                await finish_log(self.context, job, writer)
                await settle(self.context, job, outcome)
        finally:
            writer.close()
        faultpoint("rank.removed")
        checkpoint = self.context.paths.checkpoint(run.id, rank.number)
        await in_thread(forget_checkpoint, checkpoint, is_only=len(plan.ranks) == 1)  # it is over

    async def _run(self, job: Job[Rank], plan: Plan, box: Box, writer: LogWriter) -> tuple[Telemetry, Ending]:
        """Until its program has ended."""
        if plan.keeps_result:
            self.warm.begun(box.task)
        with closing(self._result(job.row, plan, box, writer)) as result:
            scanner = ProgressScanner(result)
            watch = Telemetry(self.context, self.executor, self.gpus, box, job.row, scanner)
            ending = await self._follow(job, box, watch, left_s(job.row, plan))
        watch.figures |= result.figures | {"start": "warm" if box.was_ready else "cold"}
        return watch, ending

    @asynccontextmanager
    async def _box(self, rank: Rank, order: Order, writer: LogWriter) -> AsyncIterator[Box]:
        found = self.adopted.pop(rank.id, None)
        box = found or await self.executor.start(await make_task(self.context, rank, order))
        end: Callable[[], Awaitable[None]] = partial(self.executor.remove, box.task.name)
        try:
            writer.leave_out(box.unlogged_bytes)
            yield box
        except Left:
            end = partial(self.executor.leave, box)
            writer.leave()
            raise
        finally:
            await asyncio.shield(end())

    async def _distrust(self, run: Run) -> str:
        """Asked again here: the engine may have gone since the run was queued."""
        if self.executor.name != UNFENCED:
            return ""
        settings = self.context.settings
        return await self.context.database.read_at_once(lambda ask: distrust(ask, settings, run.user_id))

    async def _refuse(self, job: Job[Rank], why: str) -> None:
        async with self.context.database.write() as session:
            row = await session.get_one(Rank, job.row.id)
            if not job.owns(row) or not await move(session, row, Event.FAIL, why):
                raise Fenced
        await self.context.doorbell.ring(CHANGED)

    def _result(self, rank: Rank, plan: Plan, box: Box, writer: LogWriter) -> Result:
        paths, limit_bytes = self.context.paths, self.context.settings.result_size
        path = paths.result(rank.id, rank.attempt) if plan.keeps_result else None
        return Result(path, limit_bytes, writer.write, box.seen.stdout_bytes)

    async def _started(self, job: Job[Rank], box: Box) -> None:
        names = sorted(box.task.secrets)
        async with self.context.database.write() as session:
            row = await session.get_one(Rank, job.row.id)
            if job.owns(row) and row.state is State.RUNNING:
                return  # it was written, and only that was not heard
            if not job.owns(row) or not await move(session, row, Event.START, secrets=names or None):
                raise Fenced
            if names:
                await mark_used(
                    session, await session.get_one(Run, row.run_id), box.task.env["HERMES_COMMIT"], names
                )
            if row.attempt > 1:
                await forget_metrics(session, row.id)
        await self.context.doorbell.ring(CHANGED)

    async def _follow(self, job: Job[Rank], box: Box, watch: Telemetry, limit_s: float) -> Ending:
        following = asyncio.create_task(follow_to_end(self.executor, box, watch.progress, job, limit_s))
        sampling = asyncio.create_task(watch.keep_sampling())
        try:
            if job.row.state is not State.RUNNING:  # it prints already
                faultpoint("rank.started")
                await written(job, partial(self._started, job, box))
                faultpoint("rank.running")
            self.begun.set()
            return await following
        except Left:
            with suppress(Unavailable):
                await watch.flush()
            raise
        finally:
            for task in (following, sampling):
                task.cancel()
                with suppress(asyncio.CancelledError, Unavailable, Fenced):
                    await task

    async def _check_gpus(self, rank: Rank, verdict: Verdict, writer: LogWriter) -> None:
        """Says in the log what the driver reported meanwhile. Raises Unavailable when that explains how the
        program ended: it was our GPU's fault, so it is tried again on another one."""
        reported = await self.hygiene.xids(_gpus(rank))
        for uuid, xids in reported.items():
            for xid in dict.fromkeys(xids):
                program = "a program that shares it" if (rank.slot or {}).get("gpu_bytes") else "the program"
                whose = f"{program}'s own doing" if xid in PROGRAMS_OWN_XIDS else "a fault of the GPU"
                writer.write(f"\nhermes: the driver reported Xid {xid} of {uuid}: {whose}\n".encode())
        faults = sorted({xid for xids in reported.values() for xid in xids} - PROGRAMS_OWN_XIDS)
        if faults and verdict.event in (Event.FAIL, Event.TIME_OUT):
            raise Unavailable(f"the GPU failed: Xid {faults[0]}; it is in quarantine")

    async def _try_again(self, job: Job[Rank], verdict: Verdict, plan: Plan, writer: LogWriter) -> None:
        """The manifest asks for it (run.retries): queued again, with the checkpoint as it is."""
        number = job.row.failures + 1
        reason = f"{verdict.reason}; retry {number} of {plan.retries}"
        writer.write(f"\nhermes: {reason}\n".encode())
        writer.close()
        async with self.context.database.write() as session:
            row = await session.get_one(Rank, job.row.id)
            values = {"failures": number, "faults": row.faults}
            if not job.owns(row) or not await move(session, row, Event.REQUEUE, reason, **values):
                raise Fenced
        await self.context.doorbell.ring(CHANGED)

    async def _cancelled_by(self, run: Run) -> str:
        async with self.context.database.read() as session:
            return (await session.get_one(Run, run.id)).cancelled_by or "an operator"


def _gpus(rank: Rank) -> list[str]:
    return list((rank.slot or {}).get("gpus", ()))
