"""The builder: claims queued builds, a few at a time, and does them."""

import time
from collections.abc import Sequence

from sqlalchemy import func, select

from builder.build import BuildWork
from hermes.executors import LOCAL_WARNING, choose_executor
from hermes.faultpoint import faultpoint
from hermes.journal import log
from hermes.leases import is_due, new_owner, take
from hermes.process import Context, StopEvent
from hermes.states import State
from hermes.supervisor import Job, Supervisor
from hermes.tables import Build, Run


async def serve(context: Context, stop: StopEvent) -> None:
    """Work until `stop`."""
    executor, words = await choose_executor(context.settings)
    log.info("builder ready", executor=executor.name, engine=words)
    owner = new_owner()
    if executor.name == "local":
        log.warning(LOCAL_WARNING, engine=words)

    async def claim(jobs: Sequence[Job[Build]]) -> list[Job[Build]]:
        return await claim_builds(context, owner, context.settings.build_slots - len(jobs))

    async def cancelled(ids: Sequence[int]) -> set[int]:
        asked = select(Build.id).where(Build.id.in_(ids), Build.cancel_requested_at.is_not(None))
        async with context.database.read() as session:
            return set((await session.scalars(asked)).all())

    work = BuildWork(context, executor)
    await Supervisor(context, executor, Build, claim, work.do, cancelled, owner).run(stop)


async def claim_builds(context: Context, owner: str, places: int) -> list[Job[Build]]:
    """Take up to `places` queued builds; the one whose run goes first is built first."""
    if places <= 0:
        return []
    turn = (
        select(func.min(Run.queue_key))
        .where(Run.build_id == Build.id, Run.state == State.QUEUED)
        .scalar_subquery()
    )
    queued = (
        select(Build)
        .where(Build.state == State.QUEUED, is_due(Build, time.time()))
        .order_by(func.coalesce(turn, Build.created_at), Build.id)
        .limit(places)
    )
    async with context.database.read() as session:
        if (await session.scalars(queued)).first() is None:
            return []
    faultpoint("build.claiming")
    async with context.database.write() as session:
        rows = (await session.scalars(queued.with_for_update(skip_locked=True, of=Build))).all()
        lease_s = context.settings.lease
        return [Job(row, owner) for row in rows if await take(session, row, owner, lease_s)]
