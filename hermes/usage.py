"""What was used before: GPU memory, from which a reservation is learned, and GPU time, which has a bound."""

import time

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.states import LIVE, State
from hermes.tables import Rank, Run

_EARLIER = 20  # ranks
_MARGIN = 1.15  # a next run may need a little more
_STEP_BYTES = 64 << 20
DAY_S = 86400.0


async def learned_memory_bytes(session: AsyncSession, repo_id: int, name: str) -> int:
    """What to reserve on a GPU for a rank of this function: the largest peak of its last ranks that ended
    well, and some more; 0 if there are none."""
    earlier = (
        select(Rank.summary)
        .join(Run, Run.id == Rank.run_id)
        .where(
            Run.repo_id == repo_id,
            Run.plan["name"].as_string() == name,
            Rank.state == State.SUCCEEDED,
            Rank.gpu_count > 0,
        )
        .order_by(Rank.id.desc())
        .limit(_EARLIER)
    )
    peaks = [(each or {}).get("gpu_peak_memory_bytes", 0) for each in (await session.scalars(earlier)).all()]
    steps = -(-int(max(peaks, default=0) * _MARGIN) // _STEP_BYTES)
    return steps * _STEP_BYTES


async def gpu_time_s(session: AsyncSession, now: float) -> dict[int, float]:
    """{user: GPU seconds held in the last 24 hours}: those of a rank count for each GPU it held."""
    since = now - DAY_S
    ended = func.coalesce(Rank.ended_at, now)
    began = func.coalesce(Rank.claimed_at, now)
    lasted = ended - began
    used = (
        select(Run.user_id, func.sum(lasted * Rank.gpu_count))
        .join(Run, Run.id == Rank.run_id)
        .where(Rank.gpu_count > 0, (Rank.ended_at > since) | Rank.state.in_(LIVE))
        .group_by(Run.user_id)
    )
    return {user_id: float(seconds or 0.0) for user_id, seconds in (await session.execute(used)).all()}


async def spent_users(session: AsyncSession, limit_s: float) -> frozenset[int]:
    """Those who had so much GPU time, or more, in the last 24 hours."""
    used = await gpu_time_s(session, time.time())
    return frozenset(user_id for user_id, seconds in used.items() if seconds >= limit_s)
