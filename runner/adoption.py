"""A runner that was killed leaves its programs running: the next one on its machine goes on with them."""

import time

from sqlalchemy import update
from sqlalchemy.engine import CursorResult

from hermes import logs
from hermes.errors import Unavailable
from hermes.executors.base import Seen
from hermes.journal import log
from hermes.leases import orphans
from hermes.process import Context
from hermes.states import State
from hermes.supervisor import Job
from hermes.tables import Rank
from runner.orders import log_of, look_up, task_of
from runner.work import RankWork


async def adopt_ranks(work: RankWork, owner: str) -> list[Job[Rank]]:
    """Those that a dead process of this machine had, and whose program and output are still there. The
    attempt goes on; the lease has a new owner, which fences the old one should it not be dead after all."""
    async with work.context.database.read() as session:
        running = [rank for rank in await orphans(session, Rank) if rank.state is State.RUNNING]
    jobs = []
    for rank in running:
        try:
            if await _adopt(work, rank, owner):
                jobs.append(Job(rank, owner))
        except Unavailable as error:
            log.warning("rank not adopted", id=rank.id, error=str(error))
    return jobs


async def _adopt(work: RankWork, rank: Rank, owner: str) -> bool:
    order = await look_up(work.context, rank)
    counts = logs.count_bytes(log_of(work.context, rank))
    seen = Seen(counts.get(logs.STDOUT, 0), counts.get(logs.STDERR, 0))
    box = await work.executor.adopt(task_of(work.context, rank, order), seen)
    if box is None:
        return False
    if not await _take_over(work.context, rank, owner):
        return False
    work.adopted[rank.id] = box
    log.info("rank adopted", id=rank.id, run=rank.run_id, attempt=rank.attempt, box=box.task.name)
    return True


async def _take_over(context: Context, rank: Rank, owner: str) -> bool:
    """The lease, unless somebody else has ended or has it meanwhile."""
    async with context.database.write() as session:
        mine = await session.execute(
            update(Rank)
            .where(
                Rank.id == rank.id,
                Rank.attempt == rank.attempt,
                Rank.state == State.RUNNING,
                Rank.lease_owner == rank.lease_owner,
            )
            .values(lease_owner=owner, lease_until=time.time() + context.settings.lease)
        )
        assert isinstance(mine, CursorResult)
        return mine.rowcount == 1
