"""The runner: owns this machine's GPUs and CPUs, claims ranks that fit its free slots, and does them."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Select, select

from hermes.database import Database
from hermes.errors import Unavailable
from hermes.executors import LOCAL_WARNING, choose_executor
from hermes.journal import log
from hermes.leases import new_owner, take
from hermes.plan import Plan
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.settings import Settings
from hermes.states import State
from hermes.supervisor import Job, Supervisor
from hermes.tables import Build, Rank, Run, Runner
from runner.gpus import Gpus, open_gpus
from runner.hygiene import Hygiene
from runner.slots import Capacity, Condition, Slot, Want, assign
from runner.work import RankWork

_SEEN_EVERY_S = 15.0
_LOOK_AT = 200  # ranks from the head of the queue that are considered at a time


async def serve(context: Context, stop: asyncio.Event) -> None:
    """Work until `stop`."""
    executor, words = await choose_executor(context.settings)
    gpus, gpu_words = open_gpus(context.settings.gpus)
    capacity = measure(context.settings, gpus)
    owner = new_owner()
    hygiene = Hygiene(context, gpus)
    await hygiene.learn([gpu.uuid for gpu in capacity.gpus])
    if executor.name == "local":
        log.warning(LOCAL_WARNING)
    log.info("runner ready", executor=executor.name, engine=words, gpus=gpu_words, cpus=capacity.cpus)

    async def claim(jobs: Sequence[Job[Rank]]) -> list[Job[Rank]]:
        return await claim_ranks(context, owner, capacity, hygiene, jobs)

    async def cancelled(ids: Sequence[int]) -> set[int]:
        asked = (
            select(Rank.id)
            .join(Run, Run.id == Rank.run_id)
            .where(Rank.id.in_(ids), Run.cancel_requested_at.is_not(None))
        )
        async with context.database.read() as session:
            return set((await session.scalars(asked)).all())

    work = RankWork(context, executor, gpus, hygiene)
    supervisor = Supervisor(context, executor, Rank, claim, work.do, cancelled, owner)
    await _describe(context.database, executor.name, capacity)
    await context.doorbell.ring(CHANGED)
    side = [
        asyncio.create_task(_keep_describing(context.database, executor.name, capacity)),
        asyncio.create_task(hygiene.keep_listening()),
    ]
    try:
        await supervisor.run(stop)
    finally:
        for task in side:
            task.cancel()


def measure(settings: Settings, gpus: Gpus) -> Capacity:
    """What this machine offers to runs: the settings, or all CPUs and 90 % of the memory."""
    total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(
        cpus=settings.cpus or os.cpu_count() or 1,
        memory_bytes=settings.memory or int(total_bytes * 0.9),
        gpus=gpus.list(),
    )


async def claim_ranks(
    context: Context, owner: str, capacity: Capacity, hygiene: Hygiene, jobs: Sequence[Job[Rank]]
) -> list[Job[Rank]]:
    """Take every waiting rank that fits beside what is at work, in the order of fairness."""
    held = [_slot(job.row) for job in jobs]
    async with context.database.read() as session:
        waiting = [_want(rank, run) for rank, run in (await session.execute(_queue())).all()]
    if not waiting:
        return []
    free = [gpu.uuid for gpu in capacity.gpus if not any(gpu.uuid in slot.gpus for slot in held)]
    memory = {}
    if any(want.gpu.share for want in waiting):
        memory = await hygiene.memory([gpu.uuid for gpu in capacity.gpus])
    condition = Condition(await hygiene.unfit(free), memory)
    starts = {want.rank_id: slot for want, slot in assign(capacity, held, waiting, condition)}
    if not starts:
        return []
    async with context.database.write() as session:
        rows = await session.scalars(
            select(Rank)
            .where(Rank.id.in_(starts), Rank.state == State.QUEUED)
            .with_for_update(skip_locked=True)
        )
        claimed = []
        for row in rows.all():
            slot = asdict(starts[row.id]) | {"runner": socket.gethostname()}
            if await take(session, row, owner, context.settings.lease, slot=slot):
                claimed.append(Job(row, owner))
        return claimed


def _queue() -> Select[Rank, Run]:
    return (
        select(Rank, Run)
        .join(Run, Run.id == Rank.run_id)
        .join(Build, Build.id == Run.build_id)
        .where(
            Rank.state == State.QUEUED,
            Rank.not_before <= time.time(),
            Build.state == State.BUILT,
            Run.cancel_requested_at.is_(None),
        )
        .order_by(Run.priority.desc(), Run.queue_key, Rank.id)
        .limit(_LOOK_AT)
    )


def _want(rank: Rank, run: Run) -> Want:
    plan = Plan.model_validate(run.plan)
    waited_s = time.time() - max(rank.created_at, rank.not_before)
    return Want(rank.id, plan.cpus, plan.memory_bytes, plan.gpu, waited_s)


def _slot(rank: Rank) -> Slot:
    slot = rank.slot or {}
    return Slot(slot["cpus"], slot["memory_bytes"], tuple(slot["gpus"]), slot.get("gpu_bytes", 0))


async def _describe(database: Database, executor: str, capacity: Capacity) -> None:
    """Tell the others what this machine has; they cannot look themselves."""
    async with database.write() as session:
        name = socket.gethostname()
        row = await session.get(Runner, name) or Runner(name=name)
        row.executor, row.seen_at = executor, time.time()
        row.cpus, row.memory_bytes = capacity.cpus, capacity.memory_bytes
        row.gpus = [asdict(gpu) for gpu in capacity.gpus]
        session.add(row)


async def _keep_describing(database: Database, executor: str, capacity: Capacity) -> None:
    while True:
        await asyncio.sleep(_SEEN_EVERY_S)
        try:
            await _describe(database, executor, capacity)
        except Unavailable as error:
            log.warning("runner row not written", error=str(error))
