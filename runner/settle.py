"""How an attempt ends in the database: verdict, figures and artifacts in one transaction.

A full disk is waited for: its program is over, and would have to run again for nothing but our own fault."""

import asyncio
import time
from dataclasses import dataclass

from hermes.attempt import Ending, written
from hermes.errors import Fenced
from hermes.journal import log
from hermes.logs import LogWriter
from hermes.process import Context
from hermes.queue import CHANGED
from hermes.supervisor import Job, Stop
from hermes.tables import Artifact, Rank
from hermes.transitions import move
from runner.artifacts import Kept
from runner.collect import Collected
from runner.metrics import MOST_NAMES
from runner.telemetry import Telemetry
from runner.verdict import Verdict

_NOT_OURS = (Stop.SHUTDOWN, Stop.LEAVE, Stop.FENCED)  # then nobody waits


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to."""

    verdict: Verdict
    collected: Collected
    watch: Telemetry
    ending: Ending

    @property
    def reason(self) -> str:
        """Of its verdict, and why there are no artifacts, or not all."""
        return "; ".join(filter(None, (self.verdict.reason, self.collected.lost)))


async def settle(context: Context, job: Job[Rank], outcome: Outcome) -> None:
    """Nothing of it if this attempt is fenced. Raises Fenced, Unavailable."""

    async def write() -> None:
        await _settle(context, job, outcome)

    await written(job, write)


async def _settle(context: Context, job: Job[Rank], outcome: Outcome) -> None:
    verdict, kept, watch = outcome.verdict, outcome.collected.kept, outcome.watch
    summary = watch.summary(outcome.ending)
    await watch.flush()
    rank = job.row
    values = {
        "exit_code": verdict.exit_code,
        "signal": verdict.signal,
        "summary": summary | {"artifacts": len(kept)},
    }
    async with context.database.write() as session:
        row = await session.get_one(Rank, rank.id)
        if not job.owns(row) or not await move(session, row, verdict.event, outcome.reason, **values):
            raise Fenced
        session.add_all(_artifact(rank, each) for each in kept)
    await context.doorbell.ring(CHANGED)
    if watch.progress.metrics.ignored:
        log.info("metrics ignored", id=rank.id, run=rank.run_id, names=f"more than {MOST_NAMES}")
    log.info("rank settled", id=rank.id, run=rank.run_id, **summary)


async def finish_log(context: Context, job: Job[Rank], writer: LogWriter) -> None:
    """Close it when all of it is written."""
    while not writer.catch_up() and job.stop not in _NOT_OURS:
        await asyncio.sleep(context.settings.poll)
    writer.close()


def _artifact(rank: Rank, kept: Kept) -> Artifact:
    return Artifact(
        run_id=rank.run_id,
        rank_id=rank.id,
        path=kept.path,
        size_bytes=kept.size_bytes,
        sha256=kept.sha256,
        created_at=time.time(),
    )
