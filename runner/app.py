"""The runner: owns this machine's GPUs and CPUs, claims ranks that fit its free slots, and does them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from sqlalchemy import select

from hermes.executors import LOCAL_WARNING, choose_executor
from hermes.instance import UNFENCED
from hermes.journal import log
from hermes.leases import new_owner
from hermes.pools import PoolTable, load_pools, pool_of
from hermes.process import Context, StopEvent
from hermes.queue import CHANGED
from hermes.settings import Settings
from hermes.supervisor import Supervisor
from hermes.tables import Rank, Run
from hermes.tasks import beside
from runner.adoption import adopt_ranks
from runner.claims import Claims
from runner.description import Description
from runner.foresight import Foresight
from runner.gpus import Gpus, open_gpus
from runner.hygiene import Hygiene
from runner.slots import Capacity, Placement
from runner.warm import Warm
from runner.work import RankWork


async def serve(context: Context, stop: StopEvent) -> None:
    """Work until `stop`."""
    executor, words = await choose_executor(context.settings, context.paths.keeper)
    gpus, gpu_words = open_gpus(context.settings.gpus)
    pools = load_pools(context.settings.pools)
    capacity = measure(context.settings, gpus, pools)
    owner = new_owner()
    hygiene = Hygiene(context, gpus)
    claims = Claims(context, owner, capacity, hygiene, pools)
    await hygiene.learn([gpu.uuid for gpu in capacity.gpus])
    if executor.name == "local":
        log.warning(LOCAL_WARNING, engine=words)
    log.info("runner ready", executor=executor.name, engine=words, gpus=gpu_words, cpus=capacity.cpus)
    warm = Warm(executor, context.settings.warm, context.settings.warm_time, context.room.trouble)
    work = RankWork(context, executor, gpus, hygiene, warm)
    foresight = Foresight(work, claims, lambda: supervisor.jobs)
    cancelled = partial(_cancelled, context)
    supervisor = Supervisor(
        context, executor, Rank, foresight.claim, work.do, cancelled, owner, lambda: adopt_ranks(work, owner)
    )
    description = Description(context, executor.name, capacity, gpus)
    await description.write()
    await context.doorbell.ring(CHANGED)
    ahead = [each.keep() for each in (foresight, warm) if executor.name != UNFENCED]
    try:
        async with beside(description.keep(), hygiene.keep_listening(), *ahead):
            await supervisor.run(stop)
    finally:
        await executor.close()


async def _cancelled(context: Context, ids: Sequence[int]) -> set[int]:
    """Those of these ranks whose end somebody has asked for."""
    asked = (
        select(Rank.id)
        .join(Run, Run.id == Rank.run_id)
        .where(Rank.id.in_(ids), Run.cancel_requested_at.is_not(None))
    )
    async with context.database.read() as session:
        return set((await session.scalars(asked)).all())


def measure(settings: Settings, gpus: Gpus, pools: PoolTable) -> Capacity:
    """What this machine offers to runs: the settings, or all CPUs and 90 % of the memory."""
    total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capacity(
        cpus=settings.cpus or os.cpu_count() or 1,
        memory_bytes=settings.memory or int(total_bytes * 0.9),
        gpus=tuple(replace(gpu, pool=pool_of(pools, gpu.uuid, gpu.index)) for gpu in gpus.list()),
        placement=cast("Placement", settings.placement),
        ranks=settings.ranks,
        user_ranks=settings.user_ranks,
    )
