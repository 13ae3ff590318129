"""A runner that ends in good order leaves its programs running: who may have them, and until when."""

import time

from hermes.errors import Fenced
from hermes.journal import log
from hermes.leases import let_go
from hermes.plan import Plan
from hermes.process import Context
from hermes.states import State
from hermes.supervisor import Job
from hermes.tables import Rank, Run

_LEAST_S = 1.0  # what has ended meanwhile is read to its end


def left_s(rank: Rank, plan: Plan) -> float:
    """Of the time that it may take; of one that was adopted some has passed."""
    passed_s = time.time() - rank.started_at if rank.state is State.RUNNING and rank.started_at else 0.0
    return max(plan.timeout_s - passed_s, _LEAST_S)


async def leave_rank(context: Context, job: Job[Rank]) -> None:
    """Nobody takes it before its own time is over, but the next runner of this machine (runner.adoption)."""
    async with context.database.write() as session:
        row = await session.get_one(Rank, job.row.id)
        if not job.owns(row):
            raise Fenced
        run = await session.get_one(Run, row.run_id)
        await let_go(session, row, left_s(row, Plan.model_validate(run.plan)) + context.settings.lease)
    log.info("rank left running", id=row.id, run=row.run_id, attempt=row.attempt)
