"""Who goes first: per-user virtual time, as DOMjudge does it for teams.

A run's key is fixed when it is queued: the time, moved back by one `TURN_S` for every run that its user
already has waiting. A flood of one user's runs lines up behind the first run of everybody else; within one
user the order is that of asking. The smallest key goes first; an admin's priority goes before keys.
Source: DOMjudge, webapp/src/Service/DOMJudgeService.php, `teamPriority`.
"""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.states import State
from hermes.tables import Run

TURN_S = 60.0


async def queue_key(session: AsyncSession, user_id: int, now: float) -> float:
    """The key of a run that this user queues now."""
    waiting, last = (
        await session.execute(
            select(func.count(), func.max(Run.queue_key)).where(
                Run.user_id == user_id, Run.state == State.QUEUED
            )
        )
    ).one()
    return float(max((last or 0.0) + 1.0, now + TURN_S * waiting)) if waiting else now
