"""Schedules: whether they come when they are due, and which of them Hermes itself has paused."""

import time

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hermes.doctor.findings import Finding, note, ok, problem
from hermes.schedules import Schedule
from hermes.tables import Repo, User
from hermes.units import show_span

_LATE_S = 60.0
_NAMED = 3


async def look_at_schedules(session: AsyncSession, is_up: bool) -> Finding:
    """Of all repositories."""
    counted = select(func.count(Schedule.id), func.count(Schedule.paused_at))
    total, paused = (await session.execute(counted)).one()
    going = select(func.min(Schedule.next_at)).where(Schedule.paused_at.is_(None))
    late_s = time.time() - (await session.scalar(going) or time.time())
    if is_up and late_s > _LATE_S:
        found = f"one has been due for {show_span(late_s)} and nobody fires it"
        return problem("schedules", found, "journalctl -u hermes -n 100; sudo systemctl restart hermes")
    found = f"{total - paused} of {total} go on" if total else "none"
    if by_us := await _paused_by_us(session):
        words = f"{found}; paused, since they cannot run: {', '.join(by_us)}"
        return note(
            "schedules", words, "hermes schedules OWNER/NAME says why; a push by its writers resumes it"
        )
    return ok("schedules", found)


async def _paused_by_us(session: AsyncSession) -> list[str]:
    rows = await session.execute(
        select(User.name, Repo.name)
        .select_from(Schedule)
        .join(Repo, Repo.id == Schedule.repo_id)
        .join(User, User.id == Repo.owner_id)
        .where(Schedule.paused_at.is_not(None), Schedule.paused_by == "")
        .order_by(Schedule.paused_at.desc())
        .limit(_NAMED + 1)
    )
    names = list(dict.fromkeys(f"{owner}/{name}" for owner, name in rows.all()))
    return [*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])]
