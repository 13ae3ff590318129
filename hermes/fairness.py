"""Who goes first: per-user virtual time, as DOMjudge does it for teams.

A rank's key is fixed when it is queued: the time, moved back by one `TURN_S` for every rank that its user
already has waiting. A flood of one user's runs, or one run of a thousand ranks, lines up behind the first
rank of everybody else; within one user the order is that of asking. The smallest key goes first.
Source: DOMjudge, webapp/src/Service/DOMJudgeService.php, `teamPriority`.
"""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.errors import Refused
from hermes.settings import Settings
from hermes.states import State
from hermes.tables import Rank, Run

TURN_S = 60.0


async def check_queue(
    session: AsyncSession, settings: Settings, user_id: int, ranks: int, what: str = "this push"
) -> None:
    """Raises Refused when so many more ranks of this user would make the queue too long."""
    waiting = select(func.count()).select_from(Rank).where(Rank.state == State.QUEUED)
    theirs = waiting.join(Run, Run.id == Rank.run_id).where(Run.user_id == user_id)
    for query, most, whose in (
        (theirs, settings.user_queued, "you have"),
        (waiting, settings.queued, "this instance has"),
    ):
        if most and (count := await session.scalar(query) or 0) + ranks > most:
            raise Refused(
                f"{whose} {count} ranks in the queue, and {what} adds {ranks}: the limit is {most}",
                "wait for some to end, cancel some, or push with -o skip or -o build-only",
            )


async def queue_key(session: AsyncSession, user_id: int, now: float) -> float:
    """The key of the first rank of a run that this user queues now; the next ones follow by `TURN_S`."""
    waiting, last = (
        await session.execute(
            select(func.count(), func.max(Rank.queue_key))
            .join(Run, Run.id == Rank.run_id)
            .where(Run.user_id == user_id, Rank.state == State.QUEUED)
        )
    ).one()
    return float(max((last or 0.0) + 1.0, now + TURN_S * waiting)) if waiting else now
